"""Bundles that are more than they seem, tried before a server takes them: real processes with real limits."""

import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from f2at.bundle.format import CLASSIFIER, GRADIENT, MANIFEST, REFERENCE, Bundle, load_bundle, write_bundle
from f2at.serving.model import trial
from f2at.serving.model.store import stored_digests, stored_path
from f2at.serving.model.trial import TrialError, try_bundle
from f2at.serving.settings import Settings

ZOO = Path(__file__).parents[3] / "zoo" / "cifar10-small"
MEMORY = 400  # MiB; a small model takes 120


@pytest.fixture(scope="module")
def served() -> Bundle:
    return load_bundle(ZOO)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path / "state", swap_memory=MEMORY, swap_seconds=60)


def trials() -> list[str]:
    """The processes of trials that are running."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if trial.__name__.encode() in words:
            found.append(file.parent.name)
    return found


def edited(served: Bundle, path: Path, change: Callable[[onnx.GraphProto], object]) -> Path:
    """The bundle with another graph of the same weights."""
    model = onnx.load_model_from_string(served.files[CLASSIFIER])
    for node in model.graph.node:
        node.output[:] = ["wanted" if name == "logits" else name for name in node.output]
    change(model.graph)
    images, labels = served.reference()
    graphs = {"classifier": model.SerializeToString(), "gradient": served.files[GRADIENT]}
    return write_bundle(path, manifest=served.manifest, images=images, labels=labels, **graphs).path


def constant(name: str, value: Any, kind: int) -> onnx.NodeProto:
    shape = np.shape(value)
    return helper.make_node("Constant", [], [name], value=helper.make_tensor("", kind, shape, np.ravel(value)))


def hungry(graph: onnx.GraphProto) -> None:
    """Takes 2 GiB to run."""
    graph.node.extend(
        [
            constant("size", [1 << 29], TensorProto.INT64),
            helper.make_node("ConstantOfShape", ["size"], ["emptiness"]),
            helper.make_node("ReduceMax", ["emptiness"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["wanted", "nothing"], ["logits"]),
        ]
    )


def endless(graph: onnx.GraphProto) -> None:
    """Never has run."""
    number, going, went = (
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("number", TensorProto.INT64), ("going", TensorProto.BOOL), ("went", TensorProto.BOOL))
    )
    before, after = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("before", "after"))
    steps = [helper.make_node("Identity", ["going"], ["went"]), helper.make_node("Neg", ["before"], ["after"])]
    body = helper.make_graph(steps, "body", [number, going, before], [went, after])
    graph.node.extend(
        [
            constant("most", (1 << 62), TensorProto.INT64),
            constant("yes", True, TensorProto.BOOL),
            helper.make_node("Loop", ["most", "yes", "wanted"], ["logits"], body=body),
        ]
    )


def heavy(served: Bundle, path: Path, megabytes: int) -> Path:
    """The bundle with a reference.npz of a few megabytes that unpacks to many."""
    shutil.copytree(served.path, path)
    count, row = megabytes * 1_000_000 // 3072, bytes(3072 * 1000)
    with zipfile.ZipFile(path / REFERENCE, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, 32, 32, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, count, 1000):
                file.write(row[: 3072 * min(1000, count - start)])
        with archive.open("labels.npy", "w") as file:
            np.lib.format.write_array(file, np.zeros(count, np.int64))
    content = (path / REFERENCE).read_bytes()
    assert len(content) < 10_000_000

    manifest = {key: value for key, value in served.manifest.items() if key != "digest"}
    manifest["files"] = manifest["files"] | {REFERENCE: {"bytes": len(content), "sha256": sha256(content).hexdigest()}}
    body = json.dumps(manifest, sort_keys=True, indent=2) + "\n"
    manifest["digest"] = f"sha256:{sha256(body.encode()).hexdigest()}"
    (path / MANIFEST).write_text(json.dumps(manifest, sort_keys=True, indent=2) + "\n")
    return path


def test_a_bundle_that_passes_is_stored(served: Bundle, settings: Settings) -> None:
    assert try_bundle(ZOO, served, settings) == served.digest
    assert load_bundle(stored_path(served.digest, settings)).digest == served.digest
    assert trials() == []


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        (  # the batch as one image
            [helper.make_node("ReduceMean", ["wanted", "place"], ["logits"], keepdims=1)],
            "(2, 10) for 2 images; got (1, 10)",
        ),
        (  # a class more
            [
                helper.make_node("ReduceMean", ["wanted", "one"], ["more"], keepdims=1),
                helper.make_node("Concat", ["wanted", "more"], ["logits"], axis=1),
            ],
            "(2, 10) for 2 images; got (2, 11)",
        ),
    ],
)
def test_one_that_answers_otherwise_than_its_graph_declares_is_refused(
    nodes: list[onnx.NodeProto], found: str, served: Bundle, settings: Settings, tmp_path: Path
) -> None:
    def change(graph: onnx.GraphProto) -> None:
        graph.node.extend([constant("place", [0], TensorProto.INT64), constant("one", [1], TensorProto.INT64), *nodes])

    with pytest.raises(TrialError, match=re.escape(found)):
        try_bundle(edited(served, tmp_path / "other", change), served, settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda served, path: edited(served, path, hungry), "it cannot be loaded and run: .*"),
        (lambda served, path: heavy(served, path, 900), "reference.npz: reference must be .*[Aa]llocate"),
        (lambda served, path: heavy(served, path, 1100), "are read at the most"),
    ],
    ids=["hungry graph", "heavy images", "heavier images"],
)
def test_one_that_takes_too_much_memory_is_refused(
    make: Callable[[Bundle, Path], Path], reason: str, served: Bundle, settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(TrialError, match=reason):
        try_bundle(make(served, tmp_path / "bundle"), served, settings)
    assert (trials(), stored_digests(settings)) == ([], [])
    assert try_bundle(ZOO, served, settings) == served.digest


@pytest.mark.slow
def test_one_that_hangs_is_ended(served: Bundle, settings: Settings, tmp_path: Path) -> None:
    folder = edited(served, tmp_path / "bundle", endless)
    begun = time.monotonic()
    with pytest.raises(TrialError, match=r"not loaded and run within 6 seconds, which F2AT_SWAP_SECONDS allows"):
        try_bundle(folder, served, settings.model_copy(update={"swap_seconds": 6}))
    assert time.monotonic() - begun < 10
    assert (trials(), stored_digests(settings)) == ([], [])
    assert try_bundle(ZOO, served, settings) == served.digest


def test_what_was_half_stored_is_deleted(
    served: Bundle, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is ended from outside, as the system does when memory is short."""
    draft = settings.state / "bundles" / ".half.0123"
    draft.mkdir(parents=True)
    (draft / MANIFEST).touch()
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho something went wrong >&2\nkill -9 $$\n")
    program.chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(program))
        with pytest.raises(TrialError, match=r"ended with signal 9 \(F2AT_SWAP_MEMORY allows 400 MiB\) something went"):
            try_bundle(ZOO, served, settings)
    assert not draft.exists()


@pytest.mark.slow
def test_it_ends_by_itself_where_nobody_waits(served: Bundle, settings: Settings, tmp_path: Path) -> None:
    """The server is killed while a bundle hangs."""
    folder = edited(served, tmp_path / "bundle", endless)
    code = (
        "import os, sys, threading; from pathlib import Path\n"
        "from f2at.bundle.format import load_bundle; from f2at.serving.model.trial import try_bundle\n"
        "from f2at.serving.settings import Settings\n"
        "served, settings = load_bundle(sys.argv[1]), Settings(state=sys.argv[3], swap_seconds=4)\n"
        "threading.Timer(3, os._exit, [9]).start()\n"
        "try_bundle(Path(sys.argv[2]), served, settings)"
    )
    words = [sys.executable, "-c", code, str(ZOO), str(folder), str(settings.state)]
    assert subprocess.run(words, cwd=ZOO.parents[1], check=False, timeout=60).returncode == 9
    assert len(trials()) == 1
    deadline = time.monotonic() + 20
    while trials():
        assert time.monotonic() < deadline
        time.sleep(0.1)
