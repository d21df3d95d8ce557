"""Log lines that name their request, as text for people or as JSON for machines (F2AT_LOG_FORMAT)."""

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from uuid import uuid4

from opentelemetry import trace

FORMATS = ("text", "json")
# The id of the request being served, in the context of the code that serves it.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_ACCEPTED = re.compile(r"[A-Za-z0-9._:-]{1,128}")  # nothing that could forge a log line


def accept_request_id(given: str | None) -> str:
    """The caller's request id if it is valid (letters, digits and ._:-, up to 128), else a new one."""
    return given if given and _ACCEPTED.fullmatch(given) else uuid4().hex


def configure(style: str) -> None:
    """Give every log handler of this process the formatter for `style`; call it after BentoML has set its own up."""
    formatter = _Json() if style == "json" else _Text()
    loggers = [logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict)]
    for handler in {handler for logger in loggers for handler in logger.handlers}:
        handler.setFormatter(formatter)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s [%(levelname)s] %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the standard library's name)
        line = super().formatMessage(record)
        identifier = request_id.get()
        return line if identifier is None else f"{line} (request={identifier})"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if workflow := getattr(record, "operationUUID", None):  # the job engine's name for an audit or its shard
            entry["audit"] = workflow
        if (identifier := request_id.get()) is not None:
            entry["request_id"] = identifier
        span = trace.get_current_span().get_span_context()
        if span.trace_flags.sampled:
            entry["trace_id"] = trace.format_trace_id(span.trace_id)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)
