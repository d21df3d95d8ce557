"""API keys: who may do what. A server stores the digests of keys, never a key itself.

A key is a random token of 256 bits, so its SHA-256 cannot be reversed by guessing, however fast SHA-256 is: the slow
hash functions that passwords need would only add latency to every request.
"""

import hashlib
import json
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hmac import compare_digest
from pathlib import Path
from typing import Any, Self

from f2at.arguments import NAME
from f2at.serving.process.files import acquire_lock, replace_file

_LOG = logging.getLogger("bentoml.f2at")

SCOPES = {
    "predict": "predictions, GET /model and models under /v2",
    "audit": "audits: start, follow and cancel them, remove own ones, read and compare reports",
    "examples": "samples of the reference images, and with audit the pictures in reports, among them adversarial ones",
    "admin": "changing the model that is served; with audit, removing anybody's audits",
}
_TOKEN_BYTES = 32
_PREFIX = "f2at_"  # lets people and secret scanners recognise a key
_DIGEST = re.compile(r"[0-9a-f]{64}")


class KeysError(ValueError):
    """Keys that cannot be used, or cannot be changed as requested; the message never contains a key."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key as a server knows it.

    Args:
        name: of its owner; shown in logs and lists.
        scopes: what it may do; names in SCOPES.
        sha256: of the token, hexadecimal.
        created: time of creation, in UTC; empty if unknown.
    """

    name: str
    scopes: tuple[str, ...]
    sha256: str
    created: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise KeysError(f"the name of a key must match {NAME.pattern}")
        unknown = sorted(set(map(str, self.scopes)) - SCOPES.keys())
        if unknown or not self.scopes:
            raise KeysError(f"the scopes of key {self.name} must be among {', '.join(SCOPES)}; got {unknown or 'none'}")
        if not isinstance(self.sha256, str) or not _DIGEST.fullmatch(self.sha256):
            raise KeysError(f"the digest of key {self.name} must be its SHA-256 in 64 lower-case hexadecimal digits")

    @classmethod
    def create(cls, name: str, scopes: Iterable[str]) -> tuple[Self, str]:
        """A new key and its token, which is stored nowhere."""
        token = _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(name=name, scopes=tuple(dict.fromkeys(scopes)), sha256=_digest(token), created=now), token

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The key in "name:scope,scope:sha256", as F2AT_KEY_DIGEST has it."""
        parts = text.split(":")
        if len(parts) != 3:  # the value is not shown: it may be the key itself
            raise KeysError("F2AT_KEY_DIGEST must be name:scope,scope:sha256, as `f2at keys add` prints it")
        return cls(name=parts[0], scopes=tuple(parts[1].split(",")), sha256=parts[2])

    def to_text(self) -> str:
        """The key as F2AT_KEY_DIGEST takes it."""
        return f"{self.name}:{','.join(self.scopes)}:{self.sha256}"


class Keyring:
    """The keys in a file, which is read again whenever it changes, and one from the environment.

    Args:
        path: the file, if there is one.
        extra: one more key, from the environment.

    Raises:
        KeysError: the file is missing or unusable. If that happens later, `find` raises it.
    """

    def __init__(self, path: Path | None, extra: Key | None = None) -> None:
        self._path = path
        self._extra = () if extra is None else (extra,)
        self._keys: Sequence[Key] = ()
        self._failure: str | None = None
        self._seen: object = None
        self._refresh()
        if self._failure:
            raise KeysError(self._failure)
        if path and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            _LOG.warning(
                "%s is readable by others: it has no keys, but their names and scopes. Mode 600 is enough.", path
            )

    @property
    def configured(self) -> bool:
        """Whether keys are required at all."""
        return self._path is not None or bool(self._extra)

    def find(self, token: str) -> Key | None:
        """The key with this token, if it is valid now.

        Raises:
            KeysError: the file has become unusable. Every key is refused until it is repaired, so that a typing mistake
                while revoking a key cannot leave that key valid unnoticed.
        """
        self._refresh()
        if self._failure:
            raise KeysError(self._failure)
        digest = _digest(token).encode()
        found = None
        for key in (*self._extra, *self._keys):  # always all of them: timing must not tell which matched
            if compare_digest(digest, key.sha256.encode()):
                found = key
        return found

    def _refresh(self) -> None:
        if self._path is None:
            return
        seen = _signature(self._path)  # taken before reading, so a change meanwhile is noticed next time
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys, self._failure = read_keys(self._path), None
        except KeysError as error:
            self._keys, self._failure = (), str(error)
            _LOG.error("Refusing every API key: %s", error)
        else:
            _LOG.info("Loaded %d API keys from %s.", len(self._keys), self._path)


def read_keys(path: Path) -> list[Key]:
    """The keys in a file.

    Raises:
        KeysError: the file does not exist, is writable by others, or is not a list of keys.
    """
    try:
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise KeysError(f"{path} is writable by others, who could add keys of their own; run chmod 600 {path}")
        entries = json.loads(path.read_text("utf-8"))
        if not isinstance(entries, list):
            raise TypeError
        keys = [Key(**{**entry, "scopes": tuple(entry["scopes"])}) for entry in entries]
    except OSError as error:
        raise KeysError(f"F2AT_KEYS: {path} cannot be read ({error.strerror}); `f2at keys add` creates it") from error
    except KeysError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeysError(f"{path} must be a JSON list of keys, each with name, scopes and sha256") from error
    _check_distinct(keys)
    return keys


def add_key(path: Path, name: str, scopes: Iterable[str]) -> str:
    """Add a key to the file, creating the file if needed; return its token, which is not stored.

    Raises:
        KeysError: the name is taken or invalid, a scope is unknown, or the file cannot be used.
    """
    key, token = Key.create(name, scopes)
    with _EditedKeys(path) as keys:
        keys.append(key)
    return token


def revoke_key(path: Path, name: str) -> None:
    """Remove a key from the file. Servers refuse it from the next request on.

    Raises:
        KeysError: there is no key of this name, or the file cannot be used.
    """
    with _EditedKeys(path) as keys:
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            raise KeysError(f"{path} has no key {name!r}; its keys are {', '.join(key.name for key in keys) or 'none'}")
        keys[:] = kept


class _EditedKeys:
    """The keys in a file, locked against other commands while they are edited; written back unless the block raises."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> list[Key]:
        lock = acquire_lock(self._path.with_name(f".{self._path.name}.lock"))
        if lock is None:
            raise KeysError(f"{self._path} is being changed by another command; try again")
        self._lock = lock
        try:
            self._keys = read_keys(self._path) if self._path.exists() else []
        except BaseException:
            os.close(lock)
            raise
        return self._keys

    def __exit__(self, kind: object, *_: Any) -> None:
        try:
            if kind is None:
                _check_distinct(self._keys)
                replace_file(self._path, json.dumps([asdict(key) for key in self._keys], indent=2) + "\n")
        finally:
            os.close(self._lock)


def _signature(path: Path) -> tuple[int, ...]:
    """A value that differs once the file was changed or replaced; () if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode


def _check_distinct(keys: Sequence[Key]) -> None:
    names = [key.name for key in keys]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise KeysError(f"there is already a key {min(repeated)!r}; names must be unique")


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
