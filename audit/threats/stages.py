"""The steps of an audit that threats add: a search, a scan, and how accuracy falls with a threat's strength."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from f2at.audit.cost import Cost
from f2at.audit.stages import Shard, correct
from f2at.audit.steps import SHARD_SIZE
from f2at.audit.subject import NO_ANSWER, Subject
from f2at.audit.suites import checked
from f2at.audit.threats.base import Candidate, Found, Given, Scan, Search, Searched, Shape, Threat, Tier
from f2at.images.pixels import Labels
from f2at.images.png import base64_png

Result = Mapping[str, Any]
_JUDGED = 1  # forward passes of an image that was found


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step is given.

    Attributes:
        subject: the model.
        shard: the images; followed: those of them that curves are drawn of.
        others: so many images of the audit that are in other shards.
        previous: results of the shard's earlier steps.
        shown: pictures of errors to keep, at most.
    """

    subject: Subject
    shard: Shard
    followed: Shard
    others: Callable[[int], Shard]
    previous: Sequence[Result]
    rng: np.random.Generator
    shown: int

    def search(self, search: Search, part: Shard) -> Found:
        """What an attack finds for some of the images."""
        others = self.others(search.learns)
        given = Given(part.images, part.labels, others.images, others.labels)
        return self.subject.search(search, given, rng=self.rng)


@dataclass(frozen=True, kw_only=True)
class ThreatStage(ABC):
    """One kind of step, on any shard.

    Attributes:
        name: of the stage, unique in an audit.
        threat: it belongs to.
        inside: stages whose errors are errors of this threat, too.
    """

    name: str
    threat: Threat
    inside: frozenset[str]

    @abstractmethod
    def run(self, work: Work) -> dict[str, Any]:
        """The outcome on a shard, JSON values."""

    @abstractmethod
    def cost(self, shard: int, followed: int) -> Cost:
        """The most evaluations for so many images."""

    def standing(self, previous: Sequence[Result]) -> list[int]:
        """Positions that are right, and not known to fall to this threat."""
        fallen = {
            p for r in previous if r["stage"] in self.inside and r.get("fallen") for p in r["fallen"]["positions"]
        }
        return [p for p in correct(previous) if p not in fallen]


@dataclass(frozen=True, kw_only=True)
class SearchStage(ThreatStage):
    """An attack, on what stands."""

    search: Search

    def run(self, work: Work) -> dict[str, Any]:
        """See `ThreatStage`."""
        part = work.shard.at([p for p in self.standing(work.previous) if checked(p, self.search.every)])
        found = work.search(self.search, part)
        predictions = work.subject.scores(found.images, part.labels).predictions
        return {"attempted": part.positions.tolist(), **_outcome(part, found, predictions, work.shown)}

    def cost(self, shard: int, followed: int) -> Cost:  # noqa: ARG002
        """See `ThreatStage`."""
        return _search_cost(self.search, shard)


@dataclass(frozen=True, kw_only=True)
class ScanStage(ThreatStage):
    """All candidates, on all images: how many are right under each, and where those that were right fall first."""

    candidates: tuple[Candidate, ...]

    def run(self, work: Work) -> dict[str, Any]:
        """See `ThreatStage`."""
        shard, subject = work.shard, work.subject
        standing = np.isin(shard.positions, correct(work.previous))  # all, since the curve is theirs
        images, how, strengths = shard.images.copy(), [""] * len(shard), np.full(len(shard), np.nan)
        predictions, right = shard.labels.copy(), []
        for candidate in self.candidates:
            changed = candidate.apply(shard.images, work.rng)
            answers = subject.scores(changed, shard.labels).predictions
            wrong = answers != shard.labels
            right.append(int((~wrong).sum()))
            fell = wrong & standing
            images[fell], predictions[fell], strengths[fell] = changed[fell], answers[fell], candidate.strength
            for row in np.flatnonzero(fell):
                how[row] = candidate.name
            standing &= ~wrong
        outcome = _outcome(shard, Found(images, how), predictions, work.shown)
        if outcome["fallen"]:
            outcome["fallen"]["strengths"] = strengths[~np.isnan(strengths)].tolist()
        return {"attempted": shard.positions.tolist(), "right": right, **outcome}

    def cost(self, shard: int, followed: int) -> Cost:  # noqa: ARG002
        """See `ThreatStage`."""
        return Cost(shard * len(self.candidates), 0)


@dataclass(frozen=True, kw_only=True)
class StrengthStage(ThreatStage):
    """Weaker forms of a threat, on the images that are followed: the first at which each falls."""

    forms: tuple[tuple[Searched, Search], ...]

    def run(self, work: Work) -> dict[str, Any]:
        """See `ThreatStage`. What the whole threat did not break, its weaker forms need not be tried on."""
        whole, followed = self.standing(work.previous), work.followed
        right = [p for p in followed.positions.tolist() if p in correct(work.previous)]
        left = [p for p in right if p not in whole]
        broken_at: dict[int, float] = {}
        for form, search in self.forms:
            part = followed.at(left)
            found = work.search(search, part)
            wrong = work.subject.scores(found.images, part.labels).predictions != part.labels
            broken_at |= dict.fromkeys(part.positions[wrong].tolist(), form.strength)
            left = [p for p in left if p not in broken_at]
        broken_at |= dict.fromkeys(left, self.threat.strength)
        return {"attempted": followed.positions.tolist(), "strengths": [broken_at.get(p) for p in right], "of": right}

    def cost(self, shard: int, followed: int) -> Cost:  # noqa: ARG002
        """See `ThreatStage`."""
        costs = [_search_cost(search, followed) for _, search in self.forms]
        return Cost(sum(c.forwards for c in costs), sum(c.gradients for c in costs))


def threat_stages(
    threats: Sequence[Threat], tier: Tier, shape: Shape, *, samples: int, curve: bool
) -> tuple[ThreatStage, ...]:
    """The steps of every threat, in order, for so many images of this shape.

    Raises:
        ValueError: a threat that these images leave nothing to, or that has no attack for the model.
    """
    steps: list[ThreatStage] = []
    for threat in threats:
        threat.check(shape)
        inside = {step.name for step in steps if step.threat is threat or threat.includes(step.threat)}
        if isinstance(threat, Scan):
            name = f"{threat.text}/scan"
            inside.add(name)
            steps.append(
                ScanStage(name=name, threat=threat, inside=frozenset(inside), candidates=threat.candidates(shape))
            )
            continue
        assert isinstance(threat, Searched)
        searches = threat.searches(tier)
        if not searches:
            left = "scores" if tier.scores else "labels"
            raise ValueError(
                f"threat {threat.name} has no attack that goes by {left} alone, as this suite or this model asks"
            )
        if samples <= SHARD_SIZE and any(search.learns for search in searches):
            raise ValueError(
                f"threat {threat.name} needs more than {SHARD_SIZE} samples, since it learns from images other than "
                f"those that it is tried on; got {samples}"
            )
        for search in searches:
            inside.add(f"{threat.text}/{search.name}")
        for search in searches:
            name = f"{threat.text}/{search.name}"
            steps.append(SearchStage(name=name, threat=threat, inside=frozenset(inside), search=search))
        # As the ball's curve, by short runs: it is to show how accuracy falls, and is no verdict.
        forms = tuple((form, form.searches(tier._replace(quick=True))[0]) for form in threat.weaker(shape))
        if curve and forms:
            name = f"{threat.text}/strengths"
            steps.append(StrengthStage(name=name, threat=threat, inside=frozenset(inside), forms=forms))
    return tuple(steps)


def _search_cost(search: Search, images: int) -> Cost:
    """The most that a search takes on so many images, their verdict included."""
    most, white = images * search.most + search.once, search.knowledge == "white-box"
    return Cost(images * _JUDGED + most * (not white), most * white)


def _outcome(shard: Shard, found: Found, predictions: Labels, shown: int) -> dict[str, Any]:
    """Which images fell, to what the model says of those that were found, and pictures of the first few."""
    broken = np.flatnonzero(predictions != shard.labels)
    if not len(broken):
        return {"fallen": None, "pictures": []}
    return {
        "fallen": {
            "positions": shard.positions[broken].tolist(),
            "predictions": [None if p == NO_ANSWER else p for p in predictions[broken].tolist()],
            "how": [found.how[row] for row in broken],
        },
        "pictures": [
            {
                "position": int(shard.positions[row]),
                "clean": base64_png(shard.images[row]),
                "changed": base64_png(found.images[row]),
            }
            for row in broken[:shown]
        ],
    }
