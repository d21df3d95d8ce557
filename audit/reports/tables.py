"""The parts of a report, each added up from the results of the steps."""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import zip_longest
from typing import Any

from f2at.attacks.attack import Attack
from f2at.audit.corruptions import CORRUPTIONS as NATURAL
from f2at.audit.reports.statistics import median_or_none, proportion
from f2at.audit.stages import CLEAN
from f2at.audit.suites import Probes, Suite
from f2at.images.pixels import LEVELS

Results = Sequence[Mapping[str, Any]]
_POINTS = 40  # of the curve over iterations, about


def sample_table(results: Results, indices: Sequence[int], labels: Sequence[int]) -> list[dict[str, Any]]:
    """What became of every sample: its clean prediction, and the first error that was found."""
    samples: list[dict[str, Any]] = [
        {"index": index, "label": label, "broken_by": None} for index, label in zip(indices, labels, strict=True)
    ]
    for result in results:
        if result["stage"] == CLEAN:
            columns = (result[key] for key in ("attempted", "predictions", "confidences", "margins"))
            for position, prediction, confidence, margin in zip(*columns, strict=True):
                samples[position] |= {"prediction": prediction, "confidence": confidence, "margin": margin}
        elif result.get("broken"):
            columns = (result["broken"][key] for key in ("positions", "predictions", "confidences", "distances"))
            for position, prediction, confidence, distance in zip(*columns, strict=True):
                if samples[position]["broken_by"] is None:
                    samples[position] |= {
                        "broken_by": result["stage"],
                        "adversarial_prediction": prediction,
                        "adversarial_confidence": confidence,
                        "adversarial_distance": distance,
                    }
    return samples


def attack_table(
    suite: Suite, results: Results, samples: Sequence[Mapping[str, Any]], seed: int, confidence: float
) -> list[dict[str, Any]]:
    """For each attack what it is, what it spent, and how many samples stand after it."""
    rows, standing = [], sum(s["prediction"] == s["label"] for s in samples)
    n, right = len(samples), standing
    for place, attack in enumerate(suite.attacks, start=1):
        stage = [r for r in results if r["stage"] == attack.name]
        first = sum(s["broken_by"] == attack.name for s in samples)
        standing -= first
        allowed = min((r["allowed"] for r in stage if "allowed" in r), default=None)
        cut = allowed is not None and allowed < attack.parameters["queries"]
        fallen = sum(len(r["broken"]["positions"]) for r in stage if r["broken"])
        rows.append(
            {
                **describe(attack),
                "title": attack.title,
                "paper": attack.paper,
                "knowledge": attack.knowledge,
                "on": "surrogate" if attack.knowledge == "transfer" else "model",
                "seed": [seed, 1 + place],  # of shard s: numpy's SeedSequence([*seed, s])
                "every": suite.every.get(attack.name, 1),
                "attempted": sum(len(r["attempted"]) for r in stage),
                "broken": first,  # by it and by none before
                "forward_evaluations": sum(r["forward_evaluations"] for r in stage),
                "gradient_evaluations": sum(r["gradient_evaluations"] for r in stage),
                "robust": proportion(standing, n, confidence),
                "alone": proportion(right - fallen, n, confidence) if attack.name in suite.alone else None,
                **({"allowed_queries": allowed} if cut else {}),
            }
        )
    return rows


def describe(attack: Attack) -> dict[str, Any]:
    """Name and parameters."""
    return {"name": attack.name, "parameters": dict(attack.parameters)}


def iteration_table(results: Results, broken: int, probes: Probes, confidence: float) -> dict[str, Any] | None:
    """Accuracy after each step of the long run (`f2at.audit.stages.run_iterations`); None without gradients.

    broken: samples that fell in it and that the suite had left standing.
    """
    if probes.iterations is None:
        return None
    n = sum(len(r["confidences"]) for r in results)
    standing = [sum(column) for column in zip(*(r["standing"] for r in results), strict=True)]
    last = len(standing) - 1
    shown = sorted({round(last * i / _POINTS) for i in range(_POINTS + 1)} | set(range(min(last, 10))))
    return {
        "attack": describe(probes.iterations),
        "samples": n,
        "broken_beyond_suite": broken,
        "points": [{"iterations": t, **proportion(standing[t], n, confidence)} for t in shown],
    }


def confidence_table(results: Results, indices: Sequence[int], probes: Probes) -> dict[str, Any] | None:
    """Probability of the true class, clean and under the usual PGD, as in the paper's Fig. 10."""
    if probes.confidences is None:
        return None
    return {
        "attack": describe(probes.confidences),
        "samples": [
            {"index": indices[position], "clean": clean, "adversarial": adversarial}
            for r in results
            for position, clean, adversarial in r["confidences"]
        ],
    }


def corruption_table(results: Results, n: int, confidence: float) -> list[dict[str, Any]]:
    """Accuracy under natural corruptions, which no attacker chose."""
    right: Counter[str] = Counter()
    for result in results:
        right.update(result["right"])
    return [
        {
            "name": name,
            "title": corruption.title,
            "severity": corruption.severity,
            "parameters": dict(corruption.parameters),
            "in_ball": corruption.in_ball,
            **proportion(right[name], n, confidence),
        }
        for name, corruption in NATURAL.items()
    ]


def curve_table(
    results: Results,
    samples: Sequence[Mapping[str, Any]],
    positions: Sequence[int],
    tried: Sequence[Fraction],
    norm: str,
    confidence: float,
) -> dict[str, Any]:
    """Accuracy against eps, from the nearest error found of each sample followed."""
    nearest = {p: d for r in results for p, d in zip(r["attempted"], r["distances"], strict=True)}
    distances = list(nearest.values())

    def point(eps: Fraction) -> dict[str, Any]:
        levels = float(eps * LEVELS)
        right = sum(d is None or d > levels for d in distances)
        share = proportion(right, len(positions), confidence)
        return {"eps": fraction_text(eps, norm), "levels": round(levels, 3), **share}

    median = median_or_none(distances)
    return {
        "points": [point(eps) for eps in (Fraction(0), *tried)],
        "samples": len(positions),
        # Of the samples classified correctly; None: beyond the largest radius, or nothing to take a median of.
        "median_minimal_perturbation": {"levels": median, "n": len(distances), "norm": norm},
        "minimal_perturbations": [
            {"index": samples[position]["index"], "levels": distance} for position, distance in nearest.items()
        ],
    }


def class_table(
    samples: Sequence[Mapping[str, Any]], classes: Sequence[str], confidence: float
) -> list[dict[str, Any]]:
    """Clean and worst-case accuracy of each class."""
    rows = []
    for label, name in enumerate(classes):
        own = [s for s in samples if s["label"] == label]
        right = [s for s in own if s["prediction"] == label]
        standing = [s for s in right if s["broken_by"] is None]
        rows.append(
            {
                "name": name,
                "n": len(own),
                "clean": proportion(len(right), len(own), confidence),
                "robust": proportion(len(standing), len(own), confidence),
            }
        )
    return rows


def example_list(results: Results, samples: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Pictures, in turns from every attack and, of each, from every shard, so that they do not all look alike."""
    by_attack: dict[str, list[Sequence[Mapping[str, Any]]]] = {}
    for result in results:
        by_attack.setdefault(result["stage"], []).append(result.get("examples", ()))
    queues = [[e for turn in zip_longest(*shards) for e in turn if e] for shards in by_attack.values()]
    chosen = [e for turn in zip_longest(*queues) for e in turn if e][:count]
    return [{**samples[e["position"]], "clean": e["clean"], "adversarial": e["adversarial"]} for e in chosen]


def run_table(results: Results) -> dict[str, Any]:
    """How long the steps ran."""
    seconds: Counter[str] = Counter()
    model_seconds = 0.0
    for result in results:
        seconds[result["stage"]] += result["seconds"]
        model_seconds += result["model_seconds"]
    return {
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "model_seconds": round(model_seconds, 3),  # of the total; the rest is the harness's own
        "total_seconds": round(sum(seconds.values()), 3),
    }


def environments(results: Results) -> list[dict[str, Any]]:
    """What the steps ran on, each once."""
    found: list[dict[str, Any]] = []
    for result in results:
        if result["environment"] not in found:
            found.append(dict(result["environment"]))
    return found


def fraction_text(value: Fraction, norm: str) -> str:
    """An exact radius as people write it: linf in 255ths where that is whole, otherwise in lowest terms."""
    levels = value * LEVELS
    return f"{levels}/{LEVELS}" if norm == "linf" and levels.denominator == 1 and levels else str(value)
