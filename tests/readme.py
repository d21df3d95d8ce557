"""The examples of README.md, for tests that run them as they are printed."""

import re
import shlex
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def blocks(title: str, language: str) -> list[str]:
    """The code blocks of this language in the paragraph that begins with **title.**"""
    text = README.read_text(encoding="utf-8")
    begin = text.index(f"\n**{title}.**") + 1
    end = re.compile(r"^(\*\*|#)", re.MULTILINE).search(text, begin + 2)
    part = text[begin : end.start() if end else len(text)]
    return re.findall(rf"^```{language}\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


def commands(title: str, *names: str) -> list[list[str]]:
    """The words after `f2at` of every such command in the shell blocks of that paragraph, in order: NAME ARGUMENTS."""
    lines = "".join(blocks(title, "sh")).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in found if words[:1] == ["f2at"] and words[1] in names]
