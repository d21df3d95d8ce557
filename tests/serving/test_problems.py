import ast
from pathlib import Path
from typing import Any

import pytest

import f2at.serving
from f2at.serving.jobs.admission import read_request
from f2at.serving.problems import Problem, from_status
from tests.audit.grey import grey_audit

FOLDER = Path(f2at.serving.__file__).parent
MEMBERS = ("argument", "accepted", "received")


def calls(path: Path) -> list[ast.Call]:
    """Where a file creates a problem with a literal status."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    made = [node for node in found if isinstance(node.func, ast.Name) and node.func.id == "Problem"]
    return [node for node in made if isinstance(node.args[0], ast.Constant)]


CALLS = [(path, call) for path in sorted(FOLDER.rglob("*.py")) for call in calls(path)]


@pytest.mark.parametrize(
    ("path", "call"), [pytest.param(path, call, id=f"{path.stem}-{call.lineno}") for path, call in CALLS]
)
def test_a_refusal_says_what_it_is_about_what_is_accepted_and_what_came(path: Path, call: ast.Call) -> None:
    assert isinstance(call.args[0], ast.Constant)
    status = call.args[0].value
    assert isinstance(status, int)
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if status >= 500:  # the server is at fault
        assert not given.keys() & set(MEMBERS)
    elif None not in given:  # else they are the attributes of an ArgumentError
        assert given.keys() >= set(MEMBERS)
        empty = [name for name, value in given.items() if isinstance(value, ast.Constant) and value.value is None]
        assert not empty


def test_the_calls_are_found() -> None:
    assert len(CALLS) >= 25
    assert {path.parent.name for path, _ in CALLS} >= {"access", "api", "jobs", "model"}


@pytest.mark.parametrize("status", [400, 404, 405, 413, 418, 422])
def test_what_a_framework_refuses_says_it_too(status: int) -> None:
    body = from_status(status, "PUT", "/nothing").body
    assert all(body[name] for name in MEMBERS)


def test_a_failure_of_the_server_has_the_members_too() -> None:
    assert [from_status(500, "GET", "/").body[name] for name in MEMBERS] == [None] * 3


@pytest.mark.parametrize(
    ("values", "argument", "accepted"),
    [
        ({"suite": "quik"}, "suite", "one of quick, "),
        ({"eps": 8}, "eps", "at most 1 for linf"),
        ({"eps": None}, "eps", 'a number or text such as "8/255"'),
        ({"samples": 101}, "samples", "1 to 100"),
        ({"samples": "9"}, "samples", "an integer from 1 to 1000000"),
        ({"suite": "transfer"}, "suite", "a suite that needs no surrogate"),
        ({"gate": ["jpeg"]}, "gate", "among the threats (none)"),
    ],
)
def test_requests_of_audits_are_refused_by_argument(values: dict[str, Any], argument: str, accepted: str) -> None:
    with pytest.raises(Problem) as caught:
        read_request(values, max_samples=100, max_evaluations=None, surrogate=False, size=(8, 8))
    body = caught.value.body
    assert (body["status"], body["argument"], body["received"]) == (422, argument, values[argument])
    assert body["accepted"].startswith(accepted)


def test_a_problem_of_an_argument_can_be_named_as_the_request_has_it() -> None:
    assert from_status(404, "GET", "/x").about("baseline").body["argument"] == "baseline"
    assert from_status(500, "GET", "/x").about("baseline").body["argument"] is None


def test_an_unknown_argument_is_answered_with_those_there_are() -> None:
    with pytest.raises(Problem) as caught:
        read_request({"epz": 1}, max_samples=100, max_evaluations=None, surrogate=False, size=(8, 8))
    body = caught.value.body
    assert (body["argument"], body["received"]) == ("epz", 1)
    assert body["accepted"][:3] == ["suite", "eps", "norm"]


def test_threats_count_in_what_an_audit_may_take() -> None:
    def read(most: int, **values: Any) -> Any:
        return read_request(
            {"samples": 10, **values}, max_samples=100, max_evaluations=most, surrogate=False, size=(8, 8)
        )

    alone = {"attacks": [{"name": "fgsm"}], "suite": "custom"}
    assert read(10, **alone).samples == 10
    with pytest.raises(Problem, match="may take 190 evaluations"):  # 18 qualities of each image, and one step
        read(189, threats=["jpeg:quality=10"], **alone)
    assert read(190, threats=["jpeg:quality=10"], **alone).threats == ["jpeg:quality=10"]


@pytest.mark.parametrize("suite", ["quick", "adaptive", "black-box", "labels", "custom"])
@pytest.mark.parametrize("samples", [25, 26])
@pytest.mark.parametrize("threat", ["universal", "l0:pixels=16", "l0:pixels=17", "patch", "l1", "jpeg", "corruptions"])
def test_the_service_refuses_the_threats_that_an_audit_does(suite: str, samples: int, threat: str) -> None:
    """Of a model with gradients and scores, of 4 x 4 pixels, as every bundle is."""
    values: dict[str, Any] = {"suite": suite, "samples": samples, "threats": [threat]}
    if suite == "custom":
        values["attacks"] = [{"name": "square"}]

    def read() -> object:
        return read_request(values, max_samples=100, max_evaluations=None, surrogate=False, size=(4, 4))

    refusal = None
    try:
        grey_audit([9] * 30, **values)
    except ValueError as error:
        refusal = f"{error}."
    if refusal is None:
        read()
        return
    with pytest.raises(Problem) as caught:
        read()
    body = caught.value.body
    assert (body["status"], body["argument"], body["detail"]) == (422, "threats", refusal)


def test_the_number_of_samples_is_spelt_out() -> None:
    request = read_request({"eps": 0.03}, max_samples=100, max_evaluations=None, surrogate=False, size=(8, 8))
    assert (request.samples, request.eps) == (100, "0.03")
