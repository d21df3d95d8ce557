"""Threats as text: what is written is what is read, and what is not accepted is named."""

import itertools
from typing import Any

import pytest

from f2at.arguments import ArgumentError
from f2at.audit import AuditRequest
from f2at.audit.threats.base import Scan, Searched, Tier
from f2at.audit.threats.registry import THREATS, parse_threat

SHAPE = (32, 32, 3)


@pytest.mark.parametrize("name", THREATS)
def test_each_says_what_it_is_and_survives_its_text(name: str) -> None:
    threat = parse_threat(name)
    assert parse_threat(threat.text) == threat
    assert threat.text.startswith(f"{name}:")
    for words in (threat.title, threat.met, threat.definition, threat.formula, threat.axis, threat.limits):
        assert words
        assert not words.endswith("..")
    assert not threat.definition.endswith(".")
    strong, claims = threat.claims(Tier())
    assert strong
    assert claims
    threat.check(SHAPE)


@pytest.mark.parametrize("name", THREATS)
def test_weaker_forms_lie_inside_and_grow(name: str) -> None:
    threat = parse_threat(name)
    if isinstance(threat, Scan):
        strengths = [c.strength for c in threat.candidates(SHAPE)]
        assert strengths == sorted(strengths)
        assert max(strengths) == pytest.approx(threat.strength)
        return
    assert isinstance(threat, Searched)
    weaker = threat.weaker(SHAPE)
    assert weaker
    forms = (*weaker, threat)
    for small, large in itertools.pairwise(forms):
        assert large.includes(small)
        assert not small.includes(large)
        assert small.strength < large.strength


def test_no_threat_includes_one_of_another_kind() -> None:
    threats = [parse_threat(name) for name in THREATS]
    assert not any(a.includes(b) for a in threats for b in threats if a is not b)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("patch:area=0.02", "patch:area=2%"),
        ("patch:area=1/3", "patch:area=1/3"),
        ("patch", "patch:area=2%"),
        ("l2:eps=0.5", "l2:eps=1/2"),
        ("rotate-translate:shift=0.1,degrees=30", "rotate-translate:degrees=30,shift=10%"),
        ("rotate-translate:fill=edge", "rotate-translate:degrees=30,shift=10%,fill=edge"),
        ("brightness:range=30%", "brightness:range=30%"),
        ("resize:factor=1.5", "resize:factor=1.5"),
    ],
)
def test_one_threat_has_one_text(text: str, canonical: str) -> None:
    assert parse_threat(text).text == canonical
    assert AuditRequest(threats=[text]).threats == [canonical]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("petch", r"threat must be one of linf, l2, .*; got 'petch'; did you mean patch\?"),
        ("patch:aera=2%", r"threat patch has no parameter 'aera'; it takes area; did you mean area\?"),
        ("patch:area=two", "threat patch: area must be a number from 0.0001 to 1; got 'two'"),
        ("patch:area=200%", "threat patch: area must be from 0.01% to 100%; got '200%'"),
        ("patch:area=%", "threat patch: area must be from 0.01% to 100%; got '%'"),
        ("patch:area", r"threat must be NAME\[:parameter=value,...\], each parameter once; got 'patch:area'"),
        ("patch:area=1%,area=2%", "each parameter once"),
        ("l0:pixels=0", "threat l0: pixels must be an integer from 1 to 1000000; got '0'"),
        ("l0:pixels=2.5", "pixels must be an integer"),
        ("rotate-translate:degrees=-5", "threat rotate-translate: degrees must be a number from 0 to 180; got '-5'"),
        ("rotate-translate:fill=white", "fill must be black or edge; got 'white'"),
        ("corruptions:severity=6", "severity must be an integer from 1 to 5; got '6'"),
        ("jpeg:quality=0", "quality must be an integer from 1 to 95"),
        ("l2:eps=0", "threat l2: eps must be > 0 and finite; got 0"),
    ],
)
def test_what_is_not_accepted_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_threat(text)
    with pytest.raises(ArgumentError, match=message) as caught:
        AuditRequest(threats=[text])
    assert caught.value.argument == "threats"


@pytest.mark.parametrize(
    ("request_", "argument", "message"),
    [
        ({"threats": ["jpeg", "jpeg:quality=10"]}, "threats", "threats must be each given once"),
        ({"threats": ["linf:eps=4/255"]}, "threats", "threats must be others than the ball in linf"),
        ({"threats": ["jpeg"], "gate": ["patch"]}, "gate", r"gate must be among the threats \(jpeg:quality=10\)"),
        ({"gate": ["patch"]}, "gate", r"gate must be among the threats \(none\)"),
        ({"threats": "jpeg"}, "threats", "threats must be a list"),
        ({"threats": [5]}, "threats", 'threats must be texts such as "patch:area=2%"; got 5'),
        ({"threats": ["jpeg"] * 17}, "threats", "threats must be a list of 0 to 16; got"),
    ],
)
def test_requests_that_do_not_fit_together_are_named(request_: dict[str, Any], argument: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        AuditRequest(**request_)
    assert caught.value.argument == argument
