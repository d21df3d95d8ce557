"""The scripts in examples/, run as their docstrings say."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import f2at
from f2at.images.png import png

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))


def run(name: str, *arguments: object, code: int = 0) -> str:
    """What an example prints; it must end with this exit code."""
    words = [sys.executable, str(REPOSITORY / "examples" / name), *map(str, arguments)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_uses_nothing_but_the_public_face(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = {ast.unparse(node) for node in imports if "f2at" in ast.unparse(node)}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "f2at"
    }
    assert ours == {"import f2at"}
    assert used <= set(f2at.__all__)


@pytest.mark.slow
def test_train_and_audit(tmp_path: Path) -> None:
    run("train_and_audit.py", tmp_path)
    report = f2at.read_report(tmp_path / "report.json")
    assert report["model"]["digest"] == f2at.load_bundle(tmp_path / "bundle").digest
    assert report["clean"]["value"] > 0.5  # it has learned something
    assert (tmp_path / "report.html").is_file()


@pytest.mark.slow
def test_call_the_service(tmp_path: Path, server: "Server") -> None:
    image = tmp_path / "image.png"
    image.write_bytes(png(np.zeros((8, 9, 3), np.uint8)))
    printed = run("call_the_service.py", server.url, image)
    model = server.client.get("/model").json()
    label = server.predict(np.zeros((8, 9, 3), np.uint8))["label"]
    assert printed.startswith(f"image.png: {label}, by the model {model['digest']}\n")
    assert "of 20 images stand at eps 8/255" in printed


@pytest.mark.slow
def test_gate_a_pipeline(tmp_path: Path) -> None:
    """A model against itself passes; against a report in which every image stood, it fails."""
    request = f2at.AuditRequest(suite="custom", attacks=[{"name": "fgsm"}], samples=50, examples=0, curve=False)
    report = f2at.audit_bundle(REPOSITORY / "zoo" / "cifar10-small", request)
    deployed = tmp_path / "deployed.json"
    f2at.write_report(report, deployed)
    assert run("gate_a_pipeline.py", "zoo/cifar10-small", deployed).endswith("gate: pass\n")
    for sample in report["samples"]:
        sample["broken_by"] = None
        for key in [key for key in sample if key.startswith("adversarial")]:
            del sample[key]
    report["robust"] = report["clean"]
    deployed.write_text(json.dumps(report))
    assert run("gate_a_pipeline.py", "zoo/cifar10-small", deployed, code=3).endswith("gate: fail\n")
