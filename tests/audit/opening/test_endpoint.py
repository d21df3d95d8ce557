"""Models behind HTTP, audited by their answers; tests/e2e/test_endpoint.py does it with our own service."""

import base64
import itertools
import json
import signal
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

import f2at
from f2at.__main__ import main
from f2at.audit import Audit, AuditRequest, run_audit
from f2at.audit.commands.audit import run
from f2at.audit.endpoint.address import EndpointError
from f2at.audit.endpoint.limits import QueriesSpentError
from f2at.audit.endpoint.target import EndpointTarget
from f2at.audit.journal import Journal
from f2at.audit.opening.endpoint import open_endpoint
from f2at.audit.reports.schema import report_schema
from f2at.images.pixels import to_images, to_inputs
from f2at.images.sets.base import in_memory
from tests.audit.endpoint.host import (
    MISSING,
    SIDE,
    THRESHOLD,
    Answer,
    Asked,
    Reply,
    as_json,
    host,
    light,
    pictures,
    probabilities,
)
from tests.audit.grey import grey_images

CLASSES = ["dark", "light"]
DISTANCES = [1, 2, 3, 12, 30]
IMAGES, LABELS = grey_images(DISTANCES)
DATA = in_memory(IMAGES, LABELS)
SQUARE = {"name": "square", "queries": 100}
NOISE = np.random.default_rng(0).integers(0, 256, (7, SIDE, SIDE, 3), dtype=np.uint8)


class Here:
    """The same model without a network between."""

    classes, gradients = 2, False

    def logits(self, inputs: Any) -> np.ndarray:
        return np.array(light(to_images(inputs)), np.float32)

    def gradient(self, *_: Any) -> Any:
        raise AssertionError


def audited_here(**request: Any) -> dict[str, Any]:
    plan = Audit(Here(), DATA, AuditRequest(**request), classes=CLASSES)
    return plan.report(run_audit(plan))


def posts(answer: Callable[[Asked], Answer]) -> Reply:
    """A server with one route for POST, that says nothing of itself."""
    return lambda asked: answer(asked) if asked.method == "POST" else MISSING


def form(asked: Asked) -> Answer:
    return as_json({"logits": light(pictures(asked))[0]})


def picture(asked: Asked) -> Answer:
    return as_json(light(pictures(asked))[0])


def in_base64(asked: Asked) -> Answer:
    image = Image.open(BytesIO(base64.b64decode(json.loads(asked.body)["image"])))
    return as_json(
        [{"label": name, "score": s} for name, s in zip(CLASSES, light([np.asarray(image)])[0], strict=True)]
    )


def tensor(asked: Asked) -> Answer:
    return as_json({"predictions": light(json.loads(asked.body)["instances"])})


def inference(
    datatype: str = "UINT8", shape: tuple[int, ...] = (-1, SIDE, SIDE, 3), levels: Callable[[Any], Any] = np.asarray
) -> Reply:
    """A server of the Open Inference Protocol with a model of the name grey."""
    metadata = {
        "name": "grey",
        "versions": ["3"],
        "inputs": [{"name": "pixels", "datatype": datatype, "shape": list(shape)}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
    }

    def reply(asked: Asked) -> Answer:
        if (asked.method, asked.path) == ("GET", "/v2/models/grey"):
            return as_json(metadata)
        if (asked.method, asked.path) != ("POST", "/v2/models/grey/infer"):
            return MISSING
        (given,) = json.loads(asked.body)["inputs"]
        assert (given["name"], given["datatype"]) == ("pixels", datatype)
        assert [side for side, wanted in zip(given["shape"], shape, strict=True) if wanted not in (-1, side)] == []
        scores = light(levels(np.array(given["data"]).reshape(given["shape"])))
        output = {"name": "scores", "datatype": "FP32", "shape": [len(scores), 2], "data": np.ravel(scores).tolist()}
        return as_json({"model_name": "grey", "outputs": [output]})

    return reply


SPEAKING: dict[str, tuple[Reply, str, dict[str, Any]]] = {
    "form": (posts(form), "/predict", {}),
    "picture": (posts(picture), "/predict", {"protocol": "picture"}),
    "base64": (posts(in_base64), "/predict", {"protocol": "base64"}),
    "tensor": (posts(tensor), "/predict", {"protocol": "tensor"}),
    "v2": (inference(), "/v2/models/grey/infer", {}),
}


@pytest.mark.parametrize("protocol", SPEAKING)
def test_an_audit_over_http_is_that_of_the_model_itself(protocol: str) -> None:
    reply, path, options = SPEAKING[protocol]
    request: dict[str, Any] = {"suite": "custom", "attacks": [SQUARE], "eps": "4/255", "curve": False, "examples": 1}
    with host(reply) as (url, asked):
        report = f2at.audit_endpoint(url + path, IMAGES, LABELS, AuditRequest(**request), classes=CLASSES, **options)
        sent = [a for a in asked if a.method == "POST"]
    expected = audited_here(**request)
    for part in ("clean", "robust", "classes", "corruptions", "examples", "threat_model"):
        assert report[part] == expected[part]
    assert (report["robust"]["k"], report["threat_model"]["knowledge"]) == (3, ["black-box"])
    assert [a["forward_evaluations"] for a in report["attacks"]] == [
        a["forward_evaluations"] for a in expected["attacks"]
    ]
    assert report["model"]["url"] == url + path
    assert report["model"]["protocol"] == protocol
    assert len(sent) > 10


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("batch", [-1, 3])
def test_tensors_are_what_the_metadata_and_the_options_say(layout: str, batch: int) -> None:
    mean, std = np.array([0.5, 0.25, 0.125]), np.array([0.5, 0.25, 2.0])

    def levels(data: np.ndarray) -> np.ndarray:
        assert batch in (-1, len(data))
        pixels = data.transpose(0, 2, 3, 1) if layout == "NCHW" else data
        return np.asarray(np.rint(255 * (pixels * std + mean)))

    shape = (batch, 3, SIDE, SIDE) if layout == "NCHW" else (batch, SIDE, SIDE, 3)
    with host(inference("FP32", shape, levels)) as (url, _):
        model = open_endpoint(
            f"{url}/v2/models/grey", data=in_memory(NOISE, np.zeros(7, np.int64)), classes=CLASSES, mean=mean, std=std
        )
        assert model.description["version"] == "3"
        np.testing.assert_allclose(model.target.logits(to_inputs(NOISE)), light(NOISE), rtol=1e-6)


def test_the_levels_of_every_pixel_arrive() -> None:
    """Whatever the protocol: pictures are sent without loss, and in the order asked."""
    for reply, path, options in SPEAKING.values():
        with host(reply) as (url, _):
            model = open_endpoint(
                url + path, data=in_memory(NOISE, np.zeros(7, np.int64)), classes=CLASSES, connections=3, **options
            )
            np.testing.assert_allclose(model.target.logits(to_inputs(NOISE)), light(NOISE), rtol=1e-6)


def test_several_requests_are_under_way_at_a_time() -> None:
    both = threading.Barrier(2, timeout=10)
    waiting = False

    def reply(asked: Asked) -> Answer:
        if waiting:
            both.wait()  # nobody passes alone
        return form(asked)

    with host(posts(reply)) as (url, _):
        model = open_endpoint(f"{url}/predict", data=DATA, classes=CLASSES, connections=2)
        waiting = True
        np.testing.assert_allclose(model.target.logits(to_inputs(NOISE[:6])), light(NOISE[:6]), rtol=1e-6)


def test_an_interrupt_is_not_kept_waiting_by_requests_that_are_repeated() -> None:
    busy = False
    first, main_thread = threading.Lock(), threading.get_ident()

    def reply(asked: Asked) -> Answer:
        if busy and first.acquire(blocking=False):
            signal.pthread_kill(main_thread, signal.SIGINT)
        return Answer(b"", 503) if busy else form(asked)

    with host(posts(reply)) as (url, _):
        target = open_endpoint(f"{url}/predict", data=DATA, classes=CLASSES, patience=60).target
        assert isinstance(target, EndpointTarget)
        busy = True
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            target.logits(to_inputs(IMAGES))
        target.asking._pool.shutdown()  # waits for its threads
    assert time.monotonic() - started < 5


def test_a_service_that_swaps_its_model_ends_the_audit() -> None:
    digest = "sha256:1"

    def reply(asked: Asked) -> Answer:
        if asked.path == "/base/model":
            limits = {"max_batch": 3, "max_samples": 9}
            preprocessing = {"fit": "pad", "interpolation": "nearest"}
            about = {"digest": digest, "classes": CLASSES, "input_size": [SIDE, SIDE], "limits": limits}
            return as_json({**about, "preprocessing": preprocessing})
        if asked.path != "/base/predict_batch":
            return MISSING
        answers = [{"probabilities": dict(zip(CLASSES, probabilities(s), strict=True))} for s in light(pictures(asked))]
        return as_json({"predictions": answers, "model": digest})

    with host(reply) as (url, asked):
        model = open_endpoint(f"{url}/base/predict", data=DATA)
        assert (model.description["digest"], model.classes, model.preparation.fit) == (
            "sha256:1",
            tuple(CLASSES),
            "pad",
        )
        assert sorted(len(pictures(a)) for a in asked if a.method == "POST") == [1, 3]
        for wrong, message in (
            ({"fit": "crop"}, "fit and interpolation"),
            ({"classes": ["a", "b"]}, "classes must be"),
        ):
            with pytest.raises(ValueError, match=message):
                open_endpoint(f"{url}/base", data=DATA, **wrong)
        digest = "sha256:2"
        with pytest.raises(EndpointError, match="another model now, sha256:2: this audit is of sha256:1; begin anew"):
            model.target.logits(to_inputs(IMAGES))


def labels_alone(asked: Asked) -> Answer:
    return as_json({"label": CLASSES[int(light(pictures(asked))[0][1] > THRESHOLD)]})


def test_who_answers_labels_alone_is_attacked_by_labels_alone() -> None:
    with host(posts(labels_alone)) as (url, _):
        options: dict[str, Any] = {"classes": CLASSES}
        wanted = AuditRequest(suite="black-box", eps="4/255")
        with pytest.raises(ValueError, match=r"needs no scores \(transfer, labels\).*square of 'black-box' would need"):
            f2at.audit_endpoint(url, IMAGES, LABELS, wanted, protocol="form", **options)
        with pytest.raises(ValueError, match=r"suite must be one without white-box attacks .*black-box, labels"):
            f2at.audit_endpoint(f"{url}/x", IMAGES, LABELS, AuditRequest(suite="adaptive"), **options)
        request = AuditRequest(suite="custom", attacks=[{"name": "rays", "queries": 60}], eps="4/255", examples=0)
        report = f2at.audit_endpoint(f"{url}/x", IMAGES[:4], LABELS[:4], request, **options)
    assert report["model"]["scores"] == "labels alone"
    assert report["robust"]["k"] == 1  # the one at a distance of 12
    assert report["curve"]["attack"]["name"] == "rays"
    assert not {"softmax_outputs", "randomised_outputs"} & {f["name"] for f in report["flags"] if f["raised"]}
    assert any("answers labels alone" in limitation for limitation in report["limitations"])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(b"<html><b>Login</b></html>"), r"must answer with JSON; it answers '<html><b>Login</b></html>'"),
        (as_json([1.0, 2.0, 3.0]), "must answer 2 scores, one for each class; got 3"),
        (as_json({"label": "light"}), "scores before, and a label alone now"),
        (Answer(b"[1.0, 2.0]", announced=99), "closes the connection before its answer is whole"),
        (Answer(b"", 301, (("Location", "http://else/"),)), "redirects to http://else/: give that URL"),
        (as_json({"detail": "wrong file"}, 422), r"answers 422 .*wrong file"),
    ],
)
def test_bad_answers_end_the_audit_in_one_line(answer: Answer, message: str) -> None:
    bad = False
    with host(posts(lambda asked: answer if bad else form(asked))) as (url, _):
        model = open_endpoint(f"{url}/predict", data=DATA, classes=CLASSES, patience=0)
        bad = True
        with pytest.raises(EndpointError, match=message):
            model.target.logits(to_inputs(IMAGES))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"shape": [1, 2], "data": [1.0, 2.0]}, "a row for each of 4 images; got .1, 2."),
        ({"shape": [4, 2], "data": [1.0, 2.0, 3.0]}, r"no tensor of shape \[4, -1\]"),
        ({"shape": [4, 2], "data": [float("nan"), None] * 4}, "must answer finite scores"),
        ({"shape": [4, 2], "data": "aaaa"}, "a row for each of 4 images"),
        ({"shape": [4, 2], "data": ["a"] * 8}, r"no tensor of shape"),
        ({"shape": [4, 2], "data": [1] * 8, "datatype": "INT64"}, "must answer labels or scores; got INT64"),
        ({"name": "other", "shape": [4, 2], "data": [1.0] * 8}, "must answer one output, scores; got other"),
        (None, "has no outputs"),
    ],
)
def test_bad_tensors_are_refused(output: dict[str, Any] | None, message: str) -> None:
    good = inference()

    def reply(asked: Asked) -> Answer:
        if asked.method == "GET":
            return good(asked) or MISSING
        return as_json({} if output is None else {"outputs": [{"name": "scores", "datatype": "FP32", **output}]})

    with host(reply) as (url, _), pytest.raises(EndpointError, match=message):
        open_endpoint(f"{url}/v2/models/grey", data=DATA, classes=CLASSES)


@pytest.mark.parametrize("data", [[0, 1, 0, 1], ["dark", "light", "dark", "light"]])
def test_tensors_of_labels_are_labels(data: list[Any]) -> None:
    good = inference()
    output = {"name": "scores", "shape": [4, 1], "data": data, "datatype": "BYTES" if data[0] == "dark" else "INT64"}
    with host(lambda a: good(a) if a.method == "GET" else as_json({"outputs": [output]})) as (url, _):
        model = open_endpoint(f"{url}/v2/models/grey", data=DATA, classes=CLASSES)
        assert model.description["scores"] == "labels alone"
        assert model.target.logits(to_inputs(IMAGES[:4])).argmax(axis=1).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("reply", "path", "options", "message"),
    [
        (lambda _: MISSING, "/v2/models/none", {}, "answers 404 Not Found"),
        (lambda _: MISSING, "/", {}, "give the URL of its route, and protocol"),
        (lambda _: MISSING, "/predict", {"protocol": "f2at"}, "/model answers 404"),
        (lambda _: MISSING, "/predict", {"protocol": "v2"}, "url must name a model, /v2/models/NAME"),
        (lambda _: MISSING, "/predict", {"protocol": "grpc"}, "protocol must be one of f2at, v2, form"),
        (lambda _: MISSING, "/predict", {"mean": 0.5}, "mean must be left out for an endpoint that takes pictures"),
        (lambda _: MISSING, "/predict", {"field": "x", "protocol": "picture"}, "field must be left out"),
        (lambda _: MISSING, "/predict", {"output": "x"}, "output-name goes with the Open Inference Protocol only"),
        (lambda _: MISSING, "/predict", {"connections": 0}, "connections must be at least 1; got 0"),
        (lambda _: MISSING, "/predict", {"timeout": 0}, "timeout must be > 0"),
        (inference("INT64"), "/v2/models/grey", {}, "must be one of UINT8, FP16, FP32, FP64; got INT64"),
        (inference(shape=(-1, 48)), "/v2/models/grey", {}, "must have 4 dimensions"),
        (inference(shape=(-1, 8, 8, 3)), "/v2/models/grey", {}, r"size must be that of the input \(any, 8, 8, 3\)"),
        (inference(), "/v2/models/grey", {"output": "x"}, "output-name must be one of scores; got 'x'"),
        (posts(form), "/predict", {"max_queries": 2}, "the budget of 2 queries is spent"),
    ],
)
def test_what_cannot_be_asked_is_said_before_the_audit(
    reply: Reply, path: str, options: dict[str, Any], message: str
) -> None:
    with host(reply) as (url, _), pytest.raises(ValueError, match=message):
        open_endpoint(url + path, data=DATA, **{"classes": CLASSES, **options})


def test_a_key_comes_from_the_environment_and_stays_out_of_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    def guarded(asked: Asked) -> Answer:
        if asked.headers.get("Authorization") != "Bearer s3cret":
            return as_json({"detail": "no key"}, 401)
        return form(asked) if asked.method == "POST" else MISSING

    request = AuditRequest(suite="custom", attacks=[{"name": "square", "queries": 2}], curve=False)
    with host(guarded) as (url, _):
        with pytest.raises(EndpointError, match="it wants a key; set F2AT_ENDPOINT_KEY"):
            open_endpoint(f"{url}/predict?token=t0ken", data=DATA, classes=CLASSES)
        monkeypatch.setenv("F2AT_ENDPOINT_KEY", "s3cret")
        report = f2at.audit_endpoint(f"{url}/predict?token=t0ken", IMAGES, LABELS, request, classes=CLASSES)
        assert report["model"]["url"] == f"{url}/predict"
    text = json.dumps(report)
    assert "s3cret" not in text
    assert "t0ken" not in text


def test_an_image_without_a_finite_answer_counts_as_an_error() -> None:
    def reply(asked: Asked) -> Answer:
        (scores,) = light(pictures(asked))
        return as_json([None, None] if scores[1] > 102 else scores)

    request = AuditRequest(suite="custom", attacks=[{"name": "square", "queries": 2}], eps="1/255", curve=False)
    with host(posts(reply)) as (url, _):
        report = f2at.audit_endpoint(f"{url}/predict", IMAGES, LABELS, request, classes=CLASSES)
    by_image = {s["index"]: s["prediction"] for s in report["samples"]}
    assert by_image == {0: 0, 1: None, 2: 0, 3: None, 4: 0} | {1: 1 if IMAGES[1].mean() <= 102 else None}
    assert "answers_missing" in [flag["name"] for flag in report["flags"] if flag["raised"]]


@pytest.mark.parametrize("budget", [150, 400, 100_000])
def test_a_budget_is_shared_out_and_never_overdrawn(budget: int) -> None:
    attacks = [SQUARE, {"name": "rays", "queries": 80}]
    request = AuditRequest(suite="custom", attacks=attacks, eps="4/255", curve=False, examples=0)
    with host(posts(form)) as (url, asked):
        report = f2at.audit_endpoint(f"{url}/predict", IMAGES, LABELS, request, classes=CLASSES, max_queries=budget)
        sent = sum(a.method == "POST" for a in asked)
    queries = report["run"]["queries"]
    assert (queries["sent"], queries["requests"], queries["most"]) == (sent, sent, budget)
    assert sent <= budget
    allowed = [attack.get("allowed_queries") for attack in report["attacks"]]
    flags = [flag["name"] for flag in report["flags"] if flag["raised"]]
    if budget == 100_000:
        assert allowed == [None, None]
        assert "attacks_cut_short" not in flags
    else:
        assert "attacks_cut_short" in flags
        assert all(1 <= queries < 100 for queries in allowed if queries is not None)
        # What an attack leaves over is for those after it: half of the budget at least is made use of.
        assert sent > budget / 2
    assert list(Draft202012Validator(report_schema()).iter_errors(report)) == []


def test_a_budget_that_cannot_do_is_refused_before_the_audit() -> None:
    with host(posts(form)) as (url, asked):
        model = open_endpoint(f"{url}/predict", data=DATA, classes=CLASSES, max_queries=100)
        with pytest.raises(ValueError, match=r"curve must be false \(--no-curve\) where queries are limited"):
            model.audit(DATA, AuditRequest(suite="labels"))
        with pytest.raises(ValueError, match=r"max_queries must leave at least \d+ for 5 images.*; 96 are left"):
            model.audit(DATA, AuditRequest(suite="labels", curve=False))
        model.audit(DATA, AuditRequest(suite="labels", curve=False, samples=1))
        assert sum(a.method == "POST" for a in asked) == 4


def test_repeated_requests_count_and_what_was_done_is_kept(tmp_path: Path) -> None:
    """Where they use up the budget, the audit ends; with more, it goes on, and counts what was sent before."""
    busy = False
    turn = itertools.count()

    def reply(asked: Asked) -> Answer:
        return Answer(b"", 503, (("Retry-After", "0"),)) if busy and next(turn) % 4 else form(asked)

    request = AuditRequest(suite="custom", attacks=[SQUARE], eps="4/255", curve=False, examples=0)
    with host(posts(reply)) as (url, asked):
        first = open_endpoint(f"{url}/predict", data=DATA, classes=CLASSES, max_queries=200, connections=1).audit(
            DATA, request
        )
        journal = Journal(tmp_path / "kept", first)
        busy = True
        with pytest.raises(QueriesSpentError, match="the budget of 200 queries is spent: 200 images were sent"):
            run_audit(first, journal=journal)
        assert sum(a.method == "POST" for a in asked) == 200
        assert len(journal) > 0
        busy = False
        again = open_endpoint(f"{url}/predict", data=DATA, classes=CLASSES, max_queries=1000).audit(DATA, request)
        done = Journal(tmp_path / "kept", again)
        kept = sum(done.find(step)["sent"] for step in again.steps if done.find(step))  # type: ignore[index]
        before = sum(a.method == "POST" for a in asked) - 4
        report = again.report(run_audit(again, journal=done))
        assert report["run"]["queries"]["sent"] == sum(a.method == "POST" for a in asked) - before + kept


def test_probabilities_lead_to_the_same_verdicts() -> None:
    def reply(asked: Asked) -> Answer:
        return as_json(dict(zip(CLASSES, probabilities(light(pictures(asked))[0]), strict=True)))

    request: dict[str, Any] = {"suite": "custom", "attacks": [SQUARE], "eps": "4/255", "curve": False, "examples": 0}
    with host(posts(reply)) as (url, _):
        report = f2at.audit_endpoint(f"{url}/predict", IMAGES, LABELS, AuditRequest(**request), classes=CLASSES)
    expected = audited_here(**request)
    assert report["model"]["scores"] == "the logarithms of probabilities"
    assert report["robust"] == expected["robust"]
    assert [s["broken_by"] for s in report["samples"]] == [s["broken_by"] for s in expected["samples"]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=LABELS)
    return tmp_path / "data.npz"


def test_the_command_takes_the_suite_that_the_answers_allow(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = data.with_name("report.json")
    options = ["--data", data, "--classes", "dark,light", "--eps", "4/255", "--max-queries", 400, "--output", output]
    with host(posts(labels_alone)) as (url, asked):
        assert run([f"{url}/predict", *map(str, options)]) == 0
        sent = sum(a.method == "POST" for a in asked)
    report = json.loads(output.read_text())
    assert (report["request"]["suite"], report["request"]["curve"]) == ("labels", False)
    assert report["run"]["queries"] == {"sent": sent, "requests": sent, "most": 400, "rate": None}
    printed = capsys.readouterr()
    assert printed.out.startswith(f"model {url}/predict\n5 images, linf, eps 4/255\n")
    assert "flag: Attacks had fewer queries than they take (rays had as few as " in printed.out
    assert f"{url}/predict" in output.with_suffix(".html").read_text()


def test_the_command_keeps_what_is_done_when_the_budget_is_spent(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = data.with_name("report.json")
    answered = itertools.count()

    def failing(asked: Asked) -> Answer:
        return Answer(b"", 503, (("Retry-After", "0"),)) if next(answered) > 60 else form(asked)

    options = [
        "--data",
        data,
        "--classes",
        "dark,light",
        "--attack",
        "square:queries=20",
        "--quiet",
        "--output",
        output,
    ]
    with host(posts(failing)) as (url, _):
        assert main(["audit", f"{url}/predict", *map(str, options), "--max-queries", "200"]) == 2
    assert "the budget of 200 queries is spent" in capsys.readouterr().err
    assert output.with_suffix(".unfinished").exists()
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["http://127.0.0.1:9/x"], "data must be given for a model behind HTTP"),
        (["https://me:pass@host/x", "--data", "{data}"], "url must have no user name or password"),
        (["{data}", "--data", "{data}", "--rate", "5"], "rate goes with a model behind HTTP only"),
        (
            ["http://127.0.0.1:9/x", "--data", "{data}", "--rate", "0"],
            "rate must be > 0, in images per second; got 0.0",
        ),
    ],
)
def test_the_command_says_what_is_wrong(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    words = [word.format(data=data) for word in arguments]
    assert main(["audit", *words, "--output", str(data.with_name("report.json"))]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
