"""The preprocessing that somebody forgot is found by what the usual others make of the same images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from f2at.__main__ import main
from f2at.audit.opening.preprocessing import compare_preprocessings
from f2at.gradient.classifier import read_classifier
from f2at.images.pixels import Images, Labels
from tests.gradient.networks import HEAD, SIDE, logits_of, network

Scaling = dict[str, Any]

IMAGENET: Scaling = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "scale": 1.0}
UNIT: Scaling = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "scale": 1.0}
LEVELS: Scaling = {**UNIT, "scale": 255.0}
SYMMETRIC: Scaling = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "scale": 1.0}
ALL = {
    "ImageNet's mean and std": IMAGENET,
    "pixels in [0, 1]": UNIT,
    "levels from 0 to 255": LEVELS,
    "pixels in [-1, 1]": SYMMETRIC,
}


def entered(images: Images, scaling: Scaling, channels: str) -> NDArray[np.float64]:
    pixels = (np.asarray(scaling["scale"]) * images / 255 - np.asarray(scaling["mean"])) / np.asarray(scaling["std"])
    return np.asarray((pixels if channels == "rgb" else pixels[..., ::-1]).transpose(0, 3, 1, 2))


def a_head(scaling: Scaling, channels: str) -> NDArray[np.float32]:
    """The linear layer, turned so that each class has images under this preprocessing."""
    features = logits_of(entered(coloured(), scaling, channels), np.eye(5))
    centre = features.mean(axis=0)
    return np.asarray(HEAD - np.outer(centre, centre @ HEAD) / (centre @ centre), np.float32)


def coloured() -> Images:
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (100, 1, 1, 3)) + rng.integers(-40, 41, (100, SIDE, SIDE, 3))
    return colours.clip(0, 255).astype(np.uint8)


def labelled(scaling: Scaling, channels: str) -> tuple[Images, Labels, NDArray[np.float32]]:
    head = a_head(scaling, channels)
    return coloured(), logits_of(entered(coloured(), scaling, channels), head).argmax(axis=1), head


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("name", ALL)
def test_what_the_model_was_trained_with_is_found(name: str, channels: str) -> None:
    images, labels, head = labelled(ALL[name], channels)
    model = network(head=head)
    for given in ALL.values():
        classifier = read_classifier(model, size=(SIDE, SIDE), **given)
        found = compare_preprocessings(model, None, classifier.entry, classifier.reading, images, labels, threads=1)
        if given is ALL[name] and channels == "rgb":
            assert found["given"] == {"name": f"{name}, rgb", "correct": 100}
            assert found["best"] is None
        elif found["given"]["correct"] <= 90:
            assert found["best"]["name"] == f"{name}, {channels}"
            assert found["best"]["correct"] == 100
            assert found["best"]["only_best"] == 100 - found["given"]["correct"]
            assert found["best"]["only_given"] == 0


def test_one_output_is_read_as_two_classes() -> None:
    images = coloured()
    head = (a_head(IMAGENET, "rgb") @ [[1], [-1], [0], [0]]).astype(np.float32)
    labels = (logits_of(entered(images, IMAGENET, "rgb"), head)[:, 0] > 0).astype(np.int64)
    tails: list[list[tuple[str, dict[str, Any]]]] = [[], [("Sigmoid", {})]]
    for tail in tails:
        model = network(head=head, tail=tail)
        classifier = read_classifier(model, scale=255.0, scores=None if tail else "logits")
        found = compare_preprocessings(model, None, classifier.entry, classifier.reading, images, labels, threads=1)
        assert found["best"]["name"] == "ImageNet's mean and std, rgb"
        assert found["best"]["correct"] == 100


def test_a_graph_of_8_bit_pixels_may_want_other_colours_only() -> None:
    images, labels, head = labelled(LEVELS, "bgr")
    model = network(head=head, dtype=TensorProto.UINT8, shape=("N", SIDE, SIDE, 3))
    classifier = read_classifier(model)
    found = compare_preprocessings(model, None, classifier.entry, classifier.reading, images, labels, threads=1)
    assert (found["best"]["name"], found["best"]["correct"]) == ("8-bit pixels, bgr", 100)


def test_the_report_says_so_with_both_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("F2AT_CACHE", str(tmp_path / "cache"))
    images, labels, head = labelled(IMAGENET, "rgb")
    onnx.save(network(head=head), tmp_path / "model.onnx")
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    command = ["audit", str(tmp_path / "model.onnx"), "--data", str(tmp_path / "images.npz"), "--attack", "fgsm"]
    command += ["--eps", "1/255", "--samples", "60", "--quiet", "--threads", "1", "--no-curve", "--overwrite"]

    def audited(*options: str) -> tuple[dict[str, str | bool], str]:
        assert main([*command, "--output", str(tmp_path / "report.json"), *options]) == 0
        report = json.loads((tmp_path / "report.json").read_text())
        flag = next(flag for flag in report["flags"] if flag["name"] == "preprocessing_forgotten")
        right = report["clean"]["k"]
        assert flag["evidence"].startswith(f"{right} of 60 are right with ")
        return flag, capsys.readouterr().out

    flag, printed = audited("--scale", "255")
    assert flag["raised"]
    assert str(flag["evidence"]).endswith(
        "levels from 0 to 255, rgb, as given, and 60 with ImageNet's mean and std, rgb "
        "(--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225)"
    )
    assert f"flag: Another preprocessing makes far more of the same images ({flag['evidence']})" in printed
    flag, printed = audited("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    assert flag["raised"] is False
    assert (
        flag["evidence"] == "60 of 60 are right with ImageNet's mean and std, rgb, as given; no other can be far better"
    )
