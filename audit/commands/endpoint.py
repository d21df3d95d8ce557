"""The options that say how a model behind HTTP is asked."""

import argparse
from typing import Any

from f2at.audit.endpoint.finding import PROTOCOLS

OPTIONS = (
    "protocol",
    "field",
    "max_queries",
    "rate",
    "connections",
    "timeout",
    "patience",
    "key_header",
)


def add_endpoint_options(group: argparse._ArgumentGroup) -> None:
    """None of them has a default here: `f2at.audit.opening.endpoint.open_endpoint` has those."""
    group.add_argument(
        "--protocol", choices=PROTOCOLS, help="how images are sent (default: what the URL and the endpoint tell)"
    )
    group.add_argument("--field", metavar="NAME", help="of the form or the JSON object, that holds the image")
    group.add_argument("--max-queries", type=int, metavar="N", help="the most images to send, repeated ones included")
    group.add_argument("--rate", type=float, metavar="N", help="the most images a second")
    group.add_argument("--connections", type=int, metavar="N", help="the most requests at a time (default 4)")
    group.add_argument("--timeout", type=float, metavar="SECONDS", help="to wait for an answer (default 30)")
    group.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="to go on asking an endpoint that is busy or gone (default 60)",
    )
    group.add_argument("--key-header", metavar="NAME", help="where F2AT_ENDPOINT_KEY goes (default Authorization)")


def endpoint_options(options: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `open_endpoint` that these options give."""
    return {name: value for name in OPTIONS if (value := getattr(options, name)) is not None}
