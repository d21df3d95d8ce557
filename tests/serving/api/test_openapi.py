from typing import Any

import jsonschema
import pytest
from starlette.routing import Route

from f2at.audit import AuditRequest
from f2at.audit.suites import SUITES
from f2at.serving.api.backend import Backend
from f2at.serving.api.openapi import document
from f2at.serving.api.routes import create_app
from f2at.serving.bento.routes import every_route

APP = create_app(Backend())
ROUTES = every_route(APP)


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        here = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return here.union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_route_is_described() -> None:
    routes = {
        (route.path, method)
        for route in APP.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    routes |= {("/predict", "POST"), ("/predict_batch", "POST"), ("/livez", "GET"), ("/readyz", "GET")}  # BentoML's
    methods = ("get", "post", "put", "patch", "delete")
    described = {
        (path, method.upper())
        for path, item in document(ROUTES)["paths"].items()
        for method in methods
        if method in item
    }
    assert described == routes


def test_every_operation_is_in_one_group() -> None:
    content = document(ROUTES)
    named = {
        (path, *op["tags"]) for path, item in content["paths"].items() for op in item.values() if "operationId" in op
    }
    assert {tag for _, tag in named} == {tag["name"] for tag in content["tags"]}
    assert ("/audits/{id}/report", "Audits") in named
    assert ("/v2/models/{name}/infer", "Open Inference Protocol") in named
    assert ("/metrics", "Pages and operation") in named


def test_every_reference_leads_somewhere() -> None:
    content = document(ROUTES)
    for reference in references(content):
        node = content
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_error_is_a_problem() -> None:
    content = document(ROUTES)
    for answer in content["components"]["responses"].values():
        assert list(answer["content"]) == ["application/problem+json"]


@pytest.mark.parametrize("suite", SUITES)
def test_the_schema_takes_what_the_service_takes(suite: str) -> None:
    content = document(ROUTES)
    schema = {"$ref": "#/components/schemas/AuditRequest", "components": content["components"]}
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(AuditRequest(suite=suite).model_dump())
    validator.validate({})
    validator.validate({"eps": 0.03})
    assert not validator.is_valid({"epz": "8/255"})
    assert not validator.is_valid({"suite": "strongest"})
