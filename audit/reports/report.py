"""The report: everything a reader needs to trust, question or repeat an audit, as JSON values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from f2at.audit.provenance.context import Context
from f2at.audit.provenance.techniques import techniques
from f2at.audit.reports.flags import flags
from f2at.audit.reports.statistics import proportion
from f2at.audit.reports.tables import (
    attack_table,
    class_table,
    confidence_table,
    corruption_table,
    curve_table,
    describe,
    environments,
    example_list,
    fraction_text,
    iteration_table,
    run_table,
    sample_table,
)
from f2at.audit.reports.threats import left_by, threat_sections
from f2at.audit.reports.verdict import judge
from f2at.audit.request import AuditRequest
from f2at.audit.stages import CLEAN, CORRUPTIONS, CURVE, ITERATIONS, Ball, radii
from f2at.audit.suites import Probes
from f2at.audit.threats.base import Tier
from f2at.audit.threats.stages import ThreatStage
from f2at.images.pixels import LEVELS

SCHEMA_VERSION = 4
_SHOWN = 4  # pictures of each threat, at most
CIRCUMSTANCES = ("context", "harness", "repeat", "run")  # where one shapes figures after all, a replay shows it

LIMITATIONS = (
    "An attack finds errors; it cannot prove that there are none. The accuracy under attack is an upper bound on the "
    "true robust accuracy: a stronger or adaptive attack may find more.",
    "The intervals say how far the figures may be off because only some images were drawn. They hold for images like "
    "these, from the same source, and not for other data.",
    "The attacker sends single 8-bit images of the size the model accepts. What a service does before that, such as "
    "resizing or decoding JPEG, was not part of the audit.",
)

BALL_LIMITATION = (
    "Only perturbations inside the stated ball were tried. Rotations, patches, blur, other norms, larger budgets and "
    "changes of the scene are outside this threat model."
)

THREATS_LIMITATION = (
    "Only perturbations inside the stated ball and the threats listed beside it were tried, one at a time. Two of them "
    "at once, larger budgets and other changes of the scene are outside this threat model."
)

WHITE_BOX_LIMITATION = (
    "The attacker knows the model and follows its gradients (white-box), which is the strongest assumption: who can "
    "only ask for predictions will usually do worse."
)

BLACK_BOX_LIMITATION = (
    "The attacker knows only what the model answers (black-box), or another model. Somebody who holds the model itself "
    "will find more errors; audit it by a suite with white-box attacks to see how many."
)

LABELS_LIMITATION = (
    "The model answers labels alone, so that only attacks which need no more were run; confidences and margins say "
    "nothing here. Somebody who sees its scores will find more errors."
)

ROUNDING_LIMITATION = (
    "Adversarial images are moved onto the 8-bit grid inside the ball. For l2 and l1 and a small eps that can undo an "
    "attack, so the figure here may be a little too good."
)

RANDOM_LIMITATION = (
    "The model was taken to answer at random: attacks followed means over {} evaluations, and an image counts as right "
    "where more than half of {} answers are. Another draw gives another figure, and no seed of this audit fixes it."
)

CURVE_LIMITATION = (
    "The search for the nearest error of each image was left out, as asked. It sometimes finds errors inside eps that "
    "the suite left standing, and it shows whether a model falls to chance as eps grows."
)

WITHHELD_LIMITATION = "Pictures of adversarial images were made ({}), and are withheld from this copy of the report."


def build_report(
    request: AuditRequest,
    *,
    probes: Probes,
    threat_stages: Sequence[ThreatStage],
    tier: Tier,
    results: Sequence[Mapping[str, Any]],
    indices: Sequence[int],
    labels: Sequence[int],
    curve_positions: Sequence[int],
    classes: Sequence[str],
    shape: Sequence[int],
    data: Mapping[str, Any],
    model: Mapping[str, Any],
    surrogate: Mapping[str, Any] | None,
    context: Context,
    harness: Mapping[str, Any],
    repeat: Mapping[str, Any] | None,
    run: Mapping[str, Any],
    examples: bool,
    scores: bool = True,
) -> dict[str, Any]:
    """Add up the results of all steps; see `f2at.audit.Audit.report`.

    Args:
        request: what was asked for.
        probes: what was run besides the suite.
        threat_stages: what was run for threats beside the ball.
        tier: how hard these were looked for.
        results: of every step, in the order of the plan.
        indices: which images of the audit set were drawn.
        labels: their labels.
        curve_positions: which of the drawn samples the curve follows, as places in ``indices``.
        classes: names.
        shape: (H, W, 3).
        data: JSON description of the audit set.
        model: JSON description of the model.
        surrogate: JSON description of the model whose gradients transfer attacks followed, if there was one.
        context: what the owner of the model says of the audit.
        harness: JSON description of the package.
        repeat: the command that repeats the audit, and the files that it names.
        run: JSON values for "run".
        examples: whether to show pictures.
        scores: whether the model answers more than labels.
    """
    n, suite, ball = len(indices), request.chosen_suite, Ball(request.effective_eps, request.norm)
    confidence = request.confidence
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_stage.setdefault(result["stage"], []).append(result)
    samples = sample_table(results, indices, labels)
    broken_by = Counter(s["broken_by"] for s in samples)
    clean = proportion(sum(s["prediction"] == s["label"] for s in samples), n, confidence)
    standing = sum(s["prediction"] == s["label"] and s["broken_by"] is None for s in samples)
    robust = proportion(standing, n, confidence)
    attacks = attack_table(suite, results, samples, request.seed, confidence)
    iterations = iteration_table(by_stage[ITERATIONS], broken_by[ITERATIONS], probes, confidence)
    curve = None
    if request.curve:
        curve = curve_table(by_stage[CURVE], samples, curve_positions, radii(ball, shape), ball.norm, confidence)
        curve |= {"broken_inside_eps": broken_by[CURVE], "attack": describe(probes.curve)}
    lost = {p for r in results for p in r.get("lost", ())}
    judged = flags(
        [r["probe"] for r in by_stage[CLEAN]],
        attacks=attacks,
        lost=sum(samples[p]["broken_by"] is None for p in lost),
        iterations=iterations,
        curve=curve["points"] if curve else [],
        unanswered=[
            f"image {s['index']} ({s['broken_by'] or CLEAN})"
            for s in samples
            if s["prediction"] is None or s.get("adversarial_prediction", 0) is None
        ],
        asked_in_vain=sum(r.get("unanswered", 0) for r in results),  # earlier versions stopped at the first
        chance=max(Counter(labels).values()) / n,
        clean=clean,
        present=len(set(labels)),
        outputs=len(classes),
        preprocessings=model.get("preprocessings"),
    )
    sections = threat_sections(
        threat_stages,
        results,
        samples,
        tier,
        confidence=confidence,
        shown=min(request.examples, _SHOWN) if examples else 0,
    )
    gated = left_by([s for s in sections if s["threat"] in request.gate], samples, confidence)
    return {
        "schema_version": SCHEMA_VERSION,
        "request": request.model_dump(),
        "model": {**model, "classes": list(classes), "input_size": list(shape[:2])},
        "surrogate": None if surrogate is None else dict(surrogate),
        "data": {**data, "n": n, "indices": list(indices), "seed": request.seed},
        "threat_model": _threat_model(request),
        "suite": {"name": request.suite, "title": suite.title, "strength": suite.strength, "claims": suite.claims},
        "clean": clean,
        "robust": robust,
        "certified_lower_bound": None,  # attacks prove no robustness
        "verdict": judge(request, gated, judged),
        "attacks": attacks,
        "iterations": iterations,
        "curve": curve,
        "confidences": confidence_table(by_stage[ITERATIONS], indices, probes),
        "corruptions": corruption_table(by_stage[CORRUPTIONS], n, confidence),
        "threats": sections,
        "worst_case": left_by(sections, samples, confidence) if sections else None,
        "classes": class_table(samples, classes, confidence),
        "flags": judged,
        "samples": samples,
        "examples": example_list(results, samples, request.examples) if examples else [],
        "limitations": _limitations(request, scores=scores),
        "context": context.model_dump(),
        "harness": {**harness, "environments": environments(results)},
        "repeat": None if repeat is None else dict(repeat),
        "run": {**run, **run_table(results)},
    }


def without_examples(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report for a reader who may not have adversarial images: without pictures, and saying so.

    They are all that such an image can be rebuilt from without the model. What stays are figures; whoever has the
    model and the data can attack them anyway.
    """
    withheld = len(report["examples"]) + sum(len(section["examples"]) for section in report["threats"])
    if not withheld:
        return dict(report)
    limitations = [*report["limitations"], WITHHELD_LIMITATION.format(withheld)]
    return {
        **report,
        "examples": [],
        "threats": [{**section, "examples": []} for section in report["threats"]],
        "limitations": limitations,
        "run": {**report["run"], "examples_withheld": withheld},
    }


def deterministic_part(report: Mapping[str, Any]) -> dict[str, Any]:
    """All that two runs of the same request on the same model agree in: not when, where and by whom it was run."""
    return {key: value for key, value in report.items() if key not in CIRCUMSTANCES}


def _threat_model(request: AuditRequest) -> dict[str, Any]:
    attacks = request.chosen_suite.attacks
    return {
        "norm": request.norm,
        "eps": fraction_text(request.exact_eps, request.norm),
        "effective_eps": fraction_text(request.effective_eps, request.norm),
        "levels": round(float(request.effective_eps * LEVELS), 3),
        "pixels": "8-bit, 0 to 255; eps is in units of the full range",
        "knowledge": sorted({attack.knowledge for attack in attacks}, reverse=True),
        "query_budget": {a.name: a.parameters["queries"] for a in attacks if "queries" in a.parameters},
        "goal": "any wrong class (untargeted)",
        "techniques": techniques(attacks),
    }


def _limitations(request: AuditRequest, *, scores: bool) -> list[str]:
    knowledge = {attack.knowledge for attack in request.chosen_suite.attacks}
    return [
        LIMITATIONS[0],
        THREATS_LIMITATION if request.threats else BALL_LIMITATION,
        *LIMITATIONS[1:],
        WHITE_BOX_LIMITATION if "white-box" in knowledge else BLACK_BOX_LIMITATION,
        *([] if scores else [LABELS_LIMITATION]),
        *([ROUNDING_LIMITATION] if request.norm != "linf" else []),
        *([RANDOM_LIMITATION.format(request.samples_per_gradient, request.draws)] if request.random else []),
        *([] if request.curve else [CURVE_LIMITATION]),
    ]
