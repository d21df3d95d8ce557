"""The process that runs audits; the workflows themselves are in `f2at.serving.jobs.workflows`."""

import logging
import os
import resource
from functools import cache, partial
from threading import Lock
from typing import Any, Never

from f2at.audit import Audit, AuditRequest
from f2at.audit.opening.bundle import open_model
from f2at.audit.opening.model import Model
from f2at.bundle.format import Bundle
from f2at.images.sets.store import open_listed
from f2at.serving.jobs import archive
from f2at.serving.jobs.audits import QUEUE
from f2at.serving.jobs.executor import run_executor
from f2at.serving.jobs.places import permits
from f2at.serving.jobs.records import APPLICATION
from f2at.serving.jobs.retention import keep_purging
from f2at.serving.jobs.version import application_version
from f2at.serving.jobs.workflows import SHARDS, OpenAudit, register
from f2at.serving.settings import Settings

_PLANS = 2  # that are kept, for all shards of an audit: of what is reported on and of what is worked on
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
        register=lambda: register(
            _open_audit(bundle, surrogate, settings),
            max_seconds=settings.max_audit_seconds,
            archive=partial(archive.write, settings.reports) if settings.reports else None,
        ),
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

    def opened(values: dict[str, Any], location: str | None) -> Audit:
        if location is not None and not permits(settings.places, location):
            raise ValueError(f"data {location} is not in F2AT_DATA of this worker")
        data = None if location is None else open_listed(location)
        request = AuditRequest(**values)
        surrogate_model = load_second() if request.chosen_suite.needs_surrogate else None
        return model.audit(data, request, surrogate=surrogate_model)

    plans: dict[tuple[str, str], Audit] = {}  # by the audit's id and the digest of the data
    alone = Lock()

    def open_audit(
        identifier: str, values: dict[str, Any], digest: str, location: str | None = None, expected: str | None = None
    ) -> Audit:
        if digest != bundle.digest:
            raise ValueError(f"this audit is of model {digest}, but this worker has {bundle.digest}")
        with alone:
            if expected is not None and (known := plans.get((identifier, expected))):
                return known
            plan = opened(values, location)
            if expected not in (None, plan.digest):
                raise ValueError("data changed while the audit ran: there are other images, or they have other names")
            plans[identifier, plan.digest] = plan
            while len(plans) > _PLANS:
                del plans[next(iter(plans))]
        return plan

    return open_audit
