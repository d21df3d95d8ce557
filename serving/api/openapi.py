"""The API as an OpenAPI document: openapi.yaml, completed with examples.json and what the code already defines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import models_json_schema

from f2at.audit.provenance.context import Context
from f2at.audit.reports.schema import report_schema
from f2at.audit.request import AuditRequest
from f2at.serving.access.scopes import METRICS, OPEN, Scoped, needed_scope
from f2at.serving.answers import Audit, Estimate, Prediction, Predictions, Samples

_SCHEMAS = "#/components/schemas/"
_METHODS = ("get", "post", "delete")
# The groups of /docs, each with how its paths begin; the first that fits.
_GROUPS = {
    "Predictions": ("/predict",),
    "Model": ("/model",),
    "Audits": ("/audits", "/estimate", "/leaderboard", "/compare"),
    "Open Inference Protocol": ("/v2",),
    "Pages and operation": ("/",),
}
_SHOWN = ("json", "event-stream")  # how the types end of answers that have an example; others say what they are
_GUARDED = {"401": "KeyRequired", "403": "Forbidden", "429": "TooMany", "503": "TryAgain"}


def document(routes: Sequence[Scoped], served: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The whole document, OpenAPI 3.1.

    Args:
        routes: declare the scopes that operations need.
        served: parameters that a server of another model takes otherwise, by name, with their examples.
    """
    content: dict[str, Any] = json.loads(_described())  # no part of which is shared, as those with an anchor are
    _show_answers(content)
    content["components"]["schemas"] |= {**_answers(), **_report(), **_request()}
    content["paths"] |= _versions(content["paths"])
    _show_served(content, served or {})
    content["tags"] = [{"name": name} for name in _GROUPS]
    for path, item in content["paths"].items():
        for method in item.keys() & set(_METHODS):
            item[method]["tags"] = [next(name for name, starts in _GROUPS.items() if path.startswith(starts))]
            item[method]["responses"]["431"] = {"$ref": "#/components/responses/LargeHeaders"}
            _guard(item[method], needed_scope(routes, {"type": "http", "method": method.upper(), "path": path}))
    return content


@cache
def _described() -> str:
    """openapi.yaml as JSON, which is read many times as fast."""
    return json.dumps(yaml.safe_load(_read("openapi.yaml")))


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="ascii")


def _show_answers(content: dict[str, Any]) -> None:
    """Give each answer its example, and each webhook that of its body."""
    examples = json.loads(_read("examples.json"))
    shown = [(each, answer) for each in _operations(content["paths"]) for answer in _good(each)]
    shown += [(each, each["requestBody"]) for each in _operations(content["webhooks"])]
    for operation, part in shown:
        for kind, described in part.get("content", {}).items():
            if kind.endswith(_SHOWN) and operation["operationId"] in examples:
                described["example"] = examples[operation["operationId"]]


def _good(operation: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [answer for status, answer in operation["responses"].items() if status.startswith("2")]


def _show_served(content: dict[str, Any], served: Mapping[str, str]) -> None:
    """Let the examples of parameters be those of this server."""
    for operation in _operations(content["paths"]):
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in served:
                parameter["example"] = served[parameter["name"]]


def _operations(items: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for item in items.values():
        yield from (item[method] for method in _METHODS if method in item)


def _guard(operation: dict[str, Any], scope: str | None) -> None:
    """Describe the scope an operation needs (if keys are configured) and its refusals."""
    if scope not in (OPEN, METRICS):
        operation["security"] = [{}, {"key": [scope] if scope else []}]
        refusals = {status: {"$ref": f"#/components/responses/{name}"} for status, name in _GUARDED.items()}
        operation["responses"] = {**operation["responses"], **refusals}


def _versions(paths: dict[str, Any]) -> dict[str, Any]:
    """The Open Inference Protocol's paths of a model once more, each with a version in it."""
    model, found = "/v2/models/{name}", {}
    version = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
    version |= {"description": "The first digits of the digest.", "example": "82ba538ebddd"}
    for path in (path for path in paths if path.startswith(model)):
        item = deepcopy(paths[path])
        for operation in item.values():
            operation["operationId"] += "_of_version"
            operation["parameters"].insert(1, version)
        found[path.replace(model, f"{model}/versions/{{version}}")] = item
    return found


def _answers() -> dict[str, Any]:
    models = [(model, "validation") for model in (Prediction, Predictions, Samples, Audit, Estimate)]
    _, schema = models_json_schema(models, ref_template=_SCHEMAS + "{model}")  # type: ignore[arg-type]
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


def _request() -> dict[str, Any]:
    """The body of an audit's request: what to do, on which images, and what its owner says of it."""
    request = AuditRequest.model_json_schema()
    said = {"description": "What the report is to say of responsibility, use and data; it shapes no figure."}
    request["properties"]["context"] = {
        **said,
        "anyOf": [{"$ref": f"{_SCHEMAS}AuditContext"}, {"type": "null"}],
        "default": None,
    }
    request["properties"]["data"] = {
        "description": "A folder with one folder of images for each class, in F2AT_DATA; null: the reference images.",
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "default": None,
    }
    return {"AuditRequest": request, "AuditContext": Context.model_json_schema()}


def _report() -> dict[str, Any]:
    """The schema of a report, with its definitions moved to where an OpenAPI document has them."""
    schema = json.loads(json.dumps(report_schema()).replace('"#/$defs/', f'"{_SCHEMAS}Report.'))
    parts = {f"Report.{name}": part for name, part in schema.pop("$defs").items()}
    return {"Report": {key: value for key, value in schema.items() if not key.startswith("$")}, **parts}
