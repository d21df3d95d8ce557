"""Graphs that were derived once, kept in a folder of the user's: the next audit of the same file starts at once."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import onnx

from f2at.bundle.weights import Slim

_SOURCES = ("f2at.gradient", "f2at.bundle", "f2at.attacks")  # what graphs and objectives depend on
_GRAPHS, _FACTS = ("classifier.onnx", "gradient.onnx"), "facts.json"
_LIBRARIES = ("numpy", "ndonnx", "onnx", "spox")


class Derived(NamedTuple):
    """What is made of a classifier's file: its two graphs, and what was found out about it, JSON-able."""

    classifier: Slim
    gradient: Slim | None  # if it was asked for
    facts: dict[str, Any]


def cached(key: Mapping[str, Any], derive: Callable[[], Derived]) -> Derived:
    """What was derived earlier for this key by this version of the code, or else is now.

    Args:
        key: JSON-able; all that the result depends on besides the code: the file's digest and the arguments.
        derive: makes it.
    """
    folder = cache_folder() / hashlib.sha256(f"{_code()} {json.dumps(key, sort_keys=True)}".encode()).hexdigest()[:32]
    try:
        facts = json.loads((folder / _FACTS).read_bytes())
        classifier, gradient = (
            _read(folder / name, seal) for name, seal in zip(_GRAPHS, facts.pop("sha256"), strict=True)
        )
        if classifier:
            return Derived(classifier, gradient and gradient.sharing(classifier), facts)
    except (OSError, ValueError, KeyError, RecursionError):
        pass  # not there yet, or damaged: it is made anew
    derived = derive()
    derived = derived._replace(facts=json.loads(json.dumps(derived.facts)))  # the same now as when it is read
    try:
        folder.mkdir(parents=True, exist_ok=True)
        seals = [
            _write(folder / name, graph.parts() if graph else ())
            for name, graph in zip(_GRAPHS, derived[:2], strict=True)
        ]
        _write(folder / _FACTS, [json.dumps({**derived.facts, "sha256": seals}).encode()])
    except OSError:
        pass  # a home that cannot be written to, or is full: the next audit derives them again
    return derived


def _read(path: Path, seal: str) -> Slim | None:
    """The graph in a file; None if it is empty.

    Raises:
        ValueError: it is not what was written.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != seal:
        raise ValueError(f"{path} is damaged")
    model = onnx.load_model_from_string(content)
    del content  # as large as the weights
    return Slim.of(model) if model.graph.node else None


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> str:
    """Write a file at once, and say its digest."""
    digest, part = hashlib.sha256(), path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with part.open("wb") as stream:
        for piece in parts:
            digest.update(piece)
            stream.write(piece)
    part.rename(path)
    return digest.hexdigest()


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
