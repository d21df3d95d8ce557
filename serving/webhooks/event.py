"""What is sent when an audit has ended: a CloudEvent (CloudEvents 1.0, JSON format)."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from f2at.serving.answers import linked

CONTENT_TYPE = "application/cloudevents+json"
_TYPES = {state: f"f2at.audit.{name}" for state, name in {"done": "completed", "failed": "failed"}.items()}
_TYPES["cancelled"] = "f2at.audit.cancelled"


def identify(audit: str, created: float) -> str:
    """The id of the event that an audit has ended.

    Made of the audit's id and the time of its creation: once an audit was deleted, another may have its id. A digest,
    since a full stop ends the id in what is signed, and an audit's may have some.
    """
    return hashlib.sha256(f"{audit} {created}".encode()).hexdigest()[:32]


def event(audit: Mapping[str, Any], report: Mapping[str, Any] | None, source: str) -> dict[str, Any]:
    """The event that `audit` has ended.

    Args:
        audit: as `Records.get` has it.
        report: of an audit that is done.
        source: where it was run, a URI reference.
    """
    figures = {name: report[name] for name in ("clean", "robust", "verdict")} if report else {}
    return {
        "specversion": "1.0",
        "id": identify(audit["id"], audit["created"]),
        "source": source,
        "type": _TYPES[audit["state"]],
        "subject": audit["id"],
        "time": datetime.fromtimestamp(audit["finished"], UTC).isoformat(timespec="milliseconds"),
        "datacontenttype": "application/json",
        "data": linked(audit) | figures,
    }
