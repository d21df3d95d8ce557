"""Graphs that were derived once, kept in a folder of the user's: the next audit of the same file starts at once."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

_SOURCES = ("f2at.gradient", "f2at.attacks")  # what the graphs depend on, and objectives
_LIBRARIES = ("numpy", "ndonnx", "onnx", "spox")


class Derived(NamedTuple):
    """What is made of a classifier's file: its two graphs, serialised, and what was found out about it, JSON-able."""

    classifier: bytes
    gradient: bytes
    facts: dict[str, Any]


def cached(key: Mapping[str, Any], derive: Callable[[], Derived]) -> Derived:
    """What was derived earlier for this key by this version of the code, or else is now.

    Args:
        key: JSON-able; all that the result depends on besides the code: the file's digest and the arguments.
        derive: makes it.
    """
    folder = cache_folder() / hashlib.sha256(f"{_code()} {json.dumps(key, sort_keys=True)}".encode()).hexdigest()[:32]
    names = ("classifier.onnx", "gradient.onnx", "facts.json")
    try:
        found = [(folder / name).read_bytes() for name in names]
        facts = json.loads(found[2])
        if facts.pop("sha256") == [hashlib.sha256(data).hexdigest() for data in found[:2]]:
            return Derived(found[0], found[1], facts)
    except (OSError, ValueError, KeyError, RecursionError):
        pass  # not there yet, or damaged: it is made anew
    derived = derive()
    derived = derived._replace(facts=json.loads(json.dumps(derived.facts)))  # the same now as when it is read
    seal = {"sha256": [hashlib.sha256(data).hexdigest() for data in derived[:2]]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in zip(names, (*derived[:2], json.dumps({**derived.facts, **seal}).encode()), strict=True):
            part = folder / f".{name}.{secrets.token_hex(4)}"
            part.write_bytes(data)
            part.rename(folder / name)
    except OSError:
        pass  # a home that cannot be written to, or is full: the next audit derives them again
    return derived


def cache_folder() -> Path:
    """Where they are kept: $F2AT_CACHE, or f2at in the user's folder for caches."""
    own = os.environ.get("F2AT_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "f2at"


def _code() -> str:
    parts = hashlib.sha256()
    for package in _SOURCES:
        root = Path(str(files(package)))
        for file in sorted(root.rglob("*.py")):
            parts.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    for library in _LIBRARIES:
        parts.update(f"{library} {version(library)}".encode())
    return parts.hexdigest()
