"""What is said twice because two tools ask for it must be the same."""

import re
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[1]


def test_a_bento_asks_for_what_serving_asks_for() -> None:
    """The base dependencies of pyproject.toml are the packages of bentofile.yaml, and PyTorch is not among them."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    bento = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())
    assert bento["python"]["packages"] == project["dependencies"]
    assert not any(re.match(r"torch|lightning|safetensors", name) for name in project["dependencies"])


def test_every_file_that_a_bento_needs_is_included() -> None:
    """The patterns of bentofile.yaml name every module of the packages that run in production."""
    patterns = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())["include"]
    included = {file for pattern in patterns for file in REPOSITORY.glob(pattern.lstrip("/"))}
    needed = {file for package in ("serving", "attacks") for file in (REPOSITORY / package).rglob("*.py")}
    assert needed <= included
