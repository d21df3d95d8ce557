"""What differs between two reports of one audit, field by field, and what in their harnesses may explain it."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

ABSENT = "(absent)"


class Difference(NamedTuple):
    """A field that is not the same, as JSON values; ABSENT where there is none."""

    field: str
    then: Any
    now: Any


def differences(then: Any, now: Any, field: str = "") -> Iterator[Difference]:
    """The leaves of two JSON values that differ: `attacks[0].robust.k`, say."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*then, *now]):
            inner = f"{field}.{key}" if field else str(key)
            yield from differences(then.get(key, ABSENT), now.get(key, ABSENT), inner)
    elif isinstance(then, list) and isinstance(now, list):
        for place, (old, new) in enumerate(zip_longest(then, now, fillvalue=ABSENT)):
            yield from differences(old, new, f"{field}[{place}]")
    elif then != now:
        yield Difference(field, then, now)


def leaves(value: Any) -> int:
    """How many values there are to differ."""
    if isinstance(value, Mapping | list):
        return sum(map(leaves, value.values() if isinstance(value, Mapping) else value))
    return 1


def causes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """In what two harnesses differ. Steps may have run in several environments, so each is a set of what it had."""
    package = ("version", "commit", "modified", "digest")
    before, after = ({key: harness[key] for key in package} for harness in (then, now))
    found = list(differences(before, after))
    old, new = (_environments(harness["environments"]) for harness in (then, now))
    for field in dict.fromkeys([*old, *new]):
        left, right = old.get(field, set()), new.get(field, set())
        if field == "processor.features":  # only those that make a difference
            left, right = left - right, right - left
        if left != right:
            found.append(Difference(field, *(", ".join(sorted(side)) or ABSENT for side in (left, right))))
    return found


def _environments(environments: list[Mapping[str, Any]]) -> dict[str, set[str]]:
    """What each field was, over all environments."""
    found: dict[str, set[str]] = {}
    for environment in environments:
        processor = environment.get("processor", {})  # earlier versions did not say it
        for field, value in {**environment, **{f"processor.{key}": value for key, value in processor.items()}}.items():
            if field != "processor":
                found.setdefault(field, set()).update(map(str, value if isinstance(value, list) else [value]))
    return found
