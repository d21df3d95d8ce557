"""Names and numbers as MITRE ATLAS and NIST AI 100-2 E2025 have them."""

import pytest

from f2at.attacks.registry import ATTACKS
from f2at.audit.provenance.techniques import techniques
from f2at.audit.suites import SUITES

WHITE = [
    ("MITRE ATLAS", "AML.T0043.000", "Craft Adversarial Data: White-Box Optimization"),
    ("NIST AI 100-2 E2025", "NISTAML.022", "Evasion"),
]
BLACK = [
    ("MITRE ATLAS", "AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization"),
    ("NIST AI 100-2 E2025", "NISTAML.025", "Black-box Evasion"),
]
TRANSFER = [("MITRE ATLAS", "AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer"), WHITE[1]]


@pytest.mark.parametrize(
    ("suite", "expected"),
    [("standard", [*WHITE, *BLACK]), ("transfer", TRANSFER), ("black-box", BLACK), ("labels", BLACK)],
)
def test_a_suite_is_what_its_attacks_are(suite: str, expected: list[tuple[str, str, str]]) -> None:
    assert [tuple(entry.values()) for entry in techniques(SUITES[suite].attacks)] == expected


def test_every_attack_has_a_name_in_both_catalogues() -> None:
    for attack in ATTACKS.values():
        assert len({entry["framework"] for entry in techniques([attack])}) == 2
