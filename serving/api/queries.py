"""Reads query parameters."""

import re
from collections.abc import Sequence

from f2at.images.bitplanes import BITS
from f2at.serving.problems import Problem, invalid

_WHOLE = re.compile("0|[1-9][0-9]{0,8}")
_DIGEST = re.compile("sha256:[0-9a-f]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,10}(\.[0-9]{1,12})?")


def read_integer(text: str, name: str, accepted: range, meaning: str = "") -> int:
    """The whole number in `text`, the query parameter `name`; `meaning` ends the message for a refused one.

    Raises:
        Problem: 422, it is not one of those accepted.
    """
    if not _WHOLE.fullmatch(text) or int(text) not in accepted:
        bounds = f"{accepted.start} to {accepted.stop - 1}"
        raise Problem(
            422,
            "invalid-argument",
            f"{name} must be a whole number from {bounds}{meaning}.",
            argument=name,
            accepted=bounds,
            received=text[:40],
        )
    return int(text)


def read_planes(text: str | None) -> int | None:
    """K, the number of bit-planes that the query asks for; None if it asks for none.

    Raises:
        Problem: 422, `text` is not a whole number from 1 to 8.
    """
    if text is None:
        return None
    meaning = ": how many upper bit-planes the natural pattern keeps"
    return read_integer(text, "planes", range(1, BITS + 1), meaning)


def read_choice(text: str, name: str, accepted: Sequence[str]) -> str:
    """One of the words that the query parameter `name` takes.

    Raises:
        Problem: 422, it is none of them.
    """
    if text not in accepted:
        raise invalid(name, f"one of {', '.join(accepted)}", text[:80])
    return text


def read_choices(text: str, name: str, accepted: Sequence[str]) -> tuple[str, ...]:
    """Several of them, with commas between; see `read_choice`."""
    return tuple(read_choice(word, name, accepted) for word in text.split(","))


def read_digest(text: str, name: str) -> str:
    """A digest, or its beginning. Raises Problem, 422, for what can be none."""
    if not _DIGEST.fullmatch(text):
        raise invalid(name, "the digest of a model, sha256:..., or its beginning", text[:80])
    return text


def read_seconds(text: str, name: str) -> float:
    """A time, in seconds since 1970, as audits have them. Raises Problem, 422, for anything else."""
    if not _SECONDS.fullmatch(text):
        raise invalid(name, "seconds since 1970", text[:80])
    return float(text)
