"""Another model in the place of the one that is served, in every process of a server, with no request lost.

A swap has two phases. First the record (see `deployment`) names a candidate, and every process loads it and runs it
once beside the model that it serves; if one cannot, the record is put back, and nothing has changed. Then the record
names the candidate as what is served, and every process changes over within a tenth of a second. A request keeps the
model that it began with.
"""

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from f2at.serving.jobs.audits import Audits
from f2at.serving.jobs.version import application_version
from f2at.serving.model.deployment import Deployment, Record, record_path
from f2at.serving.model.predictor import Predictor
from f2at.serving.model.store import (
    check_same_shape,
    delete_stored,
    load_surrogate,
    load_trusted,
    store_bundle,
    stored_digests,
    stored_path,
)
from f2at.serving.process.files import acquire_lock
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")
_LOOK = 0.1  # seconds between looks at the record
_PATIENCE = 50.0  # seconds in which every process must have followed the record; BentoML ends requests after 60


class SwapError(ValueError):
    """A model that was not taken, with the reason; what was served still is."""


class BusyError(RuntimeError):
    """Another swap is under way."""


class Switch:
    """Keeps this process on the model that the record names; changes the record for every process.

    `deployment` is what to serve with: take it once per request.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = record_path(settings)
        self._member = _Member(settings.state / "servers")
        record = Record.read(self._path)
        bundle = load_trusted(stored_path(record.serving, settings), settings)
        surrogate = load_surrogate(settings, bundle)
        predictor = Predictor(bundle, settings)
        self._audits = Audits(
            settings.database_url,
            bundle.digest,
            surrogate=surrogate.digest if surrogate else None,
            reference_images=predictor.reference_images,
            max_audits=settings.max_audits,
            max_samples=settings.max_samples,
            max_evaluations=settings.max_evaluations,
        )
        self.deployment = Deployment(predictor=predictor, audits=self._audits, record=record)
        self._candidate: Deployment | None = None
        self._followed = -1  # revision
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="switch", daemon=True)

    def start(self) -> None:
        """Follow the record from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following it, and release the model and the database."""
        self._stop.set()
        self._thread.join()
        self._member.resign()
        self.deployment.predictor.close()
        self._audits.close()

    def swap(self, folder: Path) -> Record:
        """Serve the bundle in `folder`; return once every process does.

        Raises:
            SwapError: it is no valid bundle, is not signed as demanded, has other classes or another image size (a
                client would break: that is another service), or cannot be loaded or run.
            BusyError: another swap is under way.
        """
        with self._alone():
            return self._change(self._take(folder))

    def reload(self) -> Record:
        """Serve what F2AT_BUNDLE holds now; otherwise as `swap`, but if another swap is under way, wait."""
        assert self._settings.bundle is not None
        with self._alone(patience=2 * _PATIENCE):
            digest = self._take(self._settings.bundle)
            return self._change(digest, configured=digest)

    def roll_back(self) -> Record:
        """Serve what was served before; otherwise as `swap`."""
        with self._alone():
            previous = Record.read(self._path).previous
            if previous is None:
                raise SwapError("no other model was served before this one")
            return self._change(self._take(stored_path(previous, self._settings)))

    def models_at_work(self) -> list[Path]:
        """The bundles that need an audit worker: the one served, and those with audits that have not ended."""
        serving = self.deployment.digest
        others = [digest for digest in stored_digests(self._settings) if digest != serving]
        unfinished = self._audits.unfinished_versions() if others else ()
        needed = [digest for digest in others if application_version(digest, self._audits.surrogate) in unfinished]
        return [stored_path(digest, self._settings) for digest in (serving, *needed)]

    @contextmanager
    def _alone(self, patience: float = 0.0) -> Iterator[None]:
        deadline = time.monotonic() + patience
        while (lock := acquire_lock(self._settings.state / "swap.lock")) is None:
            if time.monotonic() >= deadline:
                raise BusyError("another swap is under way")
            time.sleep(_LOOK)
        try:
            yield
        except (SwapError, OSError) as error:
            _LOG.error("Still serving %s; the other model was refused: %s", self.deployment.digest, error)
            raise SwapError(str(error)) from error
        finally:
            os.close(lock)

    def _take(self, folder: Path) -> str:
        """Verify the bundle in `folder` and store it; return its digest."""
        try:
            bundle = load_trusted(folder, self._settings)
            check_same_shape(self.deployment.bundle, bundle, "the model that takes over")
            store_bundle(bundle, self._settings)
        except ValueError as error:
            raise SwapError(str(error)) from error
        return bundle.digest

    def _change(self, digest: str, *, configured: str | None = None) -> Record:
        before = Record.read(self._path)
        unchanged = replace(before.withdraw(), configured=configured or before.configured)
        if digest == before.serving:
            unchanged.write(self._path)
            _LOG.info("Serving %s, as before.", digest)
            return unchanged
        offered = unchanged.offer(digest)
        served = offered.serve(digest)
        try:
            for record in (offered, served):
                record.write(self._path)
                self._wait(record.revision)
        except (SwapError, OSError):
            replace(before, candidate=None, revision=served.revision + 1).write(self._path)
            self._tidy(before)
            raise
        self._tidy(served)
        return served

    def _wait(self, revision: int) -> None:
        """Wait until every process of the server has followed the record to `revision`."""
        deadline = time.monotonic() + _PATIENCE
        while reports := [report for report in self._member.reports() if report["revision"] < revision]:
            if time.monotonic() > deadline:
                raise SwapError(f"{len(reports)} server processes did not load it within {_PATIENCE:g} s")
            time.sleep(_LOOK / 2)
        for report in self._member.reports():
            if report["failure"]:
                raise SwapError(report["failure"])

    def _tidy(self, record: Record) -> None:
        with suppress(SQLAlchemyError):  # it can wait for the next swap
            needed = {*self.models_at_work()}
            for digest in {*stored_digests(self._settings)} - {record.serving, record.previous}:
                if stored_path(digest, self._settings) not in needed:
                    delete_stored(digest, self._settings)

    def _follow(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = _LOOK
            try:
                record = Record.read(self._path)
                if record.revision != self._followed:
                    self._member.report(record.revision, self._adopt(record))
                    self._followed = record.revision
            except Exception:
                _LOG.exception("Cannot follow %s", self._path)
                pause = _PATIENCE / 5

    def _adopt(self, record: Record) -> str | None:
        """Do as `record` says; return why not, if not."""
        try:
            if record.serving != self.deployment.digest:
                fresh = self._candidate
                if fresh is None or fresh.digest != record.serving:
                    fresh = self._load(record.serving, record)
                _LOG.info("Serving %s; before, %s", fresh.digest, self.deployment.digest)
            else:
                fresh = self.deployment
            self.deployment = replace(fresh, record=record)
            self._candidate = self._load(record.candidate, record) if record.candidate else None
        except Exception as error:  # whatever a runtime may raise: it must not end this thread
            return f"it cannot be loaded and run: {str(error) or type(error).__name__}"
        return None

    def _load(self, digest: str, record: Record) -> Deployment:
        predictor = Predictor(load_trusted(stored_path(digest, self._settings), self._settings), self._settings)
        audits = self._audits.of_model(digest, reference_images=predictor.reference_images)
        return Deployment(predictor=predictor, audits=audits, record=record)


class _Member:
    """This process among the processes of its server: a locked file for each says how far it has followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        while (lock := acquire_lock(self._path)) is None:  # somebody is looking whether its owner lives
            time.sleep(0.01)
        self._lock = lock
        self.report(-1, None)

    def report(self, revision: int, failure: str | None) -> None:
        """Say that this process has followed the record to `revision`, or failed to."""
        text = json.dumps({"revision": revision, "failure": failure}).encode()
        os.truncate(self._lock, os.pwrite(self._lock, text, 0))

    def reports(self) -> list[dict[str, Any]]:
        """What every process of the server that is alive says."""
        reports = []
        for path in self._folder.iterdir():
            if (lock := acquire_lock(path)) is not None:  # its owner is gone
                path.unlink()
                os.close(lock)
                continue
            try:
                reports.append(json.loads(path.read_bytes()))
            except ValueError:  # being written
                reports.append({"revision": -1, "failure": None})
            except FileNotFoundError:  # it ended just now
                pass
        return reports

    def resign(self) -> None:
        """Be one of them no longer."""
        self._path.unlink(missing_ok=True)
        os.close(self._lock)
