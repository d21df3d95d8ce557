"""Labelled images that an audit's request may name: the places where the operator lets them lie."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from f2at.serving.problems import Problem

ACCEPTED = "absolute paths of folders and URLs of stores, with commas between them"
_LONGEST = 1000  # characters
_STORE = re.compile(r"(?!file:|local:)[a-z][a-z0-9+.-]*://")  # the protocol of a URL, but for folders, which are paths


def split_places(text: str) -> tuple[str, ...]:
    """The places in a setting, without a slash at the end.

    Raises:
        ValueError: one is neither an absolute path nor a URL, or would lead elsewhere than it says.
    """
    places = tuple(place.strip().rstrip("/") for place in text.split(","))
    for place in places:
        if not _is_plain(place) or not (_STORE.match(place) or PurePosixPath(place).is_absolute()):
            raise ValueError(place or text)
    return places


def permits(places: Sequence[str], location: str) -> bool:
    """Whether a location is one of the places, or below one."""
    return _is_plain(location) and any(location == place or location.startswith(f"{place}/") for place in places)


def read_data(value: Any, places: Sequence[str]) -> str | None:
    """The labelled images that a request names; None: the model's own.

    Raises:
        Problem: 422, they do not lie where this server lets them.
    """
    if value is None:
        return None
    accepted = f"a folder of images in {', '.join(places)}" if places else "none: the model's own images are used"
    location = value.rstrip("/") if isinstance(value, str) else ""
    if not permits(places, location):
        raise Problem(
            422,
            "invalid-argument",
            f"data must be {accepted} (F2AT_DATA); got {str(value)[:200]!r}."
            if places
            else "data may not be named on this server: F2AT_DATA says where it may lie, and is not set.",
            argument="data",
            accepted=accepted,
            received=str(value)[:200],
        )
    return location


def _is_plain(place: str) -> bool:
    """Whether it means what it says to every store: no way up, no chain of file systems, no query, nothing quoted."""
    rest = place.partition("://")[2] or place.removeprefix("/")
    parts = rest.split("/")
    return (
        0 < len(place) <= _LONGEST
        and place.isprintable()
        and not any(character in place for character in "?#%\\")
        and "::" not in place
        and "@" not in parts[0]  # a name or a password
        and not any(part in ("", ".", "..") for part in parts)
    )
