"""Files that audits are made of: the grey classifier as others export it, and its images."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.audit.grey import SIDE, grey_images

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def save_normalised(path: Path) -> Path:
    """The grey classifier as an ONNX file of floats, channels first, normalised outside of the graph."""
    weight = np.zeros((2, 3, SIDE, SIDE), np.float32)
    weight[1] = 255 / (3 * SIDE * SIDE) * np.array(STD)[:, None, None]
    bias = np.array([100.5, 255 * np.mean(MEAN)], np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1)],
        "grey",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weight.reshape(2, -1), "w"), numpy_helper.from_array(bias, "b")],
    )
    opset = [helper.make_opsetid("", 18)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())
    return path


def save_images(path: Path, distances: list[int]) -> Path:
    """Images of these distances from an error, and their labels, as an .npz file."""
    images, labels = grey_images(distances)
    np.savez(path, images=images, labels=labels)
    return path


def save_trembling(path: Path, levels: float) -> Path:
    """The grey classifier as an ONNX file of floats, both logits moved by a normal number of levels at each call."""
    weight = np.zeros((2, 3 * SIDE * SIDE), np.float32)
    weight[1] = 255 / (3 * SIDE * SIDE)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("Gemm", ["f", "w", "b"], ["still"], transB=1),
            helper.make_node("RandomNormalLike", ["still"], ["moved"], scale=levels),
            helper.make_node("Add", ["still", "moved"], ["logits"]),
        ],
        "trembling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([100.5, 0], np.float32), "b")],
    )
    opset = [helper.make_opsetid("", 18)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())
    return path
