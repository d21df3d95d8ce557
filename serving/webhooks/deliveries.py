"""What the database has of deliveries: their names, how they are queued, and how they went.

They are an application of their own to the job engine, whose version is none of any model or attack: a delivery that is
under way when another model is served, or the package is upgraded, goes on.
"""

from collections import Counter

from dbos import DBOS, DBOSClient, EnqueueOptions

APPLICATION = "f2at-webhooks"
VERSION = "1"  # of what `delivery.register` is called with; what another was called with would wait for ever
QUEUE = "webhooks"
WORKFLOW = "webhook"  # one try of a delivery
BEGINNING = "webhook-beginning"  # does nothing, but was made when its receiver was first named
DELIVERED, RETRIED, FAILED, GONE = "delivered", "retried", "failed", "gone"  # what comes of a try
WAITING = "waiting"
OUTCOMES = (DELIVERED, WAITING, FAILED, GONE)
_UNDER_WAY = ("DELAYED", "ENQUEUED", "PENDING")


def name_try(event: str, receiver: str, number: int) -> str:
    """The id of a try: of an event by its id, to a receiver by its name, after `number` others."""
    return f"{event}/{receiver}/{number}"


def enqueue(jobs: DBOSClient, workflow: str, identifier: str, receiver: str, *arguments: object) -> None:
    """Queue a workflow, unless it was before."""
    options: EnqueueOptions = {
        "workflow_name": workflow,
        "workflow_id": identifier,
        "queue_name": QUEUE,
        "queue_partition_key": receiver,
        "app_version": VERSION,
        "application_name": APPLICATION,
    }
    jobs.enqueue(options, *arguments)


def count_by_outcome(jobs: type[DBOS] | DBOSClient) -> dict[str, int]:
    """How many deliveries there are of each outcome; tries that were followed by others are none."""
    found = jobs.list_workflows(name=WORKFLOW, application_name=APPLICATION, load_input=False)
    outcomes = Counter(WAITING if status.status in _UNDER_WAY else str(status.output or FAILED) for status in found)
    return {outcome: outcomes[outcome] for outcome in OUTCOMES}
