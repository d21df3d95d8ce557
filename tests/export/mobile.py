"""A small classifier as another framework would export it: depthwise convolutions, BatchNorm, a softmax at the end."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

NAMES = ("cat", "dog", "owl")
SIDE = 12
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
OPTIONS: dict[str, Any] = {"classes": NAMES, "mean": MEAN, "std": STD}


def mobile(batch: int | str = "batch") -> onnx.ModelProto:
    """Images (N, 3, 12, 12), normalised -> probabilities (N, 3)."""
    rng = np.random.default_rng(5)
    constants: dict[str, NDArray[Any]] = {
        "stem": rng.normal(size=(8, 3, 3, 3)) / 4,
        "deep": rng.normal(size=(8, 1, 3, 3)) / 2,
        "head": 3 * rng.normal(size=(len(NAMES), 8)),
        "bias": np.array([1.2, 0.0, -0.7]),  # so that each class has images
    }
    for norm in ("n1", "n2"):
        constants |= {f"{norm}.{part}": rng.uniform(0.5, 1.5, 8) for part in ("scale", "mean", "variance")}
        constants[f"{norm}.shift"] = rng.normal(size=8) / 5
    norms = {norm: [f"{norm}.{part}" for part in ("scale", "shift", "mean", "variance")] for norm in ("n1", "n2")}
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["a", *norms["n1"]], ["b"]),
        helper.make_node("HardSwish", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "deep"], ["d"], pads=[1, 1, 1, 1], group=8),
        helper.make_node("BatchNormalization", ["d", *norms["n2"]], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("MaxPool", ["f"], ["g"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["g"], ["h"]),
        helper.make_node("Flatten", ["h"], ["i"]),
        helper.make_node("Gemm", ["i", "head", "bias"], ["j"], transB=1),
        helper.make_node("Softmax", ["j"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "mobile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, len(NAMES)])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write(folder: Path, model: onnx.ModelProto | None = None, count: int = 60) -> tuple[Path, Path]:
    """The file, and labelled images for it: its own answers, for images that are not all of one class."""
    folder.mkdir(parents=True, exist_ok=True)
    path, data = folder / "mobile.onnx", folder / "images.npz"
    onnx.save(mobile() if model is None else model, path)
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 256, (count, 1, 1, 3)) + rng.integers(-60, 61, (count, SIDE, SIDE, 3))
    images = colours.clip(0, 255).astype(np.uint8)
    np.savez(data, images=images, labels=said(mobile(), images).argmax(axis=1))
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n")
    return path, data


def said(model: onnx.ModelProto, images: NDArray[np.uint8], *, quiet: bool = False) -> NDArray[np.float32]:
    """What the file says of images, prepared by hand; `quiet`: without ONNX Runtime's optimisation."""
    pixels = (images / 255 - np.array(MEAN)) / np.array(STD)
    options = onnxruntime.SessionOptions()
    if quiet:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(None, {"x": pixels.transpose(0, 3, 1, 2).astype(np.float32)})[0]
    return answer
