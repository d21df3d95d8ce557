"""The container image, as far as it can be tested without a container engine: its Dockerfile and its files."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from f2at.bundle.format import Bundle

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
CONTEXT = """
import shutil, sys
import bentoml
from bentoml._internal.container import construct_containerfile  # what `bentoml containerize` copies into the image
with construct_containerfile(bentoml.get("f2at:latest")) as (folder, _):
    shutil.copytree(folder, sys.argv[1])
"""


@pytest.fixture(scope="module")
def image(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is /home/bentoml/bento in the image."""
    folder = tmp_path_factory.mktemp("image")
    environment = {**os.environ, "BENTOML_HOME": str(folder / "home")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    for command in (
        ["-m", "hatchling", "build", "--target", "wheel"],
        ["-m", "f2at", "pin", str(bundle.path)],
        ["-m", "bentoml", "build"],
        ["-c", CONTEXT, str(folder / "bento")],
    ):
        subprocess.run([sys.executable, *command], cwd=REPOSITORY, env=environment, check=True, timeout=120)
    shutil.rmtree(folder / "home")  # an image has no store beside it
    (wheel,) = (folder / "bento" / "env" / "python" / "wheels").glob("f2at-*.whl")
    with zipfile.ZipFile(wheel) as archive:  # as pip installs it
        archive.extractall(folder / "site")
    return folder / "bento"


def test_the_dockerfile(image: Path) -> None:
    """A slim Python, a user who is not root, and exactly the packages that were tested."""
    dockerfile = (image / "env" / "docker" / "Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE) == ["python:3.11-slim"]
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)[-1] == "bentoml"
    assert "BENTO_USER_UID=1034" in dockerfile  # as deploy/kubernetes runs it
    installed = (image / "env" / "python" / "requirements.txt").read_text().splitlines()
    pinned = (REPOSITORY / "deploy" / "requirements.txt").read_text().splitlines()
    assert {line.replace('"', "'") for line in installed if line} == set(pinned)
    assert {path.name for path in (image / "src").iterdir()} == {"bentofile.yaml"}


def test_server_and_worker_run_from_a_read_only_image(
    image: Path, bundle: Bundle, tmp_path: Path, start_server: Callable[..., "Server"]
) -> None:
    """With the settings of deploy/kubernetes: all that is written goes below F2AT_STATE and BENTOML_HOME."""
    before = listing(image)
    environment = {"BENTO_PATH": str(image), "F2AT_BUNDLE": "", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(image.parent / "site")  # before the checkout that is installed here
    server = start_server(target=str(image), cwd=image, F2AT_WORKER="off", **environment)
    assert server.client.get("/model").json()["digest"] == bundle.digest
    identifier = server.submit(eps="1/255", samples=4)["id"]
    database = f"sqlite:///{server.environment['F2AT_STATE']}/audits.sqlite"
    (manifest, _) = yaml.safe_load_all((REPOSITORY / "deploy" / "kubernetes" / "worker.yaml").read_text())
    program, *arguments = manifest["spec"]["template"]["spec"]["containers"][0]["args"]
    worker = subprocess.Popen(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=image / "src",
        env={**server.environment, "F2AT_STATE": str(tmp_path / "state"), "F2AT_DATABASE_URL": database},
    )
    try:
        server.finish(identifier)
    finally:
        worker.terminate()
        worker.wait(30)
    server.stop()
    assert listing(image) == before


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}
