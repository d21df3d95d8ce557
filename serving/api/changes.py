"""What `POST /model` may ask for."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from f2at.arguments import NAME
from f2at.serving.model.swap import Switch
from f2at.serving.problems import Problem


def requested_change(values: dict[str, Any], switch: Switch, bundles: Path | None) -> Callable[[], object]:
    """The change that the body `values` asks `switch` for; `bundles` is the folder that a new bundle may come from.

    Raises:
        Problem: 422, the body is not a change that this server can make.
    """
    name = values.get("bundle")
    if values == {"rollback": True}:
        return switch.roll_back
    if values.keys() != {"bundle"}:
        raise Problem(
            422,
            "invalid-argument",
            'The body must be {"bundle": "<name>"} or {"rollback": true}.',
            argument="body",
            accepted=['{"bundle": "<name>"}', '{"rollback": true}'],
            received=sorted(values),
        )
    if bundles is None:
        raise Problem(
            422,
            "no-bundles",
            "This server cannot load other bundles: F2AT_BUNDLES must name the folder that contains them.",
            argument="bundle",
            accepted="nothing: this server's model is fixed",
            received=name,
        )
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Problem(
            422,
            "invalid-argument",
            "bundle must be the name of a folder in F2AT_BUNDLES: letters, digits, dots, dashes and underscores.",
            argument="bundle",
            accepted=NAME.pattern,
            received=str(name)[:80],
        )
    return partial(switch.swap, bundles / name)
