"""Our audit's suites on the samples of a record, attack by attack as the audit runs them, every pass counted."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.autoattack.passes import Passes, PassesOfTarget
from benchmarks.autoattack.record import Attack, Found, Record, Rows, Verdicts, run_chunk
from f2at.attacks.attack import Attack as Registered
from f2at.attacks.grid import snap
from f2at.attacks.target import Target
from f2at.attacks.threat import effective_eps
from f2at.audit.steps import SHARD_SIZE
from f2at.audit.subject import score
from f2at.audit.suites import Suite
from f2at.images.pixels import Images, to_inputs

CHUNK = SHARD_SIZE
SEED = 0


def drawn(size: int, samples: int) -> Rows:
    """The indices that an audit draws from a reference set of this size, in its order."""
    return np.random.default_rng(np.random.SeedSequence([SEED])).permutation(size)[:samples]


def run_suite(
    record: Record,
    images: Images,
    labels: Rows,
    target: Target,
    suite: Suite,
    *,
    eps: Fraction,
    norm: str,
    to_target: Callable[[NDArray[Any]], Any] = np.asarray,
) -> None:
    """Extend the record by these images, one shard of an audit; the same images fall as in the audit."""
    shard, eps = record.done // CHUNK, effective_eps(eps, norm)
    inputs = to_inputs(images)
    passes = Passes(inputs, labels, eps=float(eps), norm=norm)
    counted = PassesOfTarget(target, passes)

    def judge(rows: Rows, found: Found) -> Verdicts:
        on_grid = to_inputs(snap(found, images[rows], eps=eps, norm=norm))
        scores = score(np.asarray(target.logits(to_target(on_grid))).astype(np.float64), labels[rows])
        return Verdicts(scores.predictions != labels[rows], scores.margins, scores.margins)

    def run(place: int, attack: Registered) -> Attack:
        # The audit's clean step is place 0 of a shard, its first attack place 1.
        rng = np.random.default_rng(np.random.SeedSequence([SEED, 2 + place, shard]))

        def call(rows: Rows) -> Found:
            moved, of = to_target(inputs[rows]), to_target(labels[rows])
            return np.asarray(attack.run(counted, moved, of, eps=float(eps), norm=norm, rng=rng))

        return call

    attacks = [run(place, attack) for place, attack in enumerate(suite.attacks)]
    every = [suite.every.get(attack.name, 1) for attack in suite.attacks]
    run_chunk(record, images, passes, attacks, judge, every)
