"""Pictures that are turned and moved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import numpy as np
from numpy.typing import NDArray

from f2at.attacks.target import Target
from f2at.attacks.transformations import rotation
from f2at.audit.subject import score, to_numpy
from f2at.audit.threats.base import (
    SHARES,
    Found,
    Given,
    Search,
    Searched,
    Shape,
    Threat,
    Tier,
    ToTarget,
    choice,
    decimal,
    number,
    parameter,
    percent,
    share,
)
from f2at.images.pixels import Images, Labels, to_inputs

_ROUNDS = 4  # of refinement
_DRAWN = 56
Neighbours = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Turn(Searched):
    """Rotation about the centre, then a shift."""

    name = "rotate-translate"
    title = "A turned and shifted picture"
    met = "A camera held askew, an object off the centre, a detector whose boxes are loose"
    formula = "x' = shift(rotate(x, a), (u, v)), |a| <= degrees, |u|, |v| <= shift; bilinear, 8-bit"
    axis = "degrees, and as much of the shift"
    limits = (
        "What a turn brings into view is not known: it is filled. Other changes of the viewpoint, such as size and "
        "tilt, were not tried."
    )

    degrees: Fraction = parameter(
        Fraction(30), "largest angle, to either side", read=number("degrees", 0, 180), write=decimal
    )
    shift: Fraction = parameter(
        Fraction(1, 10), "largest shift each way, of the width and the height", read=share("shift", 0, 1), write=percent
    )
    fill: str = parameter(
        "black", "black, or edge: the nearest pixel that is known", read=choice("fill", *rotation.FILLS), silent=True
    )
    search: str = parameter(
        "refined",
        "refined: coarse, at random, then around the worst; grid: all 775 of 31 angles and 5 x 5 shifts",
        read=choice("search", "refined", "grid"),
        silent=True,
    )

    @property
    def definition(self) -> str:
        """See `Threat`."""
        fill = "black comes in" if self.fill == "black" else "the outermost pixels are repeated"
        return (
            f"The picture may be turned by up to {decimal(self.degrees)} degrees and then moved by up to "
            f"{percent(self.shift)} of its width and height; {fill} from outside"
        )

    @property
    def strength(self) -> float:
        """The angle, or the shift in percent where there is none."""
        return float(self.degrees or 100 * self.shift)

    def check(self, shape: Shape) -> None:  # noqa: ARG002
        """Something must move."""
        if not self.degrees and not self.shift:
            raise ValueError("threat rotate-translate: degrees or shift must be above 0")

    def claims(self, tier: Tier) -> tuple[bool, str]:
        """See `Threat`."""
        if self.search == "grid":
            return True, "Exact on the grid of 31 angles and 5 x 5 shifts; turns between its points were not tried"
        if tier.quick:
            return False, "What 44 turns leave standing: more would find more"
        return True, "What 44 turns, 56 at random and a search around the worst leave standing"

    def includes(self, other: Threat) -> bool:
        """Smaller angles and shifts."""
        if not isinstance(other, Turn):
            return False
        return other.fill == self.fill and other.degrees <= self.degrees and other.shift <= self.shift

    def weaker(self, shape: Shape) -> tuple["Turn", ...]:  # noqa: ARG002
        """Parts of both."""
        return tuple(
            Turn(degrees=self.degrees * part, shift=self.shift * part, fill=self.fill, search="refined")
            for part in SHARES
        )

    def searches(self, tier: Tier) -> tuple[Search, ...]:
        """One: through the grid, or refined."""
        rounds = 0 if tier.quick or self.search == "grid" or not tier.scores else _ROUNDS
        drawn = 0 if tier.quick or self.search == "grid" else _DRAWN

        def find(target: Target, to_target: ToTarget, given: Given, rng: np.random.Generator) -> Found:
            def margins(turned: Images, y: Labels) -> NDArray[np.float64]:
                logits = to_numpy(target.logits(to_target(to_inputs(turned))))
                return score(logits.astype(np.float64), y).margins

            tried = self._planned()
            if drawn:
                drawn_turns = rotation.random_candidates(rng, float(self.degrees), float(self.shift), drawn)
                tried = np.concatenate([tried, drawn_turns])

            def render(turned: Images, turns: NDArray[np.float64]) -> Images:
                return rotation.rotate_translate(turned, turns, fill=self.fill)

            worst = worst_turns(margins, render, given.images, given.labels, tried, self._neighbours(rounds))
            images = rotation.rotate_translate(given.images, worst, fill=self.fill)
            return Found(images, [_words(row) for row in worst])

        planned = len(self._planned())
        return (
            Search(
                name="grid" if self.search == "grid" else "worst-of-k",
                title="Rotations and translations (Engstrom et al. 2019)",
                paper="https://arxiv.org/abs/1712.02779",
                knowledge="black-box",
                parameters={"planned": planned, "random": drawn, "refinements": rounds},
                most=planned + drawn + 8 * rounds,
                find=find,
            ),
        )

    def _planned(self) -> NDArray[np.float64]:
        """(K, 3), the weakest first, without the one that changes nothing."""
        angles, shifts = self._counts
        return rotation.grid(float(self.degrees), float(self.shift), angles=angles, shifts=shifts)[1:]

    def _neighbours(self, rounds: int) -> Sequence[Neighbours]:
        """From the worst so far to the eight around it, each time nearer."""
        degrees, shift = float(self.degrees), float(self.shift)
        angles, shifts = self._counts
        spacing = rotation.spacing(degrees, shift, angles=angles, shifts=shifts)
        return [
            partial(rotation.around, step=spacing / 2 ** (n + 1), degrees=degrees, shift=shift) for n in range(rounds)
        ]

    @property
    def _counts(self) -> tuple[int, int]:
        """Of angles, and of shifts each way."""
        return (31, 5) if self.search == "grid" else (5, 3)


def worst_turns(
    margins: Callable[[Images, Labels], NDArray[np.float64]],
    render: Callable[[Images, NDArray[np.float64]], Images],
    images: Images,
    labels: Labels,
    tried: NDArray[np.float64],
    neighbours: Sequence[Neighbours] = (),
) -> NDArray[np.float64]:
    """The first turn that fools the model for each image, or the one that comes nearest to it.

    Args:
        margins: of images and their labels; above 0, or not a number, where the model errs.
        render: images and a turn for each to images.
        images: uint8 (N, H, W, 3).
        labels: (N,).
        tried: (K, 3), for all images, in order.
        neighbours: then each of these gives the turns (N, M, 3) to try around the worst (N, 3) so far.

    Returns:
        (N, 3).
    """
    worst, most = np.zeros((len(images), tried.shape[1])), np.full(len(images), -np.inf)
    standing = np.arange(len(images))

    def attempt(turns: NDArray[np.float64]) -> None:
        nonlocal standing
        found = margins(render(images[standing], turns), labels[standing])
        errs = np.isnan(found) | (found > 0)
        better = errs | (found > most[standing])
        worst[standing[better]], most[standing[better]] = turns[better], found[better]
        standing = standing[~errs]

    for turn in tried:
        if len(standing):
            attempt(np.tile(turn, (len(standing), 1)))
    for around in neighbours:
        turns = around(worst)
        for corner in range(turns.shape[1]):
            if len(standing):
                attempt(turns[standing, corner])
    return worst


def _words(turn: NDArray[np.float64]) -> str:
    degrees, right, down = turn
    across = f"{100 * abs(right):.3g} % {'right' if right > 0 else 'left'}" if right else ""
    along = f"{100 * abs(down):.3g} % {'down' if down > 0 else 'up'}" if down else ""
    moved = " and ".join(part for part in (across, along) if part)
    turned = f"turned {abs(degrees):.3g} degrees {'counter-' if degrees > 0 else ''}clockwise" if degrees else ""
    return ", ".join(part for part in (turned, f"moved {moved}" if moved else "") if part)
