"""The bundles in the repository: complete, small, and with cards that state what was measured."""

import json
import subprocess
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from f2at.audit.reports.schema import report_schema
from f2at.bundle.format import CLASSIFIER, load_bundle
from f2at.bundle.places import without_places
from f2at.bundle.runtime import create_session

ZOO = Path(__file__).parents[1] / "zoo"
MODELS = sorted(path for path in ZOO.iterdir() if path.is_dir())


def test_there_is_a_model() -> None:
    assert [path.name for path in MODELS] == ["cifar10", "cifar10-small"]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_a_bundle_is_whole_and_small(path: Path) -> None:
    load_bundle(path)
    assert sum(file.stat().st_size for file in path.iterdir()) < 30e6


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_neither_manifest_nor_report_says_where_files_were(path: Path) -> None:
    manifest, report = (json.loads((path / name).read_text()) for name in ("manifest.json", "audit.json"))
    for described in (manifest, report["model"]["manifest"]):
        assert without_places(described) == described
        assert "/" not in described["recipe"]["data"]["root"]
    assert [file["name"] for file in report["repeat"]["files"]] == [path.name]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_the_audit_is_of_this_bundle(path: Path) -> None:
    bundle, report = load_bundle(path), json.loads((path / "audit.json").read_text())
    jsonschema.validate(report, report_schema())
    assert report["model"]["digest"] == bundle.digest
    assert not any(flag["raised"] for flag in report["flags"])
    images, labels = bundle.reference()
    session = create_session(bundle.files[CLASSIFIER], threads=1)
    predictions = np.concatenate(
        [session.run(["logits"], {"images": part})[0].argmax(1) for part in np.array_split(images, 10)]
    )
    assert report["clean"]["k"] == int((predictions == labels).sum())
    assert report["clean"]["n"] == len(labels)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_the_card_says_what_was_measured(path: Path) -> None:
    card, report = (path / "README.md").read_text(), json.loads((path / "audit.json").read_text())
    assert report["model"]["digest"] in card
    for name in ("clean", "robust"):
        accuracy = report[name]
        assert f"{100 * accuracy['value']:.1f} % [{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}]" in card


def test_make_serves_it() -> None:
    words = ["make", "--dry-run", "--directory", str(ZOO.parent), "serve", "MODEL=cifar10"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout
    assert "bin/f2at serve zoo/cifar10\n" in printed
