"""A delivery as workflows of the job engine: one for each try, which queues the next if it fails.

What waits for its next try is a row of the database that is due at a time: it takes no thread, no connection and no
place in the queue, and no restart loses it.
"""

import json
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

from dbos import DBOS, SetEnqueueOptions, SetWorkflowID

from f2at import __version__
from f2at.serving.webhooks.addresses import shown
from f2at.serving.webhooks.deliveries import BEGINNING, DELIVERED, FAILED, GONE, QUEUE, RETRIED, WORKFLOW, name_try
from f2at.serving.webhooks.event import CONTENT_TYPE
from f2at.serving.webhooks.receivers import Receivers
from f2at.serving.webhooks.retries import pause_after
from f2at.serving.webhooks.sending import Reply, SendingError, post
from f2at.serving.webhooks.signing import SecretError, read_secrets, signed

LOG = logging.getLogger("f2at.webhooks")
_GONE = 410


class Sender:
    """Sends events to receivers, and says what came of it and when to try again."""

    def __init__(self, receivers: Receivers) -> None:
        self._receivers = receivers
        self._gone = set[str]()

    def send(self, event: Mapping[str, Any], receiver: str, number: int) -> tuple[str, float | None]:
        """What comes of a try, and the seconds until the next if it is `RETRIED`.

        Args:
            event: what is sent.
            receiver: its name.
            number: how many tries have failed before.
        """
        url = self._receivers.urls.get(receiver)
        where = f"receiver {receiver}" if url is None else shown(url)

        def tell(outcome: str, reason: str, pause: float | None = None) -> tuple[str, float | None]:
            level = {DELIVERED: logging.INFO, RETRIED: logging.WARNING}.get(outcome, logging.ERROR)
            fields = {"audit": event["subject"], "receiver": where, "outcome": outcome}
            LOG.log(level, "Webhook of audit %s to %s: %s.", event["subject"], where, reason, extra={"fields": fields})
            return outcome, pause

        if receiver in self._gone:
            return tell(GONE, "given up, since it answered 410 (gone) before; a restart makes it welcome again")
        asked = None
        try:
            reply = self._post(url, event)
        except (SendingError, SecretError) as error:
            reason = str(error)
        else:
            reason = f"it answered {reply.status}"
            if 200 <= reply.status < 300:
                return tell(DELIVERED, f"delivered, {reason}")
            if reply.status == _GONE:
                self._gone.add(receiver)
                return tell(GONE, f"given up, {reason} (gone)")
            asked = reply.retry_after
        pause = pause_after(number + 1, asked, random.random())
        if pause is None:
            return tell(FAILED, f"given up after {number + 1} tries, {reason}")
        return tell(RETRIED, f"{reason}; trying again in {pause:.0f} s", pause)

    def _post(self, url: str | None, event: Mapping[str, Any]) -> Reply:
        if url is None:  # while settings change, another process may name it
            raise SendingError("F2AT_WEBHOOK_URLS does not name it")
        body = json.dumps(event, separators=(",", ":")).encode()
        # Read every time: a replaced secret takes effect at once.
        headers = signed(event["id"], int(time.time()), body, read_secrets(self._receivers.secret))
        headers |= {"Content-Type": CONTENT_TYPE, "User-Agent": f"f2at/{__version__}"}
        return post(url, body, headers, self._receivers.private)


def register(sender: Sender) -> None:
    """Register the workflows with DBOS."""

    @DBOS.workflow(name=BEGINNING)
    def begin() -> None:
        pass

    @DBOS.workflow(name=WORKFLOW)
    def attempt(event: dict[str, Any], receiver: str, number: int) -> str:
        outcome, pause = DBOS.run_step({"name": "send"}, sender.send, event, receiver, number)
        if pause is not None:
            with (
                SetWorkflowID(name_try(event["id"], receiver, number + 1)),
                SetEnqueueOptions(delay_seconds=pause, queue_partition_key=receiver),
            ):
                DBOS.enqueue_workflow(QUEUE, attempt, event, receiver, number + 1)
        return outcome
