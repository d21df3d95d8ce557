"""The examples of README.md and of docs/, for tests that run them as they are printed."""

import re
import shlex
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def blocks(language: str, *, page: str = "README.md", title: str | None = None) -> list[str]:
    """The code blocks of this language on a page; with `title`, in its paragraph **title.** or section of that name.

    A paragraph ends at the next that has a title, a section at the next heading.
    """
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    if title is not None:
        begin = re.search(rf"^(\*\*|#+ ){re.escape(title)}(\.\*\*|$)", text, re.MULTILINE)
        assert begin, f"{page} has no {title}"
        rest = text[begin.end() :]
        end = re.search(r"^(\*\*|#+ )" if begin[1] == "**" else r"^#+ ", rest, re.MULTILINE)
        text = rest[: end.start()] if end else rest
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(command: str, *, page: str = "README.md", title: str | None = None) -> list[list[str]]:
    """The arguments of every `f2at command ...` in the shell blocks there, in order, the command itself first."""
    lines = "".join(blocks("sh", page=page, title=title)).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in found if words[:2] == ["f2at", command]]
