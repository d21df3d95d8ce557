"""The examples of the API's description; tests/e2e/test_api_examples.py sends them to a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from f2at.serving.api.backend import Backend
from f2at.serving.api.openapi import document
from f2at.serving.api.routes import create_app
from f2at.serving.bento.routes import every_route

SERVING = Path(__file__).parents[3] / "serving"
DOCUMENT = document(every_route(create_app(Backend())))
METHODS = ("get", "post", "put", "patch", "delete")
OTHERS = ("text/html", "text/plain", "application/octet-stream")  # answers that are described in words

Described = dict[str, Any]


def operations() -> list[Any]:
    """Each operation, with the parameters of its path."""
    return [
        pytest.param(
            {**item[method], "parameters": [*item.get("parameters", ()), *item[method].get("parameters", ())]},
            id=item[method]["operationId"],
        )
        for items in (DOCUMENT["paths"], DOCUMENT["webhooks"])
        for item in items.values()
        for method in METHODS
        if method in item
    ]


def examples(described: Described) -> list[Any]:
    """Of a parameter, or of one type of a body."""
    schema = described["schema"]
    if "example" in described:
        return [described["example"]]
    if "examples" in described:
        return [each["externalValue"] for each in described["examples"].values()]
    return [schema["default"]] if "default" in schema else list(schema.get("examples", []))


def bodies(operation: Described) -> Iterator[tuple[str, Described]]:
    """What a request takes and answers have, by what it is called in a failure."""
    for parameter in operation["parameters"]:
        yield parameter["name"], parameter
    for kind, described in operation.get("requestBody", {}).get("content", {}).items():
        yield f"body, {kind}", described
    for status, answer in operation["responses"].items():
        if status.startswith("2") and status not in ("204", "2XX"):
            assert answer.get("content"), f"{status} does not say what is answered"
            yield from ((f"{status}, {kind}", each) for kind, each in answer["content"].items() if kind not in OTHERS)


@pytest.mark.parametrize("operation", operations())
def test_every_parameter_body_and_answer_has_an_example_that_fits(operation: Described) -> None:
    for name, described in bodies(operation):
        found = examples(described)
        assert found, f"{name} has no example"
        for example in found:
            schema = {**described["schema"], "components": DOCUMENT["components"]}
            Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("operation", operations())
def test_answers_without_an_example_say_what_they_are(operation: Described) -> None:
    for answer in operation["responses"].values():
        for kind, described in answer.get("content", {}).items():
            assert kind not in OTHERS or described["schema"].get("description")


def test_parameters_are_those_of_the_server_where_it_has_others() -> None:
    paths = document(every_route(create_app(Backend())), {"name": "digits", "version": "0123"})["paths"]
    name, version = paths["/v2/models/{name}/versions/{version}"]["get"]["parameters"]
    assert (name["example"], version["example"]) == ("digits", "0123")


def test_every_refusal_has_an_example_of_its_own_status() -> None:
    responses = DOCUMENT["components"]["responses"]
    sources = "".join(path.read_text() for path in SERVING.rglob("*.py"))
    for operation in (operation.values[0] for operation in operations()):
        for status, answer in operation["responses"].items():
            if "$ref" in answer:
                [described] = responses[answer["$ref"].rpartition("/")[2]]["content"].values()
                [example] = examples(described)
                Draft202012Validator({**described["schema"], "components": DOCUMENT["components"]}).validate(example)
                kind = example["type"].rpartition(":")[2]
                assert (example["status"], example["title"]) == (int(status), kind.replace("-", " ").capitalize())
                assert f'"{kind}"' in sources  # a kind that there is
