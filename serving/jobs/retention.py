"""Deletes audits that ended long ago, with their reports and every step of their shards, and deliveries of webhooks.

After that, the Idempotency-Key of a deleted audit starts a new one.
"""

import time
from datetime import UTC, datetime, timedelta

from dbos import DBOS, DBOSClient

from f2at.serving.jobs.records import ENDED, WORKFLOW
from f2at.serving.webhooks import deliveries as webhooks

_TOGETHER = 20  # of them deleted per transaction, which blocks other writers
_HOUR = 3600.0


def purge(jobs: type[DBOS] | DBOSClient, days: int) -> int:
    """Delete the audits that ended more than `days` days ago; return how many. Safe while workers are running."""
    before = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    count = 0
    while old := jobs.list_workflows(
        name=WORKFLOW, status=ENDED, completed_before=before, limit=_TOGETHER, load_input=False, load_output=False
    ):
        jobs.delete_workflows([audit.workflow_id for audit in old], delete_children=True)
        count += len(old)
    while old := jobs.list_workflows(
        name=webhooks.WORKFLOW,
        application_name=webhooks.APPLICATION,
        status=ENDED,
        completed_before=before,
        limit=_TOGETHER,
        load_input=False,
        load_output=False,
    ):
        # Not the tries that follow: those that are under way go on.
        jobs.delete_workflows([attempt.workflow_id for attempt in old])
    return count


def keep_purging(days: int) -> None:
    """Purge now and every hour; does not return. Any number of workers may do so at once."""
    while True:
        try:
            purge(DBOS, days)
        except Exception as error:
            DBOS.logger.warning(f"Could not delete old audits: {error}")
        time.sleep(_HOUR)
