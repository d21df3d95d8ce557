"""The end of every export, wherever the graphs come from: rounded if asked, described, and written as a bundle."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from f2at.attacks.objectives import OBJECTIVES
from f2at.bundle.format import PRECISIONS, Bundle, check_destination, write_bundle
from f2at.images.pixels import Images, Labels


def check_request(output: Path, *, precision: str, overwrite: bool) -> None:
    """Refuse what `write_export` would refuse, before there is anything to write.

    Raises:
        ValueError: there is no such precision, or the folder cannot be written to (BundleError).
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    check_destination(output, overwrite=overwrite)


def write_export(
    output: Path,
    *,
    manifest: Mapping[str, Any],
    classifier: bytes,
    gradient: bytes,
    images: Images,
    labels: Labels,
    precision: str,
    overwrite: bool,
) -> Bundle:
    """Write a bundle of two graphs that are proven equal to what they come from.

    Args:
        output: the folder.
        manifest: what the model is, and the proof.
        classifier, gradient: the graphs, in float32 unless the model itself is not.
        images, labels: the reference; the first 512 images give the ranges of int8.
        precision: of the classifier: "float32", or "int8" to round it.
        overwrite: replace a bundle that is there.
    """
    described = {
        **manifest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "objectives": list(OBJECTIVES),
        "precision": manifest.get("precision", precision),
    }
    if precision == "int8":
        from f2at.export.quantize import CALIBRATION_IMAGES, compare, quantize  # seconds that others need not wait

        seen = images[:CALIBRATION_IMAGES]
        exact, classifier = classifier, quantize(classifier, seen)
        described["quantization"] = {"calibration_images": len(seen), **compare(exact, classifier, images, labels)}
    versions = manifest.get("versions", {})
    described["versions"] = {**versions, "export": {**versions.get("export", {}), **_versions()}}
    return write_bundle(
        output,
        manifest=described,
        classifier=classifier,
        gradient=gradient,
        images=images,
        labels=labels,
        overwrite=overwrite,
    )


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
