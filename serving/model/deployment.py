"""The deployed model: one at a time, recorded in F2AT_STATE so that every process of a server agrees on it."""

import json
import logging
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from f2at.bundle.format import Bundle
from f2at.serving.jobs.audits import Audits
from f2at.serving.model.predictor import Predictor
from f2at.serving.model.store import load_trusted, store_bundle, stored_path
from f2at.serving.process.files import acquire_lock, replace_file
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")


class StateError(ValueError):
    """The state folder cannot be used; the message gives the reason and the remedy, in one line."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Which model the processes of a server are to serve. Models are named by digest; `store` keeps their bundles.

    Args:
        configured: the bundle in F2AT_BUNDLE when it was last read.
        serving: the served model.
        since: start of serving it, in UTC.
        previous: the model served before, which a rollback restores.
        candidate: the model that every process must load, but not serve yet.
        revision: number of changes to the record.
    """

    configured: str
    serving: str
    since: str
    previous: str | None = None
    candidate: str | None = None
    revision: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record in the file `path`."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write the record to the file `path`."""
        replace_file(path, json.dumps(asdict(self), indent=2) + "\n")

    def offer(self, digest: str) -> Self:
        """The record with a candidate."""
        return replace(self, candidate=digest, revision=self.revision + 1)

    def withdraw(self) -> Self:
        """The record without its candidate."""
        return replace(self, candidate=None, revision=self.revision + 1)

    def serve(self, digest: str) -> Self:
        """The record with another model as the served one."""
        return replace(self.withdraw(), serving=digest, since=_now(), previous=self.serving)


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One model as this process serves it: replaced as a whole, and freed after the last request that uses it."""

    predictor: Predictor
    audits: Audits
    record: Record

    @property
    def bundle(self) -> Bundle:
        """The bundle of the model."""
        return self.predictor.bundle

    @property
    def digest(self) -> str:
        """Its digest."""
        return self.bundle.digest


def lock_state(settings: Settings) -> None:
    """Lock the state folder for this server until this process exits.

    Raises:
        StateError: another server uses the folder, and would follow this one's record.
    """
    if acquire_lock(settings.state / "server.lock") is None:
        raise StateError(f"another server is running on {settings.state}: stop it, or set F2AT_STATE to another folder")


def record_path(settings: Settings) -> Path:
    """The path of the record."""
    return settings.state / "model.json"


def choose_model(folder: Path, settings: Settings) -> Bundle:
    """Choose the model for a server that is starting, and record it; return its bundle.

    That is the configured bundle, in `folder`, or the model that was served last if it was swapped in while that same
    bundle was configured. So a swap survives restarts until another model is configured.

    Raises:
        BundleError: the bundle in `folder` cannot be served.
        SignatureError: it is not signed as F2AT_PUBLIC_KEY requires.
    """
    configured = load_trusted(folder, settings)
    store_bundle(configured, settings)
    path = record_path(settings)
    before = _last(path)
    if before and before.configured == configured.digest:
        try:
            bundle = configured
            if before.serving != configured.digest:
                bundle = load_trusted(stored_path(before.serving, settings), settings)
        except ValueError as error:
            _LOG.warning("The model that was served last cannot be loaded (%s); serving the configured one.", error)
        else:
            before.withdraw().write(path)
            return bundle
    if before and before.serving != configured.digest:
        record = replace(before.serve(configured.digest), configured=configured.digest)
    else:
        record = Record(configured=configured.digest, serving=configured.digest, since=_now())
    record.write(path)
    return configured


def _last(path: Path) -> Record | None:
    try:
        return Record.read(path)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:  # of another version, or damaged
        _LOG.warning("%s cannot be read (%s); starting a new record.", path, error)
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
