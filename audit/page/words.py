"""What the numbers of a report say, in words for people who did not run the audit."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from f2at.images.pixels import LEVELS

_COLUMNS = 76  # of a line of shell
_STATES = {"raised": "failed", "noted": "noted", "clear": "passed", "unknown": "not run"}


def percent(value: float | None) -> str:
    """A share as people read it; the space does not break."""
    return "no samples" if value is None else f"{100 * value:.1f}\u00a0%"


def level(report: Mapping[str, Any]) -> str:
    """What the report's intervals are called, as in "95 % interval"."""
    return f"{100 * report['robust']['confidence']:g}\u00a0% interval"


def count(n: int, noun: str) -> str:
    """How many of a thing, as in "1 image" and "1,200 images"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def parameters(values: Mapping[str, Any]) -> str:
    """An attack's parameters in one line."""
    words = {"None": "automatic", "True": "yes", "False": "no"}
    return ", ".join(f"{key}: {words.get(str(value), value)}".replace("_", " ") for key, value in values.items())


def headline(report: Mapping[str, Any]) -> dict[str, str]:
    """The verdict: its "kind" (a CSS class), a "word" and a "text" that says why."""
    outcome = report["verdict"]["outcome"]
    if outcome is None:
        text = "No threshold was stated before this audit, so there is no verdict."
        return {"kind": "none", "word": "Measured", "text": text}
    bar = f"The threshold, stated before the run, was {percent(report['verdict']['threshold'])}."
    text = (report["verdict"]["reason"] or bar).replace(" %", "\u00a0%")
    return {"kind": outcome, "word": str(outcome).capitalize(), "text": text}


def sentence(report: Mapping[str, Any]) -> str:
    """The headline figures in one sentence."""
    clean, robust = report["clean"], report["robust"]
    return (
        f"Of {count(clean['n'], 'test image')} the model gets {clean['k']} right; when an attacker may "
        f"{power(report['threat_model'])}, it still gets {robust['k']} right."
    )


def power(threat: Mapping[str, Any]) -> str:
    """What the attacker may do to an image."""
    if threat["norm"] == "linf":
        return f"change every pixel by up to {threat['levels']:g} of {LEVELS} levels"
    if threat["norm"] == "l1":
        return f"change the image by up to {threat['levels']:,g} levels in all (summed over the channels of all pixels)"
    return f"move the image by up to {threat['levels']:g} levels (root of the summed squares over all pixels)"


def _levels(distance: float) -> str:
    return f"{distance:.4g}" if distance < 10_000 else f"{distance:,.0f}"


def nearest(report: Mapping[str, Any]) -> str:
    """How far away errors are."""
    if not report["curve"]:
        return "How far away the nearest errors are was not looked for."
    median = report["curve"]["median_minimal_perturbation"]
    if median["n"] == 0:
        return "No image was classified correctly, so there is no distance to measure."
    if median["levels"] is None:
        return f"More than half of {count(median['n'], 'image')} withstood every radius tried."
    return (
        f"Half of {count(median['n'], 'correctly classified image')} fall to a change of {_levels(median['levels'])} "
        f"levels or less ({median['norm']} norm)."
    )


def convergence(iterations: Mapping[str, Any]) -> str:
    """Whether the attack had found all it could when it stopped."""
    points, samples = iterations["points"], count(iterations["samples"], "image")
    settled = next(p["iterations"] for p in points if p["k"] == points[-1]["k"])
    last = points[-1]["iterations"]
    if settled == points[0]["iterations"]:
        found = f"No image falls after the start, in {last} steps."
    elif settled < last:
        found = f"No more images fall after step {settled} of {last}."
    else:
        found = f"Images still fell between the last two points, up to step {last}: more steps may find more."
    return f"{found} {iterations['broken_beyond_suite'] or 'None'} of {samples} fell that the suite had not broken."


def shell(command: str) -> str:
    """A command in lines that a shell takes as one, each beginning with an option."""
    parts: list[list[str]] = [[]]
    try:
        words = shlex.split(command)
    except ValueError:  # it is of no version of this program
        return command
    for word in words:
        if word.startswith("--"):
            parts.append([])
        parts[-1].append(word)
    lines: list[str] = []
    for part in map(shlex.join, parts):
        if lines and len(lines[-1]) + len(part) < _COLUMNS:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return " \\\n  ".join(lines)


def stated(context: Mapping[str, str | None]) -> list[tuple[str, str | None]]:
    """The fields of a context by name, with what is stated in them; None where nothing is."""
    names = {"eps_rationale": "Why this norm and eps", "threshold_rationale": "Why this threshold"}
    return [(names.get(key, key.replace("_", " ").capitalize()), value) for key, value in context.items()]


def checks(report: Mapping[str, Any]) -> list[dict[str, str]]:
    """The sanity checks: each "kind" (a CSS class), "state" in a word, "title", "evidence" and what it means."""
    rows = []
    for flag in report["flags"]:
        kind = "unknown" if flag["raised"] is None else "raised" if flag["raised"] else "clear"
        if kind == "clear" and flag["found"]:
            kind = "noted"
        # Reports of version 2 do not say whether anything was found that is too little to raise a flag.
        state = "not raised" if kind == "clear" and flag["found"] is None else _STATES[kind]
        meaning = {"raised": "", "noted": "Had it been more: ", "clear": "Had it failed: ", "unknown": "If it fails: "}
        rows.append(
            {
                "kind": kind,
                "state": state,
                "title": flag["check"],
                "evidence": f"{flag['evidence'][:1].upper()}{flag['evidence'][1:]}.",
                "before": meaning[kind],
                "meaning": flag["meaning"],
            }
        )
    return rows


def tally(rows: Sequence[Mapping[str, str]]) -> str:
    """The outcome of the sanity checks in one line."""
    states = [row["state"] for row in rows]
    counts = [(states.count(state), state) for state in (*_STATES.values(), "not raised")]
    return ", ".join(f"{number} {state}" for number, state in counts if number) + f", of {len(states)}"
