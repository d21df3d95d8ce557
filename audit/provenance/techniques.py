"""What two catalogues call the attacks of an audit: MITRE ATLAS, and NIST AI 100-2 E2025.

NIST names evasion (NISTAML.022, section 2.2), and of it the kind that goes by answers to queries (NISTAML.025, section
2.2.2). Transferability (section 2.2.3) has no identifier there, so attacks that transfer are called evasion.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from f2at.attacks.attack import Attack

_ATLAS, _NIST = "MITRE ATLAS", "NIST AI 100-2 E2025"
_EVASION = (_NIST, "NISTAML.022", "Evasion")
_BY_KNOWLEDGE: Mapping[str, tuple[tuple[str, str, str], ...]] = MappingProxyType(
    {
        "white-box": ((_ATLAS, "AML.T0043.000", "Craft Adversarial Data: White-Box Optimization"), _EVASION),
        "black-box": (
            (_ATLAS, "AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization"),
            (_NIST, "NISTAML.025", "Black-box Evasion"),
        ),
        "transfer": ((_ATLAS, "AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer"), _EVASION),
    }
)


def techniques(attacks: Iterable[Attack]) -> list[dict[str, str]]:
    """The techniques that these attacks are, each once, JSON values: "framework", "id" and "name"."""
    found = dict.fromkeys(entry for attack in attacks for entry in _BY_KNOWLEDGE[attack.knowledge])
    return [dict(zip(("framework", "id", "name"), entry, strict=True)) for entry in found]
