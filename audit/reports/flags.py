"""Sanity flags: signs that a robustness figure means less than it says.

After Carlini et al., "On Evaluating Adversarial Robustness" (2019), https://arxiv.org/abs/1902.06705, Section 3-5,
and the checks of AutoAttack (Croce & Hein 2020). `f2at.audit.probe` gathers the evidence shard by shard; here is judged
what it adds up to.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from f2at.audit.probe import REPEAT_TOLERANCE
from f2at.audit.reports.difference import mcnemar_exact
from f2at.audit.reports.statistics import CONFIDENCE, better_than, wilson_interval
from f2at.command_line import shortened

_NAMED = 5  # samples
FAR = 0.1  # of the images: what fewer gain by another preprocessing is no sign of a mistake
WORTHLESS = {"clean_accuracy_at_chance", "one_class_only"}  # no threshold is passed by such images

# What each check asks for, then the sign that it looks for, and what the sign means.
_TITLES = {
    "clean_accuracy_at_chance": (
        "The model is better than chance",
        "The model is not shown to be better than chance",
        "On images that nobody attacked it is right no more often than one answer to all of them would be, as far as "
        "these images tell. The labels, the order of the classes or the preprocessing may be wrong; what withstands "
        "attacks here says nothing.",
    ),
    "one_class_only": (
        "The images are of several classes",
        "All images are of one class",
        "A model that always gives this answer would be right and withstand everything. Draw images of every class.",
    ),
    "preprocessing_forgotten": (
        "No other usual preprocessing makes far more of the images",
        "Another preprocessing makes far more of the same images",
        "The model was likely trained with it. Name it when the audit starts (--mean, --std, --scale, --channels): the "
        "figures here are of a model that sees its images wrongly.",
    ),
    "softmax_outputs": (
        "The model returns logits, not probabilities",
        "The model returns probabilities, not logits",
        "Softmax outputs saturate: where the model is sure, their gradients vanish in rounding and attacks that follow "
        "them stall. Export the model without its softmax, or the figures here may be too good.",
    ),
    "randomised_outputs": (
        "The same image gets the same answer",
        "The same image gets different answers",
        "Outputs change from one call to the next. Attacks that follow a single draw are weaker than an attacker who "
        "averages over many, so the accuracy under attack may be too good. --samples-per-gradient asks for averages "
        "and --draws for verdicts by the majority of several answers.",
    ),
    "zero_gradients": (
        "Gradients can be followed",
        "Gradients vanish",
        "For many images the gradient is zero or not a number, so attacks that follow it cannot move. Robustness that "
        "rests on this is usually an illusion: an attacker can use other means.",
    ),
    "black_box_beats_white_box": (
        "Attacks with gradients find what attacks without them find",
        "An attack without gradients succeeds where those with gradients fail",
        "Knowing the model should only help. That it does not means that its gradients mislead, and that a better "
        "gradient attack would find more errors than this audit did.",
    ),
    "iterative_weaker_than_single_step": (
        "Many small steps do at least as well as a single one",
        "Many small steps do worse than a single one",
        "An attack that may take many steps contains the one that takes a single step. That it finds less means that "
        "gradients mislead near the images, a known artefact of training against single steps.",
    ),
    "more_steps_still_help": (
        "More steps find no more errors",
        "More steps find more errors",
        "An attack with twice the steps broke images that the suite had left standing. The suite stopped too soon for "
        "this model, and the accuracy under attack here is likely still too good. Ask for a stronger suite.",
    ),
    "accuracy_above_chance_at_any_radius": (
        "Where a perturbation can erase the image, the model is at chance",
        "The model withstands perturbations that can erase the image",
        "At the largest radius tried every image can be turned into plain grey, so no classifier can do better than "
        "chance. The attacks do not find the errors that must be there, and the other figures suffer from the same.",
    ),
    "answers_missing": (
        "Every image gets an answer",
        "Some images get no answer",
        "The model returned infinite values, or none that are numbers. Such images count as errors: whoever sends one "
        "has made the model fail. Look for an overflow, often of 16-bit numbers, or a division by zero.",
    ),
    "attacks_cut_short": (
        "Attacks had all the queries that they take",
        "Attacks had fewer queries than they take",
        "The budget of queries was shared out, and some attacks had less of it than they take to succeed. Images that "
        "stand may fall to the same attacks with more: allow more queries, or spend them on fewer images.",
    ),
    "success_lost_on_grid": (
        "Rounding to 8 bits undoes no attack",
        "Rounding to 8 bits undoes attacks",
        "Some perturbations fool the model as real numbers but not as the 8-bit images that it accepts. The images "
        "count as robust, rightly for this input format, but by a hair: other formats may let the attacker in.",
    ),
}


def flags(
    probes: Sequence[Mapping[str, Any]],
    *,
    attacks: Sequence[Mapping[str, Any]],
    lost: int,
    iterations: Mapping[str, Any] | None,
    curve: Sequence[Mapping[str, Any]],
    chance: float,
    clean: Mapping[str, Any],
    present: int,
    outputs: int,
    preprocessings: Mapping[str, Any] | None,
    unanswered: Sequence[str] = (),
    asked_in_vain: int = 0,
) -> list[dict[str, Any]]:
    """Every flag, raised or not (None: not looked for), with what it means and the numbers it rests on.

    "found" is true where something of the kind was found, be it too little to raise the flag.

    Args:
        probes: what `f2at.audit.probe.probe` returned, one for each shard.
        attacks: for each attack, in order, its "name", "knowledge", "parameters", number "broken" and, if a budget cut
            it short, "allowed_queries".
        lost: samples that only unrounded perturbations broke.
        iterations: the report's "iterations".
        curve: points of accuracy against eps, ascending; none if it was left out.
        unanswered: the samples that got no answer, in words.
        asked_in_vain: how often there was none, also for images that are no sample's.
        chance: the best that one answer to every image could do: the share of the largest class.
        clean: clean accuracy as the report has it.
        present: classes with images.
        outputs: classes of the model.
        preprocessings: what `f2at.audit.opening.preprocessing.compare_preprocessings` found, for a model whose
            preprocessing was a choice.
    """
    n = sum(p["n"] for p in probes)
    few = max(2, round(0.01 * n))  # one sample is no pattern
    drift = max(p["drift"] for p in probes)
    probabilities = sum(p["probabilities"] for p in probes)
    unusable = {k: sum(p["unusable_gradients"][k] for p in probes) for k in probes[0]["unusable_gradients"]}
    single, iterative = (sum(p[k] for p in probes) for k in ("only_single_step", "only_iterative"))
    compared = sum(p["compared"] for p in probes)
    gradients = bool(unusable)
    white_box = any(a["knowledge"] == "white-box" for a in attacks)
    black_box = sum(a["broken"] for a in attacks if a["knowledge"] != "white-box")
    guess = chance if present > 1 else 1 / outputs
    judged: dict[str, tuple[bool | None, str]] = {
        "clean_accuracy_at_chance": (
            not better_than(clean["k"], clean["n"], guess),
            f"{clean['k']} of {clean['n']} are right before any attack; chance is {guess:.1%}",
        ),
        "one_class_only": (present == 1, f"images of {present} of {outputs} classes were drawn"),
        "preprocessing_forgotten": preprocessing_forgotten(preprocessings),
        "softmax_outputs": (probabilities == n, f"{probabilities} of {n} outputs are non-negative and sum to 1"),
        "randomised_outputs": (
            drift > REPEAT_TOLERANCE,
            f"asked twice, the output changed by {drift:.2g} of its largest value"
            if drift
            else "asked twice, the model gave the same outputs",
        ),
        "zero_gradients": (
            max(unusable.values()) > 0.1 * n if gradients else None,
            "; ".join(
                f"{k.replace('_', ' ')}: {v} of {n} images without a usable gradient" for k, v in unusable.items()
            )
            or "the model gives no gradients",
        ),
        "black_box_beats_white_box": (
            black_box >= few if white_box else None,
            f"{black_box} of {n} images fell to attacks without its gradients alone"
            if white_box
            else "the suite has no attack that follows the model's gradients",
        ),
        "iterative_weaker_than_single_step": (
            single >= 2 and single > iterative if gradients else None,
            f"of {compared} images, {single} fell only to the single step and {iterative} only to the many"
            if gradients
            else "the model gives no gradients",
        ),
        "more_steps_still_help": (
            iterations["broken_beyond_suite"] >= max(2, round(0.01 * iterations["samples"])) if iterations else None,
            f"of {iterations['samples']} images attacked with twice the suite's steps, "
            f"{iterations['broken_beyond_suite']} fell that the suite had left standing"
            if iterations
            else "the model gives no gradients",
        ),
        "accuracy_above_chance_at_any_radius": (
            wilson_interval(curve[-1]["k"], curve[-1]["n"])[0] > chance if curve else None,
            f"at eps {curve[-1]['eps']}, {curve[-1]['k']} of {curve[-1]['n']} are still right; chance is {chance:.1%}"
            if curve
            else "the search at larger radii was left out",
        ),
        "answers_missing": (asked_in_vain > 0, _unanswered(unanswered, asked_in_vain)),
        "attacks_cut_short": _cut_short(attacks),
        "success_lost_on_grid": (lost >= few, f"{lost} of {n} images fell to real numbers alone"),
    }
    best = (preprocessings or {}).get("best")
    signs: dict[str, Any] = {
        "preprocessing_forgotten": preprocessings and best and best["correct"] > preprocessings["given"]["correct"],
        "softmax_outputs": probabilities,
        "randomised_outputs": drift,
        "zero_gradients": any(unusable.values()),
        "black_box_beats_white_box": black_box,
        "iterative_weaker_than_single_step": single,
        "more_steps_still_help": iterations and iterations["broken_beyond_suite"],
        "accuracy_above_chance_at_any_radius": curve and curve[-1]["k"] > chance * curve[-1]["n"],
        "success_lost_on_grid": lost,
    }
    return [
        {
            "name": name,
            "raised": None if raised is None else bool(raised),
            "found": None if raised is None else bool(raised or signs.get(name)),
            "check": _TITLES[name][0],
            "title": _TITLES[name][1],
            "meaning": _TITLES[name][2],
            "evidence": text,
        }
        for name, (raised, text) in judged.items()
    ]


def _unanswered(samples: Sequence[str], times: int) -> str:
    if not times:
        return "every answer was made of finite numbers"
    named = shortened(samples, _NAMED) if samples else "images corrupted, unrounded or beyond eps"
    return f"no finite answer {'once' if times == 1 else f'{times} times'}: {named}"


def preprocessing_forgotten(found: Mapping[str, Any] | None) -> tuple[bool | None, str]:
    """Whether another preprocessing is far better, by more than chance, and what each is right on."""
    if found is None:
        return None, "the model states its own preprocessing"
    given, best, n = found["given"], found["best"], found["samples"]
    text = f"{given['correct']} of {n} are right with {given['name']}, as given"
    if best is None:
        return False, f"{text}; no other can be far better"
    gained = best["correct"] - given["correct"]
    # The best of seven was looked for, so each has a seventh of the usual level.
    surely = mcnemar_exact(best["only_given"], best["only_best"]) < (1 - CONFIDENCE) / 7
    return gained >= FAR * n and surely, f"{text}, and {best['correct']} with {best['name']} ({best['options']})"


def _cut_short(attacks: Sequence[Mapping[str, Any]]) -> tuple[bool | None, str]:
    cut = [
        f"{a['name']} had as few as {a['allowed_queries']} queries for an image, where it may take "
        f"{a['parameters']['queries']}"
        for a in attacks
        if "allowed_queries" in a
    ]
    return bool(cut), "; ".join(cut) or "every attack could take all the queries that it takes"
