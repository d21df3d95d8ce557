"""`assert_robust` on each kind of model, whose accuracies are known by hand: 12 of 36 images stand at eps 8/255."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from f2at.audit.reports.files import read_report
from f2at.testing import assert_robust
from tests.audit.grey import Grey, Shifted, grey_images
from tests.evidence.grey import DISTANCES, grey_data, grey_model

IMAGES, LABELS = grey_images(DISTANCES)
FGSM = [{"name": "fgsm"}]
CLASSES = ["dark", "light"]


def test_a_module_whose_interval_reaches_the_threshold_passes(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    options: dict[str, Any] = {"min_robust_accuracy": 0.2, "attacks": FGSM, "classes": CLASSES, "report": path}
    with pytest.raises(AssertionError, match="is reached, but the suite custom is weak"):
        assert_robust(Grey().eval(), IMAGES, LABELS, **options)
    found = assert_robust(Grey().eval(), IMAGES, LABELS, accept_weak=True, **options)
    assert (found["robust"]["k"], found["verdict"]["outcome"]) == (12, "pass")
    assert read_report(path) == found
    assert path.with_suffix(".html").exists()


@pytest.mark.parametrize(
    ("threshold", "why"), [(0.5, "Even the upper end of the"), (0.33, "it takes more samples to tell")]
)
def test_what_fails_or_cannot_be_told_says_figures_interval_threshold_and_report(
    threshold: float, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "report.json"
    with pytest.raises(AssertionError) as failure:
        assert_robust(
            *(Grey().eval(), IMAGES, LABELS), min_robust_accuracy=threshold, attacks=FGSM, classes=CLASSES, report=path
        )
    said = str(failure.value)
    for part in (
        why,
        f"{100 * threshold:.1f} %, stated before the run",
        "accuracy under attack 33.3 % (12 of 36, 95 % interval 20.2 % to 49.7 %)",
        f"Report: {path}",
    ):
        assert part in said
    assert read_report(path)["robust"]["k"] == 12


def test_raised_flags_are_named_and_a_report_is_kept_without_a_path() -> None:
    model = nn.Sequential(Grey(), nn.Softmax(dim=1)).eval()
    with pytest.raises(AssertionError, match=r"Read with care: The model returns probabilities, not logits") as failure:
        assert_robust(model, IMAGES, LABELS, min_robust_accuracy=0.9, attacks=FGSM, classes=CLASSES)
    place = re.search(r"Report: (.*)$", str(failure.value))
    assert place
    path = Path(place[1])
    assert read_report(path)["verdict"]["outcome"] == "fail"
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()


def test_adaptive_is_the_suite_unless_another_is_named(tmp_path: Path) -> None:
    """On an ONNX file, with data from a file: images that are far from an error."""
    model, data = grey_model(tmp_path / "model.onnx"), grey_data(tmp_path / "data.npz", [20] * 40)
    found = assert_robust(str(model), data, min_robust_accuracy=0.9, eps="2/255", threads=1, curve=False)
    assert found["request"]["suite"] == "adaptive"
    assert found["robust"]["k"] == 40
    with pytest.raises(AssertionError, match=r"by black-box attacks of the suite black-box, linf eps 21/255"):
        assert_robust(
            *(model, IMAGES, LABELS), min_robust_accuracy=0.9, eps="21/255", suite="black-box", curve=False, threads=1,
            report=tmp_path / "report.json",
        )  # fmt: skip


@pytest.mark.slow
def test_a_bundle_takes_its_own_images_or_arrays(tmp_path: Path) -> None:
    zoo = Path(__file__).parents[2] / "zoo" / "cifar10-small"
    options: dict[str, Any] = {"attacks": FGSM, "threads": 1, "examples": 0, "curve": False, "accept_weak": True}
    own = assert_robust(zoo, min_robust_accuracy=0.1, samples=60, **options)
    assert own["data"]["set_size"] == 1000
    images = np.full((60, 32, 32, 3), 128, np.uint8)
    with pytest.raises(AssertionError, match=r"(?s)0 of 60, .*Read with care: All images are of one class"):
        assert_robust(zoo, images, [0] * 60, min_robust_accuracy=0.1, report=tmp_path / "report.json", **options)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (None, {}, "model must be a bundle's folder, an ONNX file or a PyTorch module; got None"),
        (Path("model.onnx"), {}, "images must be given for an ONNX file"),
        (Path("model.onnx"), {"min_robust_accuracy": None}, "min_robust_accuracy must be a threshold from 0 to 1"),
    ],
)
def test_what_is_missing_is_named(model: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        assert_robust(model, **{"min_robust_accuracy": 0.1, **options})


def test_what_does_not_fit_together_is_no_failed_assertion() -> None:
    with pytest.raises(ValueError, match="min_robust_accuracy must be"):
        assert_robust(Grey().eval(), IMAGES, LABELS, min_robust_accuracy=1.5, classes=CLASSES)
    with pytest.raises(ValueError, match="call its eval"):
        assert_robust(Shifted(Grey(), 0), IMAGES, LABELS, min_robust_accuracy=0.5, classes=CLASSES)
