"""The threats by name. A new one is a class and one entry here."""

from collections.abc import Mapping
from types import MappingProxyType

from f2at.audit.provenance.notation import named_values
from f2at.audit.threats.balls import L1, L2, Linf
from f2at.audit.threats.base import Threat
from f2at.audit.threats.geometry import Turn
from f2at.audit.threats.pipeline import Brightness, Corruptions, Jpeg, Resize
from f2at.audit.threats.sparse import Patch, Pixels
from f2at.audit.threats.universal import Universal
from f2at.command_line import suggestion

THREATS: Mapping[str, type[Threat]] = MappingProxyType(
    {
        threat.name: threat
        for threat in (Linf, L2, L1, Universal, Pixels, Patch, Turn, Corruptions, Jpeg, Brightness, Resize)
    }
)


def parse_threat(text: str) -> Threat:
    """A threat as it is written: "patch:area=2%", "rotate-translate:degrees=30,shift=10%"; without values the usual.

    Raises:
        ValueError: no such threat, or values that it does not take.
    """
    name = text.partition(":")[0]
    if name not in THREATS:
        raise ValueError(f"threat must be one of {', '.join(THREATS)}; got {name!r:.40}{suggestion(name, THREATS)}")
    found = named_values(text)
    if found is None or "" in found[1].values():
        raise ValueError(f"threat must be NAME[:parameter=value,...], each parameter once; got {text!r:.80}")
    return THREATS[name].of(found[1])
