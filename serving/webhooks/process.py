"""The process that sends webhooks."""

import time
from collections.abc import Mapping
from typing import Never

from f2at.arguments import ArgumentError
from f2at.serving.jobs.database import prepare_database
from f2at.serving.jobs.executor import run_executor
from f2at.serving.jobs.records import Records, connect
from f2at.serving.settings import Settings
from f2at.serving.webhooks.addresses import shown
from f2at.serving.webhooks.deliveries import APPLICATION, QUEUE, VERSION
from f2at.serving.webhooks.delivery import LOG, Sender, register
from f2at.serving.webhooks.outbox import Outbox, begin
from f2at.serving.webhooks.receivers import read_receivers

_SWEEP = 1.0  # seconds between looks for audits that have ended
_POLL = 0.5  # seconds between polls of the queue
_AT_ONCE = 4  # tries under way, to each receiver


def prepare_webhooks(settings: Settings) -> None:
    """Refuse settings that cannot work; from now on, no end of an audit is missed. The database must be there.

    Raises:
        ArgumentError: with the variable, what is accepted and what was received.
        SecretError: the file of secrets cannot be used.
    """
    if (receivers := read_receivers(settings)) is not None:
        with connect(settings.database_url) as jobs:
            begin(jobs, receivers.urls)


def run_webhooks(settings: Settings, *, supervised: bool) -> Never:
    """Send webhooks, see `run_executor`.

    Args:
        settings: where the database is, and who receives them.
        supervised: whether a server started this process.

    Raises:
        ArgumentError, SecretError: see `prepare_webhooks`; or there is nobody to send them to.
        DatabaseError: the database cannot be used.
    """
    receivers = read_receivers(settings)
    if receivers is None:
        raise ArgumentError("F2AT_WEBHOOK_URLS", "the URLs to send webhooks to", None)
    prepare_database(settings.database_url)
    prepare_webhooks(settings)
    run_executor(
        settings,
        application=APPLICATION,
        version=VERSION,
        register=lambda: register(Sender(receivers)),
        queues={QUEUE: {"partition_worker_concurrency": _AT_ONCE, "polling_interval_sec": _POLL}},
        background=[lambda: _keep_sweeping(settings, receivers.urls)],
        log=LOG,
        ready=f"Sending webhooks to {', '.join(map(shown, receivers.urls.values()))}.",
        supervised=supervised,
    )


def _keep_sweeping(settings: Settings, receivers: Mapping[str, str]) -> None:
    """Start deliveries as audits end; does not return."""
    with connect(settings.database_url) as jobs:
        outbox: Outbox | None = None
        while True:
            try:
                outbox = outbox or Outbox(Records(jobs), begin(jobs, receivers), settings.webhook_source)
                outbox.sweep()
            except Exception as error:  # the database may be away
                LOG.warning("Could not look for audits that have ended: %s", error)
            time.sleep(_SWEEP)
