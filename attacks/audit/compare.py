"""Two reports side by side: what changed, and whether by more than the draw of the images explains."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attacks.audit.difference import independent_interval, mcnemar_exact, paired_interval
from attacks.audit.statistics import CONFIDENCE, proportion

BETTER, WORSE, SAME = "better", "worse", "no difference beyond chance"
FAIL_ON = ("worse", "any")
PAIRED = "the same images: McNemar's exact test; interval by Newcombe's method 10 for paired proportions"
UNPAIRED = "not the same images, so no paired test: decided by Newcombe's score interval for independent proportions"

Report = Mapping[str, Any]


def compare(baseline: Report, candidate: Report) -> dict[str, Any]:
    """Hold a candidate's report against a baseline's.

    Clean and worst-case accuracy are each tested at level 0.05; all else is shown as it is. On the same images
    McNemar's exact test decides, on others whether the interval leaves out 0. Both speak of the draw of the images, not
    of training the model again.

    Args:
        baseline: a report, as `attacks.audit.files.read_report` returns it.
        candidate: another. Differences are candidate minus baseline.

    Returns:
        JSON values. "clean" and "robust": both accuracies, "difference" with its interval "low" to "high", how many
        images only one of the two gets right, "p_value" (None where not paired) and "verdict". "warnings": all in
        which the audits are not alike. "attacks", "classes", "corruptions", "flags",
        "median_minimal_perturbation" and "cost", of both.

    Raises:
        ValueError: the threat models differ, in norm or effective eps.
    """
    threats = [f"{r['threat_model']['norm']} eps {r['threat_model']['effective_eps']}" for r in (baseline, candidate)]
    if threats[0] != threats[1]:
        raise ValueError(f"reports must share norm and eps to be compared; got {threats[0]} and {threats[1]}")
    paired = _images(baseline) == _images(candidate)
    return {
        "threat_model": baseline["threat_model"],
        "models": _of_both(lambda r: r["model"].get("digest"), baseline, candidate),
        "paired": paired,
        "method": PAIRED if paired else UNPAIRED,
        "warnings": list(_warnings(baseline, candidate)),
        "clean": _accuracy(baseline, candidate, _is_right, paired=paired),
        "robust": _accuracy(baseline, candidate, _is_robust, paired=paired),
        "attacks": _by_name(baseline["attacks"], candidate["attacks"], ("attempted", "broken", "robust", "alone")),
        "classes": _by_name(baseline["classes"], candidate["classes"], ("n", "clean", "robust")),
        "corruptions": _by_name(baseline["corruptions"], candidate["corruptions"], ("k", "n", "value", "low", "high")),
        "flags": _flags(baseline, candidate),
        "median_minimal_perturbation": _of_both(
            lambda r: r["curve"]["median_minimal_perturbation"], baseline, candidate
        ),
        "cost": _of_both(_cost, baseline, candidate),
    }


def gate(comparison: Mapping[str, Any], *, tolerance: float | None = None, fail_on: str = "worse") -> str:
    """Whether a deployment may go on: "pass", "fail" or "inconclusive".

    Without a tolerance the candidate fails where it is worse beyond chance: few images let almost anything pass. With
    one it must prove itself: it passes where the whole interval of the difference lies above -tolerance
    (non-inferiority, one-sided level 0.025), fails where it lies below, and otherwise more images are needed. Clean and
    robust accuracy must both pass.

    Args:
        comparison: what `compare` returns.
        tolerance: the loss to put up with, in percentage points; None for the plain test.
        fail_on: "worse", or "any" to fail also on a sanity flag newly raised and on audits that are not alike.

    Raises:
        ValueError: naming the argument, what is accepted and what came.
    """
    if fail_on not in FAIL_ON:
        raise ValueError(f"fail_on must be one of {', '.join(FAIL_ON)}; got {fail_on!r}")
    if tolerance is not None and not 0 <= tolerance <= 100:
        raise ValueError(f"tolerance must be from 0 to 100 percentage points; got {tolerance}")
    accuracies = (comparison["clean"], comparison["robust"])
    if tolerance is None:
        failed = any(a["verdict"] == WORSE for a in accuracies)
    else:
        failed = any(100 * a["high"] < -tolerance for a in accuracies)
    if failed or (fail_on == "any" and (comparison["warnings"] or comparison["flags"]["raised"])):
        return "fail"
    unsure = tolerance is not None and any(100 * a["low"] < -tolerance for a in accuracies)
    return "inconclusive" if unsure else "pass"


def _is_right(sample: Mapping[str, Any]) -> bool:
    return bool(sample["prediction"] == sample["label"])


def _is_robust(sample: Mapping[str, Any]) -> bool:
    return _is_right(sample) and sample["broken_by"] is None


def _images(report: Report) -> tuple[str, frozenset[int]]:
    """Which images were drawn: the data's digest and the places in it."""
    return report["data"]["sha256"], frozenset(sample["index"] for sample in report["samples"])


def _of_both(part: Callable[[Report], Any], baseline: Report, candidate: Report) -> dict[str, Any]:
    return {"baseline": part(baseline), "candidate": part(candidate)}


def _accuracy(
    baseline: Report, candidate: Report, good: Callable[[Mapping[str, Any]], bool], *, paired: bool
) -> dict[str, Any]:
    old, new = ({s["index"]: good(s) for s in report["samples"]} for report in (baseline, candidate))
    k_old, k_new = sum(old.values()), sum(new.values())
    only_old = only_new = p_value = None
    if paired:
        both = sum(old[i] and new[i] for i in old)
        only_old, only_new = k_old - both, k_new - both
        p_value = mcnemar_exact(only_old, only_new)
        low, high = paired_interval(both, only_new, only_old, len(old) - both - only_old - only_new)
        beyond_chance = p_value < 1 - CONFIDENCE
    else:
        low, high = independent_interval((k_new, len(new)), (k_old, len(old)))
        beyond_chance = not low <= 0 <= high
    difference = k_new / len(new) - k_old / len(old)
    return {
        "baseline": proportion(k_old, len(old)),
        "candidate": proportion(k_new, len(new)),
        "difference": difference,
        "low": low,
        "high": high,
        "confidence": CONFIDENCE,
        "only_baseline": only_old,
        "only_candidate": only_new,
        "p_value": p_value,
        "verdict": (BETTER if difference > 0 else WORSE) if beyond_chance else SAME,
    }


def _warnings(baseline: Report, candidate: Report) -> Iterator[str]:
    """All in which two audits of the same threat model are not alike, baseline first."""

    def unlike(name: str, part: Callable[[Report], Any]) -> Iterator[str]:
        old, new = part(baseline), part(candidate)
        if old != new:
            yield f"{name}: {old} against {new}"

    yield from unlike("suite", lambda r: r["request"]["suite"])
    yield from unlike("seed", lambda r: r["request"]["seed"])
    if baseline["data"]["sha256"] != candidate["data"]["sha256"]:
        yield "data: other images or labels"
    elif _images(baseline) != _images(candidate):
        shared = len(_images(baseline)[1] & _images(candidate)[1])
        yield f"samples: other draws from the same data, with {shared} images in common"
    yield from unlike("number of samples", lambda r: len(r["samples"]))
    yield from unlike("classes", lambda r: ", ".join(r["model"]["classes"]))
    yield from unlike("input size", lambda r: " x ".join(map(str, r["model"]["input_size"])))
    yield from unlike("surrogate", lambda r: (r.get("surrogate") or {}).get("digest"))
    yield from unlike("attacks", lambda r: ", ".join(a["name"] for a in r["attacks"]))
    new_attacks = {a["name"]: a for a in candidate["attacks"]}
    for old in baseline["attacks"]:
        yield from _settings(old, new_attacks.get(old["name"], old))
    yield from _settings(baseline["curve"]["attack"], candidate["curve"]["attack"], "curve")
    yield from unlike("radii of the curve", lambda r: ", ".join(p["eps"] for p in r["curve"]["points"]))


def _settings(old: Mapping[str, Any], new: Mapping[str, Any], title: str | None = None) -> Iterator[str]:
    """In which settings an attack was not run alike."""
    settings = [{"name": a["name"], "every": a.get("every"), "on": a.get("on"), **a["parameters"]} for a in (old, new)]
    for key in sorted(settings[0].keys() | settings[1].keys()):
        values = [s.get(key) for s in settings]
        if values[0] != values[1]:
            yield f"{title or old['name']}, {key}: {values[0]} against {values[1]}"


def _by_name(old: list[Mapping[str, Any]], new: list[Mapping[str, Any]], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows of two tables joined by name, in the baseline's order; None where one has no such row."""
    tables = {"baseline": {row["name"]: row for row in old}, "candidate": {row["name"]: row for row in new}}
    return [
        {
            "name": name,
            **{
                side: {key: rows[name].get(key) for key in keys} if name in rows else None
                for side, rows in tables.items()
            },
        }
        for name in dict.fromkeys([*tables["baseline"], *tables["candidate"]])
    ]


def _flags(baseline: Report, candidate: Report) -> dict[str, list[dict[str, Any]]]:
    """Flags newly raised, no longer raised, and raised in both."""
    old, new = ({f["name"]: f for f in report["flags"] if f["raised"]} for report in (baseline, candidate))
    return {
        "raised": [flag for name, flag in new.items() if name not in old],
        "cleared": [flag for name, flag in old.items() if name not in new],
        "in_both": [flag for name, flag in new.items() if name in old],
    }


def _cost(report: Report) -> dict[str, Any]:
    return {
        "forward_evaluations": sum(a["forward_evaluations"] for a in report["attacks"]),
        "gradient_evaluations": sum(a["gradient_evaluations"] for a in report["attacks"]),
        "total_seconds": report["run"]["total_seconds"],
        "model_seconds": report["run"].get("model_seconds"),
    }
