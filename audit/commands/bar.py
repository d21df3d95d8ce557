"""The line that says how far an audit is."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from f2at.audit.meter import Meter
from f2at.audit.plan import Audit

_EVERY = 0.5  # seconds, on a terminal
_EVERY_LOGGED = 3.0  # in a file, where each is a line; with what an evaluation takes, five seconds at most


@contextmanager
def progress_bar(audit: Audit, *, kept: int) -> Iterator[Meter]:
    """On standard error, what the audit may take, and inside, how far the meter is, at least every five seconds.

    Args:
        audit: the plan.
        kept: steps that an earlier run has done.
    """
    every = _EVERY if sys.stderr.isatty() else _EVERY_LOGGED
    meter = Meter(audit, audit.measure())
    done = f"; {kept} of {len(audit.steps)} steps are done already" if kept else ""
    print(f"at most about {duration(meter.seconds_left)}, less where images fall early{done}", file=sys.stderr)
    shown = -every
    with tqdm(total=1.0, bar_format="{desc}{percentage:3.0f} %|{bar}| {elapsed}{postfix}", leave=False) as bar:

        def show() -> None:
            nonlocal shown
            now = time.monotonic()
            if meter.step and now - shown >= every:
                shown = now
                part = f"part {meter.step.shard + 1} of {len(audit.shards)}, {meter.step.stage} "
                bar.n = meter.share
                bar.set_description_str(part, refresh=False)
                bar.set_postfix_str(f"about {duration(meter.seconds_left)} left")

        meter.show = show
        yield meter


def duration(seconds: float) -> str:
    """1:23 or 1:02:03."""
    return str(tqdm.format_interval(max(1, round(seconds))))
