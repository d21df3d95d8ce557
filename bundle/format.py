"""The bundle: the folder that is deployed, and the only thing serving and auditing ever read.

    manifest.json     what the model is, where it comes from, and the sha256 of every other file
    manifest.json.sig optional: a signature of the manifest, see f2at.bundle.signatures
    model.sig         optional: a signature in the format of OpenSSF Model Signing, see f2at.bundle.oms
    classifier.onnx   images uint8 (N,H,W,3) -> logits float32 (N,C); in float32, or rounded to int8
    gradient.onnx     images float32 (N,3,H,W) in [0,1], labels, targets int64 (N,), weights float32 (N,J)
                      -> logits (N,C), objectives (N,J), gradient (N,3,H,W)
    reference.npz     images uint8 (N,H,W,3), labels int64 (N,): labelled test images, the default audit set

Files are read once: the bytes that were verified are the bytes that are used. This module needs no PyTorch.
"""

import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from f2at.bundle.onnx_check import OnnxError, check_interface, check_same_weights, parse_model
from f2at.bundle.places import without_places
from f2at.command_line import next_step
from f2at.images.labelled import check_names
from f2at.images.preparation import Preparation
from f2at.images.sets.npz import read_labelled

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
SIGNATURE = f"{MANIFEST}.sig"
MODEL_SIGNATURE = "model.sig"
SIGNATURES = (SIGNATURE, MODEL_SIGNATURE)
CLASSIFIER = "classifier.onnx"
GRADIENT = "gradient.onnx"
REFERENCE = "reference.npz"
PRECISIONS = ("float32", "int8")
_FILES = (CLASSIFIER, GRADIENT, REFERENCE)
_MANIFEST_LIMIT = 4 << 20  # bytes; a manifest is a few kilobytes
_REFERENCE_LIMIT = 1 << 30  # bytes of the unpacked images and labels
_T = TypeVar("_T")


class BundleError(ValueError):
    """A bundle that is refused, with the reason and the remedy in one line."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle. `files` holds the verified bytes, `digest` ("sha256:<hex>") names all of it."""

    path: Path
    manifest: Mapping[str, Any]
    digest: str
    files: Mapping[str, bytes]

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the logits."""
        return tuple(self.manifest["classes"])

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images in pixels."""
        height, width = self.manifest["input_size"]
        return height, width

    @cached_property
    def preparation(self) -> Preparation:
        """How a picture of any size becomes one that the model was trained on."""
        return Preparation.of(self.input_size, self.manifest.get("preprocessing", {}))

    @property
    def precision(self) -> str:
        """What the classifier computes in: "float32", or "int8" with the gradient graph's weights rounded to it."""
        return str(self.manifest.get("precision", PRECISIONS[0]))

    @property
    def manifest_bytes(self) -> bytes:
        """The manifest as it is in its file; what a signature signs."""
        return _canonical(self.manifest)

    def reference(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The labelled test images: uint8 (N,H,W,3) and int64 (N,)."""
        size, classes = self.input_size, len(self.classes)
        packed = io.BytesIO(self.files[REFERENCE])
        images, labels = read_labelled(packed, name="reference", size=size, classes=classes, most=_REFERENCE_LIMIT)
        if labels.dtype != np.int64:
            raise BundleError(f"reference labels must be int64; got {labels.dtype}")
        return images, labels


def load_bundle(path: str | Path) -> Bundle:
    """Read and verify the bundle in folder `path`.

    Raises:
        BundleError: a file is missing, too large or altered by as much as a byte; the schema is unknown; a
            graph is not valid ONNX, reads tensors from other files, or has other inputs and outputs than
            documented; the two graphs do not hold the same weights, up to rounding where the classifier's are integers.
    """
    path = Path(path)
    check_folder(path)
    try:
        return _load(path)
    except (BundleError, OnnxError) as error:
        raise BundleError(f"{path}: {error}; export the bundle again") from error


def write_bundle(
    path: str | Path,
    *,
    manifest: Mapping[str, Any],
    classifier: bytes,
    gradient: bytes,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle to folder `path`, whole or not at all, and return it as `load_bundle` reads it.

    Args:
        path: the folder to create.
        manifest: JSON-able; at least `classes` (names), `input_size` ([height, width]) and `objectives` (names);
            `preprocessing` with the `fit` and `interpolation` of a `Preparation`, unless pictures are squashed. The
            schema version, the sha256 of the files and the digest are added here; where a `recipe` says places, the
            names are kept.
        classifier: serialised classifier graph.
        gradient: serialised gradient graph.
        images: uint8 (N,H,W,3), test images.
        labels: int64 (N,), their classes.
        overwrite: replace a bundle that is already there.

    Raises:
        BundleError: `path` exists (and is not a bundle, or `overwrite` is false), or the parts make no valid
            bundle.
    """
    path = Path(path)
    check_destination(path, overwrite=overwrite)
    reference = io.BytesIO()
    np.savez_compressed(reference, images=images, labels=labels)
    files = {CLASSIFIER: classifier, GRADIENT: gradient, REFERENCE: reference.getvalue()}
    entries = {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()}
    sealed = _seal({**without_places(manifest), "schema_version": SCHEMA_VERSION, "files": entries})

    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    staging.mkdir(parents=True)
    try:
        for name, data in {**files, MANIFEST: _canonical(sealed)}.items():
            (staging / name).write_bytes(data)
        bundle = load_bundle(staging)
        if path.exists():
            retired = path.rename(f"{staging}.old")
            staging.rename(path)
            shutil.rmtree(retired)
        else:
            staging.rename(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return replace(bundle, path=path)


def check_destination(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that `write_bundle` would refuse to write to.

    Raises:
        BundleError: it exists and is not a bundle, holds something else beside one, or `overwrite` is false.
    """
    if path.exists() and not (path / MANIFEST).is_file():
        raise BundleError(f"{path} exists and is not a bundle: choose another folder")
    if path.exists() and not overwrite:
        raise BundleError(f"{path} exists: choose another folder, or say --overwrite")
    parts = {MANIFEST, *SIGNATURES, *_FILES}
    foreign = sorted({file.name for file in path.iterdir()} - parts) if path.exists() else []
    if foreign:
        raise BundleError(f"{path} also holds {foreign[0]}, which is no part of a bundle: move it away first")


def check_folder(path: Path) -> None:
    """Call what is no bundle by its name.

    Raises:
        BundleError: there is no such folder, or it is a training run, half a bundle, or something else.
    """
    if path.is_file():
        raise BundleError(f"{path} is a file; a bundle is a folder that `f2at export` wrote")
    if not path.is_dir():
        raise BundleError(f"{path}: there is no such folder; a bundle is a folder that `f2at export` wrote")
    missing = [name for name in (MANIFEST, *_FILES) if not (path / name).is_file()]
    if MANIFEST in missing and any(path.glob("*.safetensors")):  # a run has a reference.npz, too
        export = next_step("export", path, "--output", f"bundles/{path.name}")
        raise BundleError(f"{path} is a training run, not a bundle; {export}")
    if len(missing) == 1 + len(_FILES):
        raise BundleError(f"{path} is no bundle: it holds none of {MANIFEST}, {', '.join(_FILES)}")
    if missing:
        raise BundleError(f"{path} is half a bundle: {' and '.join(missing)} missing; export the bundle again")


def _load(path: Path) -> Bundle:
    raw = _read(path / MANIFEST, _MANIFEST_LIMIT)
    manifest = _parse_manifest(raw)
    files = {name: _read(path / name, manifest["files"][name]["bytes"]) for name in _FILES}
    for name, data in files.items():
        if _sha256(data) != manifest["files"][name]["sha256"]:
            raise BundleError(f"{name} is not the file the manifest describes (its sha256 differs)")
    bundle = Bundle(path=path, manifest=manifest, digest=manifest["digest"], files=files)

    classifier, gradient = parse_model(CLASSIFIER, files[CLASSIFIER]), parse_model(GRADIENT, files[GRADIENT])
    height, width = bundle.input_size
    classes = len(bundle.classes)
    check_interface(
        CLASSIFIER,
        classifier,
        inputs={"images": ("uint8", (None, height, width, 3))},
        outputs={"logits": ("float32", (None, classes))},
    )
    check_interface(
        GRADIENT,
        gradient,
        inputs={
            "images": ("float32", (None, 3, height, width)),
            "labels": ("int64", (None,)),
            "targets": ("int64", (None,)),
            "weights": ("float32", (None, len(manifest["objectives"]))),
        },
        outputs={
            "logits": ("float32", (None, classes)),
            "objectives": ("float32", (None, len(manifest["objectives"]))),
            "gradient": ("float32", (None, 3, height, width)),
        },
    )
    found = PRECISIONS[check_same_weights(classifier, gradient)]
    if bundle.precision != found:
        raise BundleError(f"the precision of {CLASSIFIER} is {found}, the manifest says {bundle.precision}")
    try:
        bundle.reference()
    except (ValueError, OSError) as error:
        raise BundleError(f"{REFERENCE}: {error}") from error
    return bundle


def _parse_manifest(raw: bytes) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(raw)
        canonical = _canonical(_seal(manifest)) if isinstance(manifest, dict) else b""
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is not JSON ({error})") from error
    # The bytes, not just their meaning: a manifest that reads the same but is written differently is refused too.
    if raw != canonical:
        raise BundleError(f"{MANIFEST} was altered (its digest does not match)")
    if manifest.get("schema_version") != SCHEMA_VERSION:
        found = manifest.get("schema_version")
        raise BundleError(f"{MANIFEST} has schema version {found}, this version reads {SCHEMA_VERSION}")

    classes, size, objectives, files = map(manifest.get, ("classes", "input_size", "objectives", "files"))
    if not _is_list(classes, str) or not 2 <= len(set(classes)) == len(classes):
        raise BundleError(f"classes must be two or more distinct names; got {classes!r}")
    try:
        check_names(classes)
    except ValueError as error:
        raise BundleError(str(error)) from error
    if not _is_list(size, int) or len(size) != 2 or min(size) < 1:
        raise BundleError(f"input_size must be [height, width] in pixels; got {size!r}")
    try:
        Preparation.of((size[0], size[1]), manifest.get("preprocessing", {}))
    except ValueError as error:
        raise BundleError(f"preprocessing: {error}") from error
    if not _is_list(objectives, str):
        raise BundleError(f"objectives must be a list of names; got {objectives!r}")
    if not isinstance(files, dict) or sorted(files) != sorted(_FILES):
        raise BundleError(f"files must describe {', '.join(_FILES)}; got {files!r}")
    for name, entry in files.items():
        if not isinstance(entry, dict) or {key: type(entry[key]) for key in entry} != {
            "bytes": int,
            "sha256": str,
        }:
            raise BundleError(f"files: {name} must have bytes and sha256; got {entry!r}")
    return manifest


def _read(file: Path, limit: int) -> bytes:
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise BundleError(f"{file.name} cannot be read ({error.strerror})") from error
    if len(data) > limit:
        raise BundleError(f"{file.name} is larger than the {limit} bytes expected")
    return data


def _seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own digest: the sha256 of its canonical form without that field."""
    body = {name: value for name, value in manifest.items() if name != "digest"}
    return {**body, "digest": f"sha256:{_sha256(_canonical(body))}"}


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, sort_keys=True, indent=2, allow_nan=False) + "\n").encode("ascii")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_list(values: object, kind: type[_T]) -> TypeGuard[list[_T]]:
    return isinstance(values, list) and all(type(value) is kind for value in values)
