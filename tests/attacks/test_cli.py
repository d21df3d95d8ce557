"""The command line, in a process of its own without PyTorch, on a bundle exported from a linear model."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from attacks.objectives import OBJECTIVES
from export.bundle import write_bundle
from export.graphs import export_graphs
from tests.attacks.audit.grey import SIDE, grey_images

ROOT = Path(__file__).parents[2]
DISTANCES = [1 + i % 12 for i in range(36)]
WITHOUT_TORCH = """
import runpy, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "lightning"}:
            raise ModuleNotFoundError(f"{name} is not to be imported here")
sys.meta_path.insert(0, Block())
sys.argv[0] = "attacks"
runpy.run_module("attacks", run_name="__main__", alter_sys=True)
"""
pytestmark = pytest.mark.slow  # exporting takes seconds, and so does every start of a process
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grey classifier of `tests.attacks.audit.grey` as a linear layer, exported."""
    layer = nn.Linear(3 * SIDE * SIDE, 2)
    with torch.no_grad():
        layer.weight[:] = torch.tensor([[0.0], [255 / layer.in_features]])
        layer.bias[:] = torch.tensor([100.5, 0.0])
    classifier, gradient = export_graphs(nn.Sequential(nn.Flatten(), layer).eval(), (SIDE, SIDE))
    images, labels = grey_images(DISTANCES)
    path = tmp_path_factory.mktemp("bundles") / "grey"
    manifest = {"classes": ["dark", "light"], "input_size": [SIDE, SIDE], "objectives": list(OBJECTIVES)}
    write_bundle(path, manifest=manifest, classifier=classifier, gradient=gradient, images=images, labels=labels)
    return path


@pytest.fixture
def run(bundle: Path, tmp_path: Path) -> Run:
    def run(*arguments: str, source: Path = bundle) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", WITHOUT_TORCH, str(source), "--output", str(tmp_path / "report.json")]
        return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    return run


def test_audit_of_a_bundle_without_torch(run: Run, bundle: Path, tmp_path: Path) -> None:
    done = run("--eps", "8/255", "--samples", "36", "--min-robust-accuracy", "0.1")
    assert done.returncode == 0, done.stderr
    assert "robust accuracy 33.3%, 95 % interval 20.2% to 49.7%" in done.stdout
    assert "threshold 10.0%: pass" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["clean"]["k"], report["robust"]["k"]) == (36, 12)
    assert {d["index"]: d["levels"] for d in report["curve"]["minimal_perturbations"]} == dict(enumerate(DISTANCES))
    assert [flag["name"] for flag in report["flags"] if flag["raised"]] == []
    assert report["model"]["digest"] == json.loads((bundle / "manifest.json").read_text())["digest"]
    assert report["run"]["environments"][0]["provider"].endswith("ExecutionProvider")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "light" in page
    assert report["model"]["digest"] in page

    again = run("--eps", "8/255")
    assert again.returncode == 2
    assert again.stderr.splitlines() == [
        f"error: {tmp_path / 'report.json'} exists; give --overwrite or another --output"
    ]

    fails = run("--eps", "8/255", "--samples", "20", "--min-robust-accuracy", "0.9", "--overwrite", "--quiet")
    assert (fails.returncode, fails.stderr) == (3, "")
    unclear = run("--eps", "8/255", "--min-robust-accuracy", "0.3", "--overwrite", "--quiet")
    assert unclear.returncode == 4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--eps", "0"], "eps must be > 0 and finite; got 0"),
        (["--eps", "1.5"], "eps must be at most 1 for linf (images lie in [0, 1]); got 3/2"),
        (["--samples", "37"], "samples must be at most 36, all there are; got 37"),
        (["--suite", "all"], "suite must be one of quick; got 'all'"),
        (["--threads", "-1"], "threads must be 0 (every core) or a positive number, got -1"),
    ],
)
def test_bad_input_is_one_line(run: Run, tmp_path: Path, arguments: list[str], reason: str) -> None:
    refused = run(*arguments)
    assert (refused.returncode, refused.stderr.splitlines()) == (2, [f"error: {reason}"])
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_is_refused(run: Run, tmp_path: Path) -> None:
    refused = run(source=tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "manifest.json cannot be read" in refused.stderr


def test_help_names_the_exit_codes(run: Run) -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert "3 the threshold is not met" in " ".join(shown.stdout.split())
