"""The report: everything a reader needs to trust, question or repeat an audit, as JSON values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import zip_longest
from typing import Any

from attacks.audit.flags import flags
from attacks.audit.request import AuditRequest
from attacks.audit.stages import CLEAN, CURVE, Ball, radii
from attacks.audit.statistics import median_or_none, proportion, verdict
from attacks.audit.suites import SUITES
from attacks.threat import LEVELS

SCHEMA_VERSION = 1

LIMITATIONS = (
    "An attack finds errors; it cannot prove that there are none. The robust accuracy is an upper bound on the true "
    "one: a stronger or adaptive attack may find more.",
    "Only perturbations inside the stated ball were tried. Rotations, patches, blur, other norms, larger budgets and "
    "changes of the scene are outside this threat model.",
    "The intervals say how far the figures may be off because only some images were drawn. They hold for images like "
    "these, from the same source, and not for other data.",
    "The attacker is given the model (white-box) and attacks single 8-bit images of the size the model accepts. What "
    "a service does before that, such as resizing or decoding JPEG, was not part of the audit.",
)

L2_LIMITATION = (
    "Adversarial images are moved onto the 8-bit grid inside the ball. For l2 and a small eps that can undo an attack, "
    "so the figure here may be a little too good."
)


def build_report(
    request: AuditRequest,
    *,
    results: Sequence[Mapping[str, Any]],
    indices: Sequence[int],
    labels: Sequence[int],
    curve_positions: Sequence[int],
    classes: Sequence[str],
    shape: Sequence[int],
    data: Mapping[str, Any],
    model: Mapping[str, Any],
    context: Mapping[str, Any],
    examples: bool,
) -> dict[str, Any]:
    """Add up the results of all steps; see `attacks.audit.Audit.report`.

    Args:
        request: what was asked for.
        results: of every step, in the order of the plan.
        indices: which images of the audit set were drawn.
        labels: their labels.
        curve_positions: which of the drawn samples the curve follows, as places in ``indices``.
        classes: names.
        shape: (H, W, 3).
        data: JSON description of the audit set.
        model: JSON description of the model.
        context: JSON values for "run".
        examples: whether to show pictures.
    """
    n, suite, ball = len(indices), SUITES[request.suite], Ball(request.effective_eps, request.norm)
    by_stage = {stage: [r for r in results if r["stage"] == stage] for stage in {r["stage"] for r in results}}
    samples = _samples(results, indices, labels)
    clean_k = sum(s["prediction"] == s["label"] for s in samples)
    clean = proportion(clean_k, n)
    standing, attacks = clean_k, []
    for place, attack in enumerate(suite.attacks, start=1):
        stage = by_stage[attack.name]
        broken = sum(len(r["broken"]["positions"]) for r in stage if r["broken"])
        standing -= broken
        attacks.append(
            {
                "name": attack.name,
                "title": attack.title,
                "paper": attack.paper,
                "knowledge": attack.knowledge,
                "parameters": dict(attack.parameters),
                "seed": [request.seed, 1 + place],  # of shard s: numpy's SeedSequence([*seed, s])
                "attempted": sum(len(r["attempted"]) for r in stage),
                "broken": broken,
                "forward_evaluations": sum(r["forward_evaluations"] for r in stage),
                "gradient_evaluations": sum(r["gradient_evaluations"] for r in stage),
                "robust": proportion(standing, n),
            }
        )
    found_by_curve = sum(s["broken_by"] == CURVE for s in samples)
    robust = proportion(standing - found_by_curve, n)
    curve = _curve(by_stage[CURVE], samples, curve_positions, radii(ball, shape), ball)
    curve["broken_inside_eps"] = found_by_curve
    curve["attack"] = {"name": suite.curve.name, "parameters": dict(suite.curve.parameters)}
    lost = {p for r in results for p in r.get("lost", ())}
    return {
        "schema_version": SCHEMA_VERSION,
        "request": request.to_dict(),
        "model": {**model, "classes": list(classes), "input_size": list(shape[:2])},
        "data": {**data, "n": n, "indices": list(indices), "seed": request.seed},
        "threat_model": _threat_model(request),
        "clean": clean,
        "robust": robust,
        "verdict": {
            "threshold": request.min_robust_accuracy,
            "outcome": verdict(robust, request.min_robust_accuracy),
        },
        "attacks": attacks,
        "curve": curve,
        "classes": _classes(samples, classes),
        "flags": flags(
            [r["probe"] for r in by_stage[CLEAN]],
            attacks=attacks,
            lost=sum(samples[p]["broken_by"] is None for p in lost),
            curve=curve["points"],
            chance=max(Counter(labels).values()) / n,
        ),
        "samples": samples,
        "examples": _examples(results, samples, request.examples) if examples else [],
        "limitations": [*LIMITATIONS, *([L2_LIMITATION] if request.norm == "l2" else [])],
        "run": {**context, **_run(results)},
    }


def deterministic_part(report: Mapping[str, Any]) -> dict[str, Any]:
    """All that two runs of the same request on the same model agree in: everything but "run"."""
    return {key: value for key, value in report.items() if key != "run"}


def _samples(
    results: Sequence[Mapping[str, Any]], indices: Sequence[int], labels: Sequence[int]
) -> list[dict[str, Any]]:
    samples: list[dict[str, Any]] = [
        {"index": index, "label": label, "broken_by": None} for index, label in zip(indices, labels, strict=True)
    ]
    for result in results:
        if result["stage"] == CLEAN:
            columns = (result[key] for key in ("attempted", "predictions", "confidences", "margins"))
            for position, prediction, confidence, margin in zip(*columns, strict=True):
                samples[position] |= {"prediction": prediction, "confidence": confidence, "margin": margin}
        elif result["broken"]:
            columns = (result["broken"][key] for key in ("positions", "predictions", "confidences", "distances"))
            for position, prediction, confidence, distance in zip(*columns, strict=True):
                samples[position] |= {
                    "broken_by": result["stage"],
                    "adversarial_prediction": prediction,
                    "adversarial_confidence": confidence,
                    "adversarial_distance": distance,
                }
    return samples


def _curve(
    results: Sequence[Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
    positions: Sequence[int],
    tried: Sequence[Fraction],
    ball: Ball,
) -> dict[str, Any]:
    nearest = {p: d for r in results for p, d in zip(r["attempted"], r["distances"], strict=True)}
    distances = list(nearest.values())

    def point(eps: Fraction) -> dict[str, Any]:
        levels = float(eps * LEVELS)
        right = sum(d is None or d > levels for d in distances)
        return {"eps": _fraction(eps, ball.norm), "levels": round(levels, 3), **proportion(right, len(positions))}

    median = median_or_none(distances)
    return {
        "points": [point(eps) for eps in (0 * ball.eps, *tried)],
        "samples": len(positions),
        # Of the samples classified correctly; None: beyond the largest radius, or nothing to take a median of.
        "median_minimal_perturbation": {"levels": median, "n": len(distances), "norm": ball.norm},
        "minimal_perturbations": [
            {"index": samples[position]["index"], "levels": distance} for position, distance in nearest.items()
        ],
    }


def _threat_model(request: AuditRequest) -> dict[str, Any]:
    attacks = SUITES[request.suite].attacks
    return {
        "norm": request.norm,
        "eps": _fraction(request.exact_eps, request.norm),
        "effective_eps": _fraction(request.effective_eps, request.norm),
        "levels": round(float(request.effective_eps * LEVELS), 3),
        "pixels": "8-bit, 0 to 255; eps is in units of the full range",
        "knowledge": sorted({attack.knowledge for attack in attacks}, reverse=True),
        "query_budget": {a.name: a.parameters["queries"] for a in attacks if "queries" in a.parameters},
        "goal": "any wrong class (untargeted)",
    }


def _classes(samples: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for label, name in enumerate(classes):
        own = [s for s in samples if s["label"] == label]
        right = [s for s in own if s["prediction"] == label]
        standing = [s for s in right if s["broken_by"] is None]
        rows.append(
            {
                "name": name,
                "n": len(own),
                "clean": proportion(len(right), len(own)),
                "robust": proportion(len(standing), len(own)),
            }
        )
    return rows


def _examples(
    results: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]], count: int
) -> list[dict[str, Any]]:
    """In turns from every attack, and of each from every shard in turn, so that they do not all look alike."""
    by_attack: dict[str, list[Sequence[Mapping[str, Any]]]] = {}
    for result in results:
        by_attack.setdefault(result["stage"], []).append(result.get("examples", ()))
    queues = [[e for turn in zip_longest(*shards) for e in turn if e] for shards in by_attack.values()]
    chosen = [e for turn in zip_longest(*queues) for e in turn if e][:count]
    return [{**samples[e["position"]], "clean": e["clean"], "adversarial": e["adversarial"]} for e in chosen]


def _run(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seconds: Counter[str] = Counter()
    environments: list[Mapping[str, Any]] = []
    for result in results:
        seconds[result["stage"]] += result["seconds"]
        if result["environment"] not in environments:
            environments.append(result["environment"])
    return {
        "environments": [dict(environment) for environment in environments],
        "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
        "total_seconds": round(sum(seconds.values()), 3),
    }


def _fraction(value: Fraction, norm: str) -> str:
    """An exact radius as people write it: linf in 255ths where that is whole, otherwise in lowest terms."""
    levels = value * LEVELS
    return f"{levels}/{LEVELS}" if norm == "linf" and levels.denominator == 1 and levels else str(value)
