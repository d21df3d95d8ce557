"""The examples in /docs.json against a real server: it accepts each request, and its answers have the shape of theirs.

Where an answer has another shape, what the server answers is in a file that the failure names, shortened: it can take
the place of serving/api/examples.json.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from f2at.serving.webhooks.event import event
from tests.e2e.conftest import REPOSITORY, wait_for
from tests.keys import make_keys

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

ZOO = REPOSITORY / "zoo"
METHODS = ("get", "post", "delete")
FILES = ("application/octet-stream", "image/*")  # bodies whose example is a file
FIRST = ("cancel_audit", "start_audit")  # the second starts the audit once more, and the others are about it
LAST = "change_model"
Content = dict[str, Any]


class Api:
    """Sends the requests that the description of a server has as examples."""

    def __init__(self, server: "Server") -> None:
        self._client = server.client
        self.description = self.describe()
        self.operations = {
            operation["operationId"]: (method, path)
            for path, item in self.description["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }

    def describe(self) -> Content:
        """What the server says of itself."""
        description: Content = self._client.get("/docs.json").raise_for_status().json()
        return description

    def described(self, name: str) -> Content:
        """An operation, with the parameters of its path."""
        method, path = self.operations[name]
        item = self.description["paths"][path]
        operation: Content = item[method]
        return {**operation, "parameters": [*item.get("parameters", ()), *operation.get("parameters", ())]}

    def send(self, name: str, **other: str) -> list[httpx.Response]:
        """The answers to an operation's examples, one for each type of body; `other` replaces parameters."""
        (method, path), operation = self.operations[name], self.described(name)
        places: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
        for parameter in operation["parameters"]:
            if "example" in parameter or "default" in parameter["schema"]:
                value = other.get(parameter["name"], parameter.get("example", parameter["schema"].get("default")))
                places[parameter["in"]][parameter["name"]] = str(value)
        url = path.format(**places["path"])
        return [
            self._client.request(method, url, params=places["query"], **self._body(operation, kind, places["header"]))
            for kind in operation.get("requestBody", {"content": [None]})["content"]
        ]

    def _body(self, operation: Content, kind: str | None, headers: dict[str, str]) -> dict[str, Any]:
        if kind is None:
            return {"headers": headers}
        described = operation["requestBody"]["content"][kind]
        if kind in FILES:
            only = [each for each in operation["parameters"] if "examples" in each["schema"]]  # for such a body
            more = {each["name"]: each["schema"]["examples"][0] for each in only}
            [file] = described["examples"].values()
            sent = self._file(file["externalValue"])
            kind = kind if "*" not in kind else sent.headers["Content-Type"]
            return {"content": sent.content, "headers": {**headers, **more, "Content-Type": kind}}
        if kind == "multipart/form-data":
            fields = [
                (name, [paths] if isinstance(paths, str) else paths) for name, paths in described["example"].items()
            ]
            files = [(name, self._file(path).content) for name, paths in fields for path in paths]
            return {"files": files, "headers": headers}
        return {"json": described["example"], "headers": headers}

    def _file(self, path: str) -> httpx.Response:
        return self._client.get(f"/{path}").raise_for_status()


@pytest.fixture(scope="module")
def api(start_server: Callable[..., "Server"], tmp_path_factory: pytest.TempPathFactory) -> Api:
    keys = make_keys(tmp_path_factory.mktemp("keys"))
    zoo = {"F2AT_BUNDLE": str(ZOO / "cifar10-small"), "F2AT_BUNDLES": str(ZOO)}
    return Api(start_server(F2AT_SIGNING_KEY=str(keys.private), **zoo))


@pytest.fixture(scope="module")
def answers(api: Api) -> dict[str, list[httpx.Response]]:
    """What each operation answered, for each type of body."""
    api.send("start_audit")
    found = {"cancel_audit": api.send("cancel_audit")}
    [removed] = api.send("cancel_audit", purge="true")
    assert removed.status_code == 204
    found["start_audit"] = api.send("start_audit") + api.send("start_audit")  # which finds it
    wait_for(lambda: api.send("audit")[0].json()["state"] == "done", seconds=300)
    found |= {name: api.send(name) for name in api.operations if name not in (*FIRST, LAST)}
    found[LAST] = api.send(LAST)
    return found


def record(answers: Mapping[str, list[httpx.Response]]) -> Iterator[tuple[str, Any]]:
    """The answers that have an example, by operation, shortened."""
    for name, (answer, *_) in answers.items():
        content = read(answer)
        if name == "docs":
            paths = {"/livez": content["paths"]["/livez"]}
            content = {"openapi": content["openapi"], "info": content["info"], "paths": paths}
        if content is not None and not name.endswith("_of_version"):
            yield name, shortened(content)
    [audit], [report] = answers["audit"], answers["report"]
    yield "audit_ended", shortened(event(audit.json(), report.json(), "/audits"))


def read(answer: httpx.Response) -> Any:
    """The values in an answer; of a stream, its first event; None: it has none."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind == "text/event-stream":
        first = next(text for text in answer.text.split("\n\n") if text.startswith("event:"))
        return dict(line.split(": ", 1) for line in first.splitlines())
    return answer.json() if kind.endswith("json") else None


def shortened(value: Any) -> Any:
    """Of several objects, the first two; of long Base64, the beginning."""
    if isinstance(value, dict):
        return {key: shortened(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shortened(each) for each in (value[:2] if value and isinstance(value[0], dict) else value)]
    return f"{value[:60]}..." if isinstance(value, str) and len(value) > 120 and " " not in value else value


def parts(schema: Content, root: Content) -> Iterator[Content]:
    """The schemas that a schema is made of."""
    yield schema
    inner = chain(*(schema.get(word, ()) for word in ("allOf", "anyOf", "oneOf")))
    if "$ref" in schema:
        node = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            node = node[step]
        inner = chain(inner, [node])
    for each in inner:
        yield from parts(each, root)


def differences(example: Any, real: Any, schema: Content, root: Content, where: str = "$") -> Iterator[str]:
    """Where the two have other keys or types, but for keys that the schema lets an object be without."""
    made_of = list(parts(schema, root))
    if isinstance(example, dict) and isinstance(real, dict):
        properties = {name: each for part in made_of for name, each in part.get("properties", {}).items()}
        required = {name for part in made_of for name in part.get("required", ())}
        others = (part.get("additionalProperties") for part in made_of)
        values = next((each for each in others if isinstance(each, dict)), None)
        pairs = [(name, example[name], real[name]) for name in example.keys() & real.keys()]
        if values is not None and not properties:  # names that are data, such as those of classes
            pairs = pairs or [("*", *each) for each in zip(example.values(), real.values(), strict=False)][:1]
        else:
            yield from (f"{where}: {name}" for name in (example.keys() ^ real.keys()) - (properties.keys() - required))
        for name, one, other in pairs:
            yield from differences(one, other, properties.get(name, values or {}), root, f"{where}.{name}")
    elif isinstance(example, list) and isinstance(real, list):
        items: Content = next((part["items"] for part in made_of if "items" in part), {})
        for one, other in zip(example[:1], real[:1], strict=False):
            yield from differences(one, other, items, root, f"{where}[0]")
    elif None not in (example, real) and kind_of(example) is not kind_of(real):
        yield f"{where}: {kind_of(example).__name__} or {kind_of(real).__name__}"


def kind_of(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def test_differences_are_told_from_what_the_schema_leaves_open() -> None:
    schema = {"properties": {"a": {"items": {"$ref": "#/part"}}, "b": {}}, "required": ["a"]}
    root = {**schema, "part": {"additionalProperties": {"required": ["x"]}}}
    assert list(differences({"a": []}, {"a": [1], "b": 2}, schema, root)) == []
    assert list(differences({"a": [{"one": {"x": 1}}]}, {"a": [{"two": {"x": 0.5}}]}, schema, root)) == []
    assert list(differences({"a": [{"one": {"x": 1}}]}, {"a": [{"two": {}}]}, schema, root)) == ["$.a[0].*: x"]
    assert list(differences({"b": None}, {"b": 1}, schema, root)) == []
    assert set(differences({"b": 1}, {"a": [], "b": "1", "c": 0}, schema, root)) == {
        "$: a",
        "$: c",
        "$.b: float or str",
    }


def test_every_operation_was_asked(api: Api, answers: dict[str, list[httpx.Response]]) -> None:
    assert answers.keys() == api.operations.keys()


def test_every_request_is_accepted(answers: dict[str, list[httpx.Response]]) -> None:
    refused = {name: answer.text for name, found in answers.items() for answer in found if not answer.is_success}
    assert refused == {}


def test_every_answer_has_the_shape_of_its_example(
    api: Api, answers: dict[str, list[httpx.Response]], tmp_path: Path
) -> None:
    wrong = []
    for name, found in answers.items():
        for answer in found:
            kind = answer.headers["Content-Type"].partition(";")[0]
            described = api.described(name)["responses"][str(answer.status_code)]["content"][kind]
            if (real := read(answer)) is not None:
                root = {**described["schema"], "components": api.description["components"]}
                Draft202012Validator(root).validate(real)
                wrong += [
                    f"{name} {each}" for each in differences(described["example"], real, described["schema"], root)
                ]
    recorded = tmp_path / "examples.json"
    recorded.write_text(json.dumps(dict(record(answers)), indent=1) + "\n")
    assert wrong == [], f"{recorded} can take the place of serving/api/examples.json"


def test_the_event_in_a_stream_is_the_audit(api: Api, answers: dict[str, list[httpx.Response]]) -> None:
    [audit], [events] = answers["audit"], answers["audit_events"]
    assert json.loads(read(events)["data"]) == audit.json()


def test_what_a_webhook_sends_has_the_shape_of_its_example(api: Api, answers: dict[str, list[httpx.Response]]) -> None:
    [audit], [report] = answers["audit"], answers["report"]
    body = api.description["webhooks"]["auditEnded"]["post"]["requestBody"]["content"]["application/cloudevents+json"]
    root = {**body["schema"], "components": api.description["components"]}
    sent = event(audit.json(), report.json(), "/audits")
    assert list(differences(body["example"], sent, body["schema"], root)) == []


def test_examples_of_parameters_are_those_of_the_model_that_is_served(
    api: Api, answers: dict[str, list[httpx.Response]]
) -> None:
    digest = answers[LAST][0].json()["digest"]
    described = api.describe()["paths"]
    [_, version, *_] = described["/v2/models/{name}/versions/{version}"]["get"]["parameters"]
    assert version["example"] == digest.removeprefix("sha256:")[:12]
    assert digest in [each.get("example") for each in described["/audits"]["get"]["parameters"]]
