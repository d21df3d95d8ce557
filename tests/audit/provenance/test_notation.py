import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.attacks.registry import ATTACKS
from f2at.audit import AuditRequest
from f2at.audit.commands.audit import audit_parser, audit_request
from f2at.audit.commands.foreign import class_names
from f2at.audit.provenance.notation import attack_text, names_text, parse_attack, parse_names
from f2at.audit.provenance.repetition import Origin, describe_repetition
from f2at.audit.suites import SUITES

VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}", fullmatch=True)


@given(st.dictionaries(WORDS.filter(lambda word: word != "name"), VALUES | WORDS))
def test_of_the_text_of_an_attack_it_is_made_again(parameters: dict[str, Any]) -> None:
    entry = {"name": "pgd", **parameters}
    assert json.dumps(parse_attack(attack_text(entry))) == json.dumps(entry)


def test_the_text_of_an_attack_is_as_people_write_it() -> None:
    assert attack_text({"name": "fgsm"}) == "fgsm"
    entry = {"name": "pgd", "steps": 50, "step_size": 0.007, "start": "none", "stop_at_success": False, "as": "7"}
    assert attack_text(entry) == 'pgd:steps=50,step_size=0.007,start=none,stop_at_success=false,as="7"'


@given(st.lists(st.text(), min_size=2))
def test_of_the_text_of_names_they_are_made_again(names: list[str]) -> None:
    assert parse_names(names_text(names)) == names


def test_names_that_are_too_long_for_a_file_are_names() -> None:
    names = [f"class {number}" for number in range(1000)]
    assert class_names(names_text(names)) == names


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"suite": "adaptive", "eps": "0.031", "norm": "l2", "samples": 7, "seed": 2**32 - 1, "examples": 0},
        {"min_robust_accuracy": 1 / 3, "curve": False},
        *({"suite": name} for name in SUITES),
        *({"suite": "custom", "attacks": [{"name": n, "as": "1"}], "norm": a.norms[-1]} for n, a in ATTACKS.items()),
        {
            "suite": "custom",
            "attacks": [{"name": "pgd", "step_size": 2 / 255, "restarts": 2}, {"name": "square", "queries": 9}],
        },
    ],
    ids=str,
)
def test_the_command_asks_for_what_the_request_asked(values: dict[str, Any]) -> None:
    request = AuditRequest(**values)
    origin = Origin(model="m", options={})
    described = describe_repetition(origin, request, model={}, data={}, surrogate=None)
    assert described is not None
    words = described["command"].split(" ")  # no word of these has a space
    asked = audit_parser().parse_args([word.strip("'") for word in words[2:]])
    assert audit_request(asked) == request


def test_every_field_of_a_request_is_asked_for() -> None:
    """A field that the command left out would be repeated by its default."""
    unusual = {
        "suite": "custom",
        "eps": "1/255",
        "norm": "l2",
        "samples": 1,
        "seed": 1,
        "min_robust_accuracy": 0.5,
        "accept_weak": True,
        "confidence": 0.9,
        "examples": 1,
        "curve": False,
        "attacks": [{"name": "fgsm"}],
        "samples_per_gradient": 2,
        "draws": 3,
        "threats": ["patch:area=2%", "rotate-translate:degrees=30,shift=10%,fill=edge"],
        "gate": ["patch:area=2%"],
    }
    assert unusual.keys() == AuditRequest.model_fields.keys()
    test_the_command_asks_for_what_the_request_asked(unusual)
