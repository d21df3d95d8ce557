"""Swaps the served model for another one, in every process of a server, without losing a request.

A model is first tried in a process of its own (see `trial`). Then a swap has two phases. First the record (see
`deployment`) names a candidate, which every process loads and runs once beside the model that it serves; if one cannot,
the record is restored and nothing changes. Then the record names the candidate as the served model, and every process
switches within a tenth of a second. A request keeps the model that it started with.
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
from f2at.serving.model.store import delete_stored, load_surrogate, load_trusted, stored_digests, stored_path
from f2at.serving.model.trial import try_bundle
from f2at.serving.process.files import acquire_lock
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")
_POLL = 0.1  # seconds between polls of the record
_PATIENCE = 30.0  # seconds that every process gets to follow the record; requests are given up after 60


class SwapError(ValueError):
    """A model was refused, for the reason given; the previous one is still served."""


class BusyError(RuntimeError):
    """Another swap is in progress."""


class Switch:
    """Keeps this process on the model that the record names; changes the record for every process.

    `deployment` is the model to serve with: read it once per request.
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
            size=bundle.input_size,
            reference_images=predictor.reference_images,
            max_audits=settings.max_audits,
            max_audits_per_key=settings.max_audits_per_key,
            max_samples=settings.max_samples,
            max_evaluations=settings.max_evaluations,
            places=settings.places,
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
        """Stop following the record, and release the model and the database."""
        self._stop.set()
        self._thread.join()
        self._member.leave()
        self.deployment.predictor.close()
        self._audits.close()

    def swap(self, folder: Path) -> Record:
        """Serve the bundle in `folder`; return once every process does.

        Raises:
            SwapError: it is not a valid bundle, is not signed as required, has other classes or another image size
                (which would break clients: start another service), cannot be loaded or run, or takes too much memory or
                time.
            BusyError: another swap is in progress.
        """
        with self._exclusive():
            return self._change(self._take(folder))

    def reload(self) -> Record:
        """Serve the bundle that is now in F2AT_BUNDLE, like `swap`, but wait if another swap is in progress."""
        assert self._settings.bundle is not None
        with self._exclusive(patience=2 * _PATIENCE):
            digest = self._take(self._settings.bundle)
            return self._change(digest, configured=digest)

    def roll_back(self) -> Record:
        """Serve the previous model, like `swap`."""
        with self._exclusive():
            previous = Record.read(self._path).previous
            if previous is None:
                raise SwapError("no other model was served before this one")
            return self._change(self._take(stored_path(previous, self._settings)))

    def models_needing_workers(self) -> list[Path]:
        """The bundles that need an audit worker: the one served, and those with audits that have not ended."""
        serving = self.deployment.digest
        others = [digest for digest in stored_digests(self._settings) if digest != serving]
        unfinished = self._audits.unfinished_versions() if others else ()
        needed = [digest for digest in others if application_version(digest, self._audits.surrogate) in unfinished]
        return [stored_path(digest, self._settings) for digest in (serving, *needed)]

    @contextmanager
    def _exclusive(self, patience: float = 0.0) -> Iterator[None]:
        deadline = time.monotonic() + patience
        while (lock := acquire_lock(self._settings.state / "swap.lock")) is None:
            if time.monotonic() >= deadline:
                raise BusyError("another swap is in progress")
            time.sleep(_POLL)
        try:
            yield
        except (SwapError, OSError) as error:
            _LOG.error("Still serving %s; the new model was refused: %s", self.deployment.digest, error)
            raise SwapError(str(error)) from error
        finally:
            os.close(lock)

    def _take(self, folder: Path) -> str:
        """Try the bundle in `folder` and store it; return its digest."""
        try:
            return try_bundle(folder, self.deployment.bundle, self._settings)
        except ValueError as error:
            raise SwapError(str(error)) from error

    def _change(self, digest: str, *, configured: str | None = None) -> Record:
        before = Record.read(self._path)
        unchanged = replace(before.withdraw(), configured=configured or before.configured)
        if digest == before.serving:
            unchanged.write(self._path)
            _LOG.info("Still serving %s; the bundle has not changed.", digest)
            return unchanged
        offered = unchanged.offer(digest)
        served = offered.serve(digest)
        try:
            for record in (offered, served):
                record.write(self._path)
                self._wait(record.revision)
        except (SwapError, OSError):
            replace(before, candidate=None, revision=served.revision + 1).write(self._path)
            self._delete_unused(before)
            raise
        self._delete_unused(served)
        return served

    def _wait(self, revision: int) -> None:
        """Wait until every process of the server has followed the record to `revision`."""
        deadline = time.monotonic() + _PATIENCE
        while reports := [report for report in self._member.reports() if report["revision"] < revision]:
            if time.monotonic() > deadline:
                raise SwapError(f"{len(reports)} server processes did not load it within {_PATIENCE:g} s")
            time.sleep(_POLL / 2)
        for report in self._member.reports():
            if report["failure"]:
                raise SwapError(report["failure"])

    def _delete_unused(self, record: Record) -> None:
        with suppress(SQLAlchemyError):  # the next swap will do it
            needed = {*self.models_needing_workers()}
            for digest in {*stored_digests(self._settings)} - {record.serving, record.previous}:
                if stored_path(digest, self._settings) not in needed:
                    delete_stored(digest, self._settings)

    def _follow(self) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            pause = _POLL
            try:
                record = Record.read(self._path)
                if record.revision != self._followed:
                    self._member.report(record.revision, self._apply(record))
                    self._followed = record.revision
            except Exception:
                _LOG.exception("Cannot read or follow %s; retrying", self._path)
                pause = _PATIENCE / 5

    def _apply(self, record: Record) -> str | None:
        """Load and serve what `record` names; return the reason if that failed, else None."""
        try:
            if record.serving != self.deployment.digest:
                fresh = self._candidate
                if fresh is None or fresh.digest != record.serving:
                    fresh = self._load(record.serving, record)
                _LOG.info("Now serving %s instead of %s.", fresh.digest, self.deployment.digest)
            else:
                fresh = self.deployment
            self.deployment = replace(fresh, record=record)
            self._candidate = self._load(record.candidate, record) if record.candidate else None
        except Exception as error:  # a runtime may raise anything, which must not end this thread
            return f"it cannot be loaded and run: {str(error) or type(error).__name__}"
        return None

    def _load(self, digest: str, record: Record) -> Deployment:
        predictor = Predictor(load_trusted(stored_path(digest, self._settings), self._settings), self._settings)
        audits = self._audits.of_model(digest, reference_images=predictor.reference_images)
        return Deployment(predictor=predictor, audits=audits, record=record)


class _Member:
    """This process as one of its server's: each has a locked file that states which revision it has followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}"
        while (lock := acquire_lock(self._path)) is None:  # another process is checking whether its owner is running
            time.sleep(0.01)
        self._lock = lock
        self.report(-1, None)

    def report(self, revision: int, failure: str | None) -> None:
        """State that this process has followed the record to `revision`, or failed to."""
        text = json.dumps({"revision": revision, "failure": failure}).encode()
        os.truncate(self._lock, os.pwrite(self._lock, text, 0))

    def reports(self) -> list[dict[str, Any]]:
        """The reports of all running processes of the server."""
        reports = []
        for path in self._folder.iterdir():
            if (lock := acquire_lock(path)) is not None:  # its owner has exited
                path.unlink()
                os.close(lock)
                continue
            try:
                reports.append(json.loads(path.read_bytes()))
            except ValueError:  # being written
                reports.append({"revision": -1, "failure": None})
            except FileNotFoundError:  # it exited just now
                pass
        return reports

    def leave(self) -> None:
        """Withdraw this process from the server's processes."""
        self._path.unlink(missing_ok=True)
        os.close(self._lock)
