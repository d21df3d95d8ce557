"""The report's JSON Schema (draft 2020-12), for those who read reports with other tools."""

import json
from pathlib import Path
from typing import Any

from f2at.audit.provenance.context import Context
from f2at.audit.request import AuditRequest


def report_schema() -> dict[str, Any]:
    """The schema of reports of version `f2at.audit.reports.report.SCHEMA_VERSION`; a copy of the caller's own."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("report.schema.json").read_text(encoding="ascii"))
    for name, model in (("request", AuditRequest), ("context", Context)):
        schema["properties"][name] = model.model_json_schema(mode="serialization")
    return schema
