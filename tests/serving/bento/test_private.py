"""The list of private and undocumented interfaces in serving/bento/__init__.py is complete."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from f2at.serving import bento

SERVING = Path(__file__).parents[3] / "serving"
ROWS = [re.split(r"  +", line.strip()) for line in (bento.__doc__ or "").splitlines() if line.startswith("    ")]
PRIVATE, UNDOCUMENTED = ([row for row in ROWS if ("._" in row[0]) is private] for private in (True, False))


def private_uses(path: Path) -> Iterator[str]:
    """Names with a leading underscore that a file uses from other modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="ascii"))):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
            owner = ast.unparse(node.value)
            name = f"{owner}.{node.attr}"
            if owner not in ("self", "cls") and name != "os._exit":  # which is documented
                yield name
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                if any(part.startswith("_") and not part.endswith("__") for part in name.split(".")):
                    yield name
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if "._" in f".{alias.name}")


def test_what_has_an_underscore_is_on_the_list() -> None:
    found = {(name, str(path.relative_to(SERVING))) for path in SERVING.rglob("*.py") for name in private_uses(path)}
    assert found == {(name, file) for name, file, _ in PRIVATE}


@pytest.mark.parametrize("row", UNDOCUMENTED, ids=lambda row: row[0])
def test_what_is_on_the_list_is_used(row: list[str]) -> None:
    name, file, _ = row
    assert name.strip('"') in (SERVING / file).read_text(encoding="ascii")


def test_only_bento_and_the_service_know_what_serves_them() -> None:
    def imports(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text(encoding="ascii"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]

    users = {
        path.relative_to(SERVING).parts[0]
        for path in SERVING.rglob("*.py")
        if {"bentoml", "uvicorn", "circus", "_bentoml_sdk", "_bentoml_impl"} & set(imports(path))
    }
    assert users == {"bento", "service.py"}
