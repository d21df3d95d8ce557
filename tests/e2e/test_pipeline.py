"""The whole path with the commands that a user types: train, export, audit offline, serve, predict, audit over HTTP."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f2at.audit.reports.report import deterministic_part
from f2at.images.png import png

REPOSITORY = Path(__file__).parents[2]
SMALL = [
    "--data.size", "8", "--data.validation", "200", "--data.reference", "60", "--model.width", "4",
    "--attack.steps", "2", "--attack.validation_steps", "2", "--attack.test_steps", "2", "--optimizer.epochs", "4",
]  # fmt: skip
REQUEST = {"suite": "quick", "eps": "16/255", "samples": 40, "seed": 3}
THREATS = ["patch:area=7%", "rotate-translate:degrees=20,shift=10%", "corruptions:severity=1"]


def command(name: str, *arguments: object) -> str:
    """Standard output of `f2at name arguments`, which must succeed."""
    words = [sys.executable, "-m", "f2at", name, *map(str, arguments)]
    result = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_from_training_to_a_report(tmp_path: Path, start_server: Callable[..., Any]) -> None:
    run, bundle, offline = tmp_path / "run", tmp_path / "bundle", tmp_path / "report.json"
    command("train", "--config", "configs/digits.toml", *SMALL, "--output", run)
    assert "parity" in command("export", run, "--output", bundle)
    flags = [word for key, value in REQUEST.items() for word in (f"--{key}", value)]
    flags += [word for threat in THREATS for word in ("--threat", threat)]
    command("audit", bundle, *flags, "--output", offline, "--quiet")
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")

    server = start_server(F2AT_BUNDLE=str(bundle))
    with np.load(bundle / "reference.npz") as reference:
        images, labels = reference["images"], reference["labels"]
    answers = [
        server.client.post("/predict", files={"image": ("digit.png", png(image), "image/png")}).json()["index"]
        for image in images
    ]
    report = server.finish(server.submit(**REQUEST, threats=THREATS)["id"])

    assert [section["threat"] for section in report["threats"]] == THREATS
    # The service's audit is the offline audit, number for number.
    at_hand = json.loads(offline.read_text())
    assert deterministic_part(report) == deterministic_part(at_hand)
    (served,), (own,) = (part["harness"]["environments"] for part in (report, at_hand))
    assert {**served, "threads": 0} == own  # a service leaves cores to predictions
    # What the report calls clean accuracy is what the service answers over HTTP.
    drawn = report["data"]["indices"]
    assert report["clean"]["k"] == sum(answers[i] == labels[i] for i in drawn)
    assert report["robust"]["k"] <= report["clean"]["k"]
    # The run's recipe and the digest travel all the way.
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["recipe"]["method"]["name"] == "f2at"
    assert report["model"]["digest"] == server.client.get("/model").json()["digest"]
