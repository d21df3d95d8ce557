"""The process that runs audits; the workflows themselves are in `f2at.serving.jobs.workflows`."""

import logging
import os
import resource
from functools import cache
from typing import Any, Never

from f2at.audit import Audit, AuditRequest
from f2at.audit.opening.bundle import open_model
from f2at.audit.opening.model import Model
from f2at.bundle.format import Bundle
from f2at.serving.jobs.audits import QUEUE
from f2at.serving.jobs.executor import run_executor
from f2at.serving.jobs.records import APPLICATION
from f2at.serving.jobs.retention import keep_purging
from f2at.serving.jobs.version import application_version
from f2at.serving.jobs.workflows import SHARDS, OpenAudit, register
from f2at.serving.settings import Settings

_LOG = logging.getLogger("f2at.worker")
_POLL = {QUEUE: 0.5, SHARDS: 0.2}  # seconds between polls of a queue; a shard waits half of it on average


def run_worker(bundle: Bundle, surrogate: Bundle | None, settings: Settings, *, supervised: bool) -> Never:
    """Run audits of `bundle`, see `run_executor`.

    Args:
        bundle: the model; audits of other models are left alone.
        surrogate: the model whose gradients transfer attacks follow.
        settings: where the database is, and how many threads to use.
        supervised: whether a server started this process.
    """
    os.nice(19)  # predictions take precedence
    # A step that needs more fails with its audit, instead of exhausting the machine. Not RLIMIT_AS: runtimes reserve
    # far more address space than they use.
    if settings.audit_memory:
        resource.setrlimit(resource.RLIMIT_DATA, (settings.audit_memory << 20,) * 2)
    run_executor(
        settings,
        application=APPLICATION,
        version=application_version(bundle.digest, surrogate.digest if surrogate else None),
        register=lambda: register(_open_audit(bundle, surrogate, settings), max_seconds=settings.max_audit_seconds),
        queues={queue: {"worker_concurrency": 1, "polling_interval_sec": seconds} for queue, seconds in _POLL.items()},
        background=[lambda: keep_purging(settings.keep_days)] if settings.keep_days else [],
        log=_LOG,
        ready=f"The audit worker is ready: {bundle.digest}.",
        supervised=supervised,
    )


def _open_audit(bundle: Bundle, surrogate: Bundle | None, settings: Settings) -> OpenAudit:
    model = open_model(bundle, threads=settings.audit_threads)

    @cache  # loaded on first use: few audits need it
    def load_second() -> Model | None:
        return open_model(surrogate, threads=settings.audit_threads) if surrogate else None

    def open_audit(values: dict[str, Any], digest: str) -> Audit:
        if digest != bundle.digest:
            raise ValueError(f"this audit is of model {digest}, but this worker has {bundle.digest}")
        request = AuditRequest(**values)
        surrogate_model = load_second() if request.chosen_suite.needs_surrogate else None
        return model.audit(None, request, surrogate=surrogate_model)

    return open_audit
