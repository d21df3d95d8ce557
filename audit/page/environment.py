"""The templates of pages, and the words that they may use."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from f2at.audit.page import words


@cache
def environment() -> Environment:
    """Kept, so that the templates are compiled once."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": words.percent,
        "parameters": words.parameters,
        "count": words.count,
        "shell": words.shell,
        "prose": _prose,
        "paper": _paper,
    }
    return made


def _prose(text: str) -> Markup:
    """Text in which no option of a command breaks at its dashes."""
    return Markup(re.sub(r"--[a-z][a-z-]*", r'<span class="nowrap">\g<0></span>', str(escape(text))))


def _paper(address: str) -> str:
    """A source as one cites it in print: the page itself names no address that a browser could follow."""
    return re.sub(r"^(https?://)?(www\.)?", "", address).replace("arxiv.org/abs/", "arXiv:")
