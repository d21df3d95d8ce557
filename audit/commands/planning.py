"""`f2at audit --plan`: how many samples a verdict needs, and what they cost, before anything is attacked."""

import argparse
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from f2at.audit import AuditRequest
from f2at.audit.commands.bar import duration
from f2at.audit.commands.model import Opened
from f2at.audit.meter import Meter
from f2at.audit.page.words import count
from f2at.audit.reports.power import MOST, POWER, outcome_chances, samples_needed, tolerance_power
from f2at.audit.reports.statistics import better_than
from f2at.audit.steps import SHARD_SIZE
from f2at.audit.suites import FOR_THRESHOLDS

_OPTIONS = ("expect", "tolerance", "apart", "workers")


class Question(NamedTuple):
    """What is to be decided, and the probability that so many images decide it."""

    text: str
    power: Callable[[int], float]
    passes: bool = False  # a threshold, which takes images that show that the model is better than chance


def add_planning_options(group: argparse._ArgumentGroup) -> None:
    """Options that go with --plan."""
    group.add_argument(
        "--plan",
        action="store_true",
        help=f"attack nothing; say how many images a verdict needs that comes with probability {POWER:g}, and how long "
        "they take; with --samples alone, how long so many take",
    )
    group.add_argument("--expect", type=float, metavar="SHARE", help="accuracy under attack that is expected, 0 to 1")
    group.add_argument(
        "--tolerance",
        type=float,
        metavar="POINTS",
        help="plan for `f2at compare --tolerance-robust POINTS`, with a candidate as good as the baseline",
    )
    group.add_argument(
        "--apart",
        type=float,
        metavar="SHARE",
        help="of the images, on which just one of the two is right (default as if they had nothing in common)",
    )

    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="also say how long so many workers take together, each as fast as this machine",
    )


def check_planning_options(options: argparse.Namespace) -> None:
    """Raise ValueError unless they fit together."""
    if not options.plan:
        for name in _OPTIONS:
            if getattr(options, name) is not None:
                raise ValueError(f"{name} goes with --plan only")
        return
    if options.workers is not None and options.workers < 1:
        raise ValueError(f"workers must be at least 1; got {options.workers}")
    if options.min_robust_accuracy is None and options.tolerance is None:
        if options.samples is None:
            raise ValueError(
                "min-robust-accuracy or tolerance must be given for a plan: what is to be decided; or samples alone, "
                "how many images are to be audited"
            )
        return
    if options.expect is None:
        raise ValueError("expect must be given for a plan: the accuracy under attack that is expected, from 0 to 1")
    if not 0 <= options.expect <= 1:
        raise ValueError(f"expect must be from 0 to 1; got {options.expect:g}")
    if options.tolerance is not None and not 0 < options.tolerance <= 100:
        raise ValueError(f"tolerance must be above 0, and at most 100 percentage points; got {options.tolerance:g}")
    if options.expect == options.min_robust_accuracy:
        raise ValueError(
            "expect must differ from min-robust-accuracy: at the threshold itself no number of images tells"
        )


def plan(options: argparse.Namespace, request: AuditRequest, opened: Opened) -> str:
    """How many images the verdicts need that the options ask for, and how long an audit of so many takes."""
    lines, most = [], 1
    for question in _questions(options, request):
        needed = samples_needed(question.power)
        if needed is not None and question.passes:
            needed = max(needed, _beyond_chance(options.expect, 1 / len(opened.model.classes)))
        answer = f"more than {MOST:,} images"
        if needed is not None:
            answer = f"{count(needed, 'image')}, with probability {question.power(needed):.2f}"
        if options.samples is not None:
            answer += f" (with {options.samples:,}: {question.power(options.samples):.2f})"
        lines.append(f"{question.text}: {answer}")
        most = max(most, needed or MOST)
    if not lines:
        most = options.samples
    available = len(opened.model.labelled(opened.data))
    audit = opened.audit(request.model_copy(update={"samples": min(most, available)}))
    seconds = Meter(audit, audit.measure()).seconds_left * max(1, most / available)
    threats = f" and {count(len(request.threats), 'threat')}" if request.threats else ""
    lines.append(
        f"{most:,} images by the suite {request.suite}{threats}: at most about {duration(seconds)} here, less where "
        "images fall early"
    )
    if options.workers is not None:
        lines.append(f"{count(options.workers, 'worker')} as fast: {duration(shared(seconds, most, options.workers))}")
    if most > available:
        lines.append(f"the data has only {available:,} images")
    if options.min_robust_accuracy is not None and not (request.chosen_suite.strong or request.accept_weak):
        lines.append(
            f"the suite {request.suite} is weak: none passes by it; --suite {FOR_THRESHOLDS}, or --accept-weak"
        )
    return "\n".join(lines)


def shared(seconds: float, images: int, workers: int) -> float:
    """How long so many workers take together over what takes one so many seconds; no two work on one shard."""
    most = math.ceil(math.ceil(images / SHARD_SIZE) / workers) * SHARD_SIZE  # images of one worker
    return seconds * min(1, most / images)


def _beyond_chance(expected: float, chance: float) -> int:
    """The fewest images that show a model to be better than chance that is right on this share of them."""
    counts = range(1, MOST + 1)
    return next((n for n in counts if better_than(round(expected * n), n, chance)), MOST)


def _questions(options: argparse.Namespace, request: AuditRequest) -> Iterator[Question]:
    expected, threshold, tolerance = options.expect, request.min_robust_accuracy, options.tolerance
    if threshold is not None:
        outcome = "pass" if expected > threshold else "fail"
        yield Question(
            f"to {outcome} a threshold of {threshold:.1%} where {expected:.1%} are right under attack, "
            f"by the {100 * request.confidence:g} % interval",
            lambda n: outcome_chances(n, threshold, expected, request.confidence)[outcome],
            passes=outcome == "pass",
        )
    if tolerance is not None:
        apart = 2 * expected * (1 - expected) if options.apart is None else options.apart
        yield Question(
            f"to show a loss of at most {tolerance:g} points where both models are right on {expected:.1%} under "
            f"attack, and just one of them on {apart:.1%}",
            lambda n: tolerance_power(n, tolerance, expected, apart),
        )
