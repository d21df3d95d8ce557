"""The part of a report about threats beside the ball: a section for each, and what is left under all of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from f2at.audit.reports.statistics import proportion
from f2at.audit.threats.base import Threat, Tier
from f2at.audit.threats.stages import ScanStage, SearchStage, StrengthStage, ThreatStage

Results = Sequence[Mapping[str, Any]]


def threat_sections(
    steps: Sequence[ThreatStage],
    results: Results,
    samples: Sequence[Mapping[str, Any]],
    tier: Tier,
    *,
    confidence: float,
    shown: int,
) -> list[dict[str, Any]]:
    """One for each threat, in the order of the request.

    Args:
        steps: of the plan.
        results: of all of its steps, on every shard.
        samples: the report's, by position.
        tier: how hard errors were looked for.
        confidence: of intervals.
        shown: pictures of a threat at most.
    """
    threats = list(dict.fromkeys(step.threat for step in steps))
    return [
        _section(threat, [s for s in steps if s.threat is threat], results, samples, tier, confidence, shown)
        for threat in threats
    ]


def left_by(
    sections: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]], confidence: float
) -> dict[str, Any]:
    """The share of images that are right, stand in the ball, and fall to none of these threats."""
    fallen = {row["index"] for section in sections for row in section["fallen"]}
    standing = [s for s in samples if s["prediction"] == s["label"] and s["broken_by"] is None]
    return proportion(sum(s["index"] not in fallen for s in standing), len(samples), confidence)


def _section(
    threat: Threat,
    steps: Sequence[ThreatStage],
    results: Results,
    samples: Sequence[Mapping[str, Any]],
    tier: Tier,
    confidence: float,
    shown: int,
) -> dict[str, Any]:
    n, right = len(samples), sum(s["prediction"] == s["label"] for s in samples)
    by_stage = {step.name: [r for r in results if r["stage"] == step.name] for step in steps}
    counted = sorted(steps[0].inside | {s.name for s in steps}, key=[r["stage"] for r in results].index)
    fallen: dict[int, dict[str, Any]] = {}
    for stage in counted:
        for result in (r for r in results if r["stage"] == stage and r.get("fallen")):
            columns = (result["fallen"][key] for key in ("positions", "predictions", "how"))
            for position, prediction, how in zip(*columns, strict=True):
                row = {"index": samples[position]["index"], "by": stage, "prediction": prediction, "how": how}
                fallen.setdefault(position, row)
    strong, claims = threat.claims(tier)
    first = Counter(row["by"] for row in fallen.values())
    attacks, standing = [], right - sum(first[stage] for stage in counted if stage not in by_stage)
    for step in steps:
        if isinstance(step, SearchStage):
            standing -= first[step.name]
            attacks.append(_attack(step, by_stage[step.name], first[step.name], proportion(standing, n, confidence)))
    return {
        "threat": threat.text,
        "name": threat.name,
        "title": threat.title,
        "met": threat.met,
        "definition": threat.definition,
        "formula": threat.formula,
        "parameters": threat.values,
        "strength": "strong" if strong else "weak",
        "claims": claims,
        "limits": threat.limits,
        "robust": proportion(right - len(fallen), n, confidence),
        "attacks": attacks,
        "scan": _scan(steps, by_stage, n, confidence),
        "curve": _curve(threat, steps, by_stage, samples, confidence),
        "fallen": [fallen[position] for position in sorted(fallen)],
        "examples": _pictures(steps, by_stage, fallen, samples, shown),
    }


def _attack(step: SearchStage, results: Results, broken: int, left: Mapping[str, Any]) -> dict[str, Any]:
    search = step.search
    return {
        "name": search.name,
        "title": search.title,
        "paper": search.paper,
        "knowledge": search.knowledge,
        "parameters": dict(search.parameters),
        "every": search.every,
        "attempted": sum(len(r["attempted"]) for r in results),
        "broken": broken,
        "forward_evaluations": sum(r["forward_evaluations"] for r in results),
        "gradient_evaluations": sum(r["gradient_evaluations"] for r in results),
        "robust": dict(left),
    }


def _scan(
    steps: Sequence[ThreatStage], by_stage: Mapping[str, Results], n: int, confidence: float
) -> list[dict[str, Any]] | None:
    """How many images are right under each candidate; None for what is searched."""
    for step in steps:
        if isinstance(step, ScanStage):
            totals = [sum(column) for column in zip(*(r["right"] for r in by_stage[step.name]), strict=True)]
            return [
                {"name": c.name, "kind": c.kind, "strength": round(c.strength, 6), **proportion(k, n, confidence)}
                for c, k in zip(step.candidates, totals, strict=True)
            ]
    return None


def _curve(
    threat: Threat,
    steps: Sequence[ThreatStage],
    by_stage: Mapping[str, Results],
    samples: Sequence[Mapping[str, Any]],
    confidence: float,
) -> dict[str, Any] | None:
    """How many images withstand all up to a strength: those of a scan, or those that were followed."""
    for step in steps:
        outcomes = by_stage[step.name]
        if isinstance(step, ScanStage):
            n, right = len(samples), sum(s["prediction"] == s["label"] for s in samples)
            strengths = sorted({round(c.strength, 6) for c in step.candidates})
            fell = [s for r in outcomes if r["fallen"] for s in r["fallen"]["strengths"]]
        elif isinstance(step, StrengthStage):
            n = sum(len(r["attempted"]) for r in outcomes)
            right = sum(len(r["of"]) for r in outcomes)
            strengths = sorted({*(round(form.strength, 6) for form, _ in step.forms), round(threat.strength, 6)})
            fell = [s for r in outcomes for s in r["strengths"] if s is not None]
        else:
            continue
        points = [{"strength": 0.0, **proportion(right, n, confidence)}] if n else []
        for strength in strengths if n else ():
            left = right - sum(round(s, 6) <= strength for s in fell)
            points.append({"strength": strength, **proportion(left, n, confidence)})
        return {"axis": threat.axis, "samples": n, "points": points}
    return None


def _pictures(
    steps: Sequence[ThreatStage],
    by_stage: Mapping[str, Results],
    fallen: Mapping[int, Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
    shown: int,
) -> list[dict[str, Any]]:
    """Of what fell, from every attack and shard in turns."""
    queues = [r.get("pictures", ()) for step in steps for r in by_stage[step.name]]
    chosen = [e for turn in zip_longest(*queues) for e in turn if e and e["position"] in fallen][:shown]
    return [
        {
            "index": samples[e["position"]]["index"],
            "label": samples[e["position"]]["label"],
            "prediction": fallen[e["position"]]["prediction"],
            "how": fallen[e["position"]]["how"],
            "clean": e["clean"],
            "changed": e["changed"],
        }
        for e in chosen
    ]
