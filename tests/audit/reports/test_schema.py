"""Every report fits the schema, every field of the schema occurs, and what is not a report is refused."""

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch
from jsonschema import Draft202012Validator

from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit import Audit, AuditRequest, run_audit
from f2at.audit.endpoint.limits import Limits
from f2at.audit.provenance.context import Context
from f2at.audit.provenance.repetition import Origin
from f2at.audit.reports.report import SCHEMA_VERSION, without_examples
from f2at.audit.reports.schema import report_schema
from f2at.images.png import png
from f2at.images.preparation import Preparation
from f2at.images.sets.base import in_memory
from f2at.images.sets.store import open_listed
from tests.audit.grey import SIDE, Grey, grey_audit, grey_images

Report = dict[str, Any]
MIXED = [1 + i % 12 for i in range(30)]


class Softmax(torch.nn.Module):
    """Probabilities for logits, so sharp that gradients vanish: raises flags."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(inputs)
        return (100 * logits).softmax(dim=1)


class NoGradients(TorchTarget):
    gradients = False


def described_audit() -> Audit:
    """With all that a caller may say of the models."""
    images, labels = grey_images(MIXED)
    return Audit(
        TorchTarget(Grey(), classes=2),
        in_memory(images, labels),
        AuditRequest(
            suite="custom",
            attacks=[{"name": "pgd", "steps": 5}, {"name": "pgd", "as": "again", "restarts": 2}],
            eps="0.03",
            samples=20,
            min_robust_accuracy=0.1,
            accept_weak=True,
        ),
        classes=["dark", "light"],
        model={"digest": "sha256:00", "url": "http://a/b", "manifest": {"anything": [1, {"deep": None}]}, "more": 1},
        surrogate=TorchTarget(Grey(), classes=2),
        surrogate_model={"digest": "sha256:11", "manifest": {}},
        environment={"threads": 2},
        to_target=torch.from_numpy,
        origin=Origin(model="b", options={"mean": [-0.5, 0, 1]}, data="d.npz", surrogate="s", withheld=("a key",)),
    )


def transfer_audit() -> Audit:
    """Attacks on a surrogate, each on all samples by itself."""
    images, labels = grey_images(MIXED[:6])
    return Audit(
        TorchTarget(Grey(), classes=2),
        in_memory(images, labels),
        AuditRequest(suite="transfer", eps="3/255", examples=0),
        classes=["dark", "light"],
        surrogate=TorchTarget(Grey(), classes=2),
        to_target=torch.from_numpy,
    )


def audit_without_gradients() -> Audit:
    images, labels = grey_images(MIXED[:5])
    return Audit(
        NoGradients(Grey(), classes=2),
        in_memory(images, labels),
        AuditRequest(suite="custom", attacks=[{"name": "square", "queries": 10}], eps="4/255", examples=0),
        classes=["dark", "light"],
        to_target=torch.from_numpy,
    )


class Counting(NoGradients):
    """A model that may be asked about so many images."""

    def __init__(self) -> None:
        super().__init__(Grey(), classes=2)
        self.queries = Limits(most=200)

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        self.queries.take(len(inputs))
        return super().logits(inputs)


def audit_within_a_budget() -> Audit:
    request = AuditRequest(suite="custom", attacks=[{"name": "square", "queries": 99}], curve=False, examples=0)
    data = in_memory(*grey_images([20] * 5))
    return Audit(Counting(), data, request, classes=["dark", "light"], to_target=torch.from_numpy)


def audit_in_a_store() -> Audit:
    """Of pictures that are listed, and read only where they are drawn."""
    system, (images, labels) = fsspec.filesystem("memory"), grey_images(MIXED[:6])
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        system.pipe(f"/schema/{['dark', 'light'][label]}/{number}.png", png(image))
    return Audit(
        TorchTarget(Grey(), classes=2),
        open_listed("memory://schema").prepared(Preparation((SIDE, SIDE))),
        AuditRequest(suite="quick", eps="1/255", samples=4, examples=0),
        classes=["dark", "light"],
        to_target=torch.from_numpy,
    )


AUDITS: dict[str, Callable[[], Audit]] = {
    "plain": lambda: grey_audit(MIXED, eps="8/255"),
    "threshold": lambda: grey_audit(MIXED, eps="8/255", min_robust_accuracy=0.9),
    "no curve": lambda: grey_audit(MIXED[:8], eps="8/255", curve=False),
    "l2": lambda: grey_audit(MIXED[:8], eps="0.1", norm="l2", examples=0),
    "flags": lambda: grey_audit(MIXED[:12], eps="2/255", wrap=Softmax),
    "stands": lambda: grey_audit([60] * 3, eps="1/255"),
    "described": described_audit,
    "transfer": transfer_audit,
    "no gradients": audit_without_gradients,
    "budget": audit_within_a_budget,
    "store": audit_in_a_store,
    "threats": lambda: grey_audit(MIXED[:8], suite="quick", eps="1/255", threats=["l0:pixels=2", "brightness"]),
}
CONTEXT: dict[str, Any] = {
    "id": "one",
    "created": "2026-11-22T12:00:00+00:00",
    "started": "2026-11-22T12:00:01+00:00",
    "finished": "2026-11-22T12:00:02+00:00",
    "wall_seconds": 1.0,
    "requester": "somebody",
    "context": Context(responsible_person="A. B.", valid_until="2027-11-22"),
}


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(report_schema())


@pytest.fixture(scope="module")
def reports() -> dict[str, Report]:
    audits = {name: make() for name, make in AUDITS.items()}
    made = {name: audit.report(run_audit(audit), **CONTEXT) for name, audit in audits.items()}
    made["no pictures"] = {**made["plain"], "examples": []}
    made["pictures withheld"] = without_examples(made["plain"])
    return made


def test_schema_is_one() -> None:
    schema = report_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"f2at:report:{SCHEMA_VERSION}"
    assert schema["properties"]["schema_version"]["const"] == SCHEMA_VERSION


def test_every_field_is_described_and_every_object_of_ours_is_closed() -> None:
    schema = report_schema()
    assert schema["properties"]["context"]["required"] == list(Context.model_fields)
    closed = ("additionalProperties", "unevaluatedProperties")
    open_ones = set()
    for path, node in walk(schema):
        for name, field in node.get("properties", {}).items():
            assert field.get("description"), (*path, name)
        if node.get("type") == "object" and not any(key in node for key in closed):
            open_ones.add("/".join(path))
    assert open_ones == {
        "$defs/proportion",  # closed where they are used
        "$defs/sample",
        "$defs/parameters",
        "properties/request/properties/attacks/anyOf/0/items",
        "properties/model",
        "properties/model/properties/manifest",
        "properties/surrogate/oneOf/1",
        "properties/surrogate/oneOf/1/properties/manifest",
        "properties/run",
        "properties/harness/properties/environments/items",
    }


def test_the_fields_that_answer_standards_are_there() -> None:
    text = (Path(__file__).parents[3] / "docs" / "standards.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([a-z_.]+)`", text) if name != "transfer"}
    assert len(named) > 25
    for name in named:
        node = report_schema()
        for key in name.split("."):
            assert key in node["properties"], name
            node = node["properties"][key]


def test_every_report_fits(reports: dict[str, Report], validator: Draft202012Validator) -> None:
    for name, report in reports.items():
        assert [f"{name}: {e.json_path}: {e.message}" for e in validator.iter_errors(report)] == []


def test_every_field_occurs(reports: dict[str, Report]) -> None:
    """A field in the schema that no report has would be a promise nobody keeps."""
    schema = report_schema()
    seen: set[tuple[str, ...]] = set()
    for report in reports.values():
        seen |= set(occurring(schema, schema, report, ()))
    declared = {(*path, name) for path, node in walk(schema) for name in node.get("properties", {})}
    assert declared - seen == set()


def test_reports_differ_where_the_schema_leaves_a_choice(reports: dict[str, Report]) -> None:
    assert {r["verdict"]["outcome"] for r in reports.values()} >= {None, "pass", "fail"}
    assert {flag["raised"] for r in reports.values() for flag in r["flags"]} == {True, False, None}
    assert {r["iterations"] is None for r in reports.values()} == {True, False}
    assert {r["surrogate"] is None for r in reports.values()} == {True, False}
    assert {a["alone"] is None for r in reports.values() for a in r["attacks"]} == {True, False}
    assert {s["broken_by"] is None for s in reports["plain"]["samples"]} == {True, False}


def wrong(path: str, value: Any) -> Callable[[Report], None]:
    """Puts a value at a dotted path."""
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))

    def spoil(report: Any) -> None:
        for step in steps:
            report = report[step]
        report[last] = value

    return spoil


def without(path: str) -> Callable[[Report], None]:
    *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))

    def spoil(report: Any) -> None:
        for step in steps:
            report = report[step]
        del report[last]

    return spoil


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (wrong("schema_version", 1), "$.schema_version"),
        (wrong("surprise", 1), "$"),
        (without("limitations"), "$"),
        (wrong("request.eps", 0.03), "$.request.eps"),
        (wrong("request.suite", "strongest"), "$.request.suite"),
        (without("request.samples"), "$.request"),
        (wrong("clean.k", -1), "$.clean.k"),
        (wrong("clean.value", 1.5), "$.clean.value"),
        (wrong("clean.surprise", 1), "$.clean"),
        (without("robust.low"), "$.robust"),
        (wrong("verdict.outcome", "fine"), "$.verdict.outcome"),
        (wrong("verdict.outcome", None), "$.verdict.outcome"),
        (wrong("verdict.reason", 3), "$.verdict.reason"),
        (wrong("suite.strength", "middling"), "$.suite.strength"),
        (wrong("data.sha256", "0" * 63), "$.data.sha256"),
        (wrong("threat_model.norm", "l3"), "$.threat_model.norm"),
        (wrong("attacks.0.on", "moon"), "$.attacks[0].on"),
        (wrong("attacks.0.every", 0), "$.attacks[0].every"),
        (wrong("attacks.0.alone", 0.5), "$.attacks[0].alone"),
        (wrong("iterations.points.0.iterations", 0.5), "$.iterations"),
        (without("iterations.attack"), "$.iterations"),
        (without("curve.points.0.levels"), "$.curve"),
        (wrong("confidences.samples.0.clean", 2), "$.confidences"),
        (without("corruptions.0.in_ball"), "$.corruptions[0]"),
        (wrong("flags.0.raised", "maybe"), "$.flags[0].raised"),
        (wrong("flags.0.found", "a little"), "$.flags[0].found"),
        (wrong("samples.0.surprise", 1), "$.samples[0]"),
        (wrong("examples.0.broken_by", None), "$.examples[0]"),
        (without("examples.0.adversarial_distance"), "$.examples[0]"),
        (wrong("examples.0.clean", "GIF89a"), "$.examples[0].clean"),
        (wrong("run.model_seconds", "1 s"), "$.run.model_seconds"),
        (wrong("certified_lower_bound", 0.5), "$.certified_lower_bound"),
        (wrong("context.surprise", "more"), "$.context"),
        (without("context.valid_until"), "$.context"),
        (wrong("harness.commit", "HEAD"), "$.harness.commit"),
        (without("harness.environments.0.processor"), "$.harness.environments[0]"),
        (wrong("repeat", "f2at audit"), "$.repeat"),
        (wrong("threat_model.techniques.0.id", "AML.M0001"), "$.threat_model.techniques[0].id"),
    ],
)
def test_what_is_not_a_report_is_refused(
    spoil: Callable[[Report], None], where: str, reports: dict[str, Report], validator: Draft202012Validator
) -> None:
    report = copy.deepcopy(reports["threshold"])
    spoil(report)
    assert where in {error.json_path for error in validator.iter_errors(report)}


def walk(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every object in a schema but its conditions, with where it is."""
    if isinstance(node, dict):
        yield path, node
    for key, inner in enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ():
        if key not in ("if", "then", "else"):
            yield from walk(inner, (*path, str(key)))


def occurring(schema_of_all: Any, schema: Any, value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Paths of the schema's properties that a value has, through references and the alternative that fits."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        yield from occurring(schema_of_all, schema_of_all["$defs"][name], value, ("$defs", name))
    for key in ("oneOf", "anyOf"):
        for number, choice in enumerate(schema.get(key, ())):
            if (choice.get("type") == "null") is (value is None):  # all choices are of this kind
                yield from occurring(schema_of_all, choice, value, (*path, key, str(number)))
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield (*path, name)
                yield from occurring(schema_of_all, inner, value[name], (*path, "properties", name))
    if isinstance(value, list) and "items" in schema:
        for item in value:
            yield from occurring(schema_of_all, schema["items"], item, (*path, "items"))
