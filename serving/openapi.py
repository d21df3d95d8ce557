"""The API as an OpenAPI document: openapi.yaml, and the schemas that code defines already."""

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from attacks.audit.request import AuditRequest
from attacks.audit.schema import report_schema
from attacks.audit.suites import CUSTOM, SUITES
from attacks.registry import ATTACKS
from serving.answers import Prediction, Predictions

_SCHEMAS = "#/components/schemas/"


def document() -> dict[str, Any]:
    """The whole document, OpenAPI 3.1."""
    text = Path(__file__).with_name("openapi.yaml").read_text(encoding="ascii")
    content: dict[str, Any] = yaml.safe_load(text)
    content["components"]["schemas"] |= {**_predictions(), **_report(), "AuditRequest": _request()}
    return content


def _predictions() -> dict[str, Any]:
    models = [(Prediction, "serialization"), (Predictions, "serialization")]
    _, schema = models_json_schema(models, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def _report() -> dict[str, Any]:
    """The schema of a report, with its definitions where a document has them."""
    schema = json.loads(json.dumps(report_schema()).replace('"#/$defs/', f'"{_SCHEMAS}Report.'))
    parts = {f"Report.{name}": part for name, part in schema.pop("$defs").items()}
    return {"Report": {key: value for key, value in schema.items() if not key.startswith("$")}, **parts}


def _request() -> dict[str, Any]:
    """What a report says was asked for, where nothing must be said."""
    usual = AuditRequest().to_dict()
    asked = report_schema()["properties"]["request"]["properties"]
    asked["suite"]["enum"] = [*SUITES, CUSTOM]
    asked["attacks"]["items"]["properties"]["name"]["enum"] = list(ATTACKS)
    properties = {name: {**schema, "default": usual[name]} for name, schema in asked.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}
