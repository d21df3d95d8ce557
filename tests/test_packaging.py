"""What is stated twice, for two tools, must agree."""

import platform
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PackageMetadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.closure import closure, installed_requirements, render, serving_requirements

REPOSITORY = Path(__file__).parents[1]


def test_the_image_gets_what_was_tested() -> None:
    """deploy/requirements.txt is what serving needs, at the versions of constraints.txt; PyTorch is not included."""
    bento = yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())
    pinned = pins(bento["python"]["requirements_txt"])
    tested = pins("constraints.txt")
    assert {name: tested.get(name) for name in pinned if name != "onnxruntime"} == {
        name: version for name, version in pinned.items() if name != "onnxruntime"
    }
    assert {canonicalize_name(requirement.name) for requirement in serving_requirements()} <= set(pinned)
    assert not any(re.match(r"torch|lightning|safetensors|scikit|nvidia-c", name) for name in pinned)


@pytest.mark.skipif(
    (platform.system(), platform.machine(), sys.version_info[:2]) != ("Linux", "x86_64", (3, 11)),
    reason="the file is made for what the image has: Python 3.11 on Linux, x86-64",
)
def test_the_requirements_of_the_image_are_up_to_date() -> None:
    assert (REPOSITORY / "deploy" / "requirements.txt").read_text() == render(), "run `make requirements`"


def pins(file: str) -> dict[str, str]:
    """Versions by canonical name; every line must pin one."""
    lines = [line for line in (REPOSITORY / file).read_text().splitlines() if line and not line.startswith("#")]
    parsed = [Requirement(line) for line in lines]
    assert all([item.operator for item in requirement.specifier] == ["=="] for requirement in parsed)
    return {canonicalize_name(item.name): next(iter(item.specifier)).version for item in parsed}


def test_every_licence_in_the_image_is_one_we_accept() -> None:
    """A new dependency whose licence is not in the list is a decision for a person."""
    found = {name: licences(package.metadata) for name, package in closure(installed_requirements()).items()}
    assert not {name: stated for name, stated in found.items() if not stated <= ACCEPTED}


# As packages spell them: SPDX expressions by their parts, classifiers, and free text. LGPL is psycopg's, which is
# installed unmodified and imported; MPL is by file.
ACCEPTED = {
    *("MIT", "MIT License", "MIT-0", "MIT-CMU", "0BSD", "CC0-1.0", "Zlib"),
    *("BSD License", "3-Clause BSD License", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear"),
    *("Apache-2.0", "Apache License 2.0", "Apache Software License"),
    *("PSF-2.0", "Python Software Foundation License"),
    *("MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)", "LGPL-3.0-only"),
}


def licences(metadata: PackageMetadata) -> set[str]:
    """The licences that a package states, in the newest way that it does; never none."""
    if "License-Expression" not in metadata:
        titles = [
            text for text in metadata.get_all("Classifier") or () if text.startswith("License :: OSI Approved ::")
        ]
        if titles:
            return {title.rpartition(" :: ")[2] for title in titles}
    expression = metadata["License-Expression"] if "License-Expression" in metadata else metadata["License"]
    return set(re.split(" AND | OR ", expression))


def test_the_wheel_holds_every_file_of_the_packages_and_a_bento_takes_that_wheel(tmp_path: Path) -> None:
    """Real files, instead of the checkout's links, with all the data that the code reads."""
    build = ["hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run([sys.executable, "-m", *build], cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    assert yaml.safe_load((REPOSITORY / "bentofile.yaml").read_text())["python"]["wheels"] == [f"dist/{wheel.name}"]
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    packages = {path.name for path in (REPOSITORY / "f2at").iterdir() if path.is_symlink()}
    needed = {f"f2at/{name}" for name in listed.splitlines() if name.split("/")[0] in packages}
    with zipfile.ZipFile(wheel) as archive:
        assert needed <= set(archive.namelist())
