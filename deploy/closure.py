"""The packages that serving needs, with those that they need in turn, at the versions installed here.

    python deploy/closure.py > deploy/requirements.txt

The image installs exactly these: what was tested is what is deployed.
"""

import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_HEADER = """\
# Every package of the serving image at the version that was tested: `make requirements` writes this file.
"""
# The same release under two names: the one installed here brings CUDA, and exists for x86-64 alone.
_GPU, _CPU = "onnxruntime-gpu", "onnxruntime"
_X86 = "platform_system == 'Linux' and platform_machine == 'x86_64'"
_NOT_X86 = "platform_system != 'Linux' or platform_machine != 'x86_64'"


def serving_requirements() -> list[Requirement]:
    """The base dependencies of pyproject.toml and its extra `serve`."""
    project = tomllib.loads(_PROJECT.read_text())["project"]
    return [Requirement(text) for text in (*project["dependencies"], *project["optional-dependencies"]["serve"])]


def installed_requirements() -> list[Requirement]:
    """Those of them that are meant for this platform."""
    return [item for item in serving_requirements() if item.marker is None or item.marker.evaluate()]


def closure(requirements: list[Requirement]) -> dict[str, Distribution]:
    """What is installed here for `requirements` and all that they require, by canonical name.

    Raises:
        PackageNotFoundError: a package is not installed.
    """
    found: dict[str, Distribution] = {}
    waiting, seen = list(requirements), set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) not in seen:
            seen.add((name, extras))
            found[name] = distribution(name)
            waiting += _required_by(found[name], extras)
    return dict(sorted(found.items()))


def _required_by(package: Distribution, extras: frozenset[str]) -> Iterator[Requirement]:
    for text in package.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            yield requirement


def render() -> str:
    """The text of deploy/requirements.txt."""
    lines = []
    for name, package in closure(installed_requirements()).items():
        if name == _GPU:
            lines += [f"{_CPU}=={package.version}; {_NOT_X86}", f"{_GPU}=={package.version}; {_X86}"]
        else:
            lines.append(f"{name}=={package.version}")
    return _HEADER + "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
