import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from f2at.bundle.memory import bytes_per_run, images_at_once


def model(text: str, **constants: np.ndarray) -> onnx.ModelProto:
    graph = onnx.parser.parse_graph(text)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_tensors_count_while_something_still_reads_them() -> None:
    """With 100 floats each: x + x is read until the sum, so three tensors are alive there, and never four."""
    graph = model("""chain (float[N, 100] x) => (float[N, 100] y) {
        a = Add (x, x)
        b = Relu (a)
        c = Relu (b)
        d = Relu (c)
        y = Add (a, d)
    }""")
    assert bytes_per_run(graph) == 3 * 100 * 4


def test_a_tensor_that_nothing_reads_is_dropped_at_once() -> None:
    graph = model("""split (float[N, 100] x) => (float[N, 50] y) {
        a, unread = Split <axis=1, num_outputs=2> (x)
        b = Relu (a)
        y = Relu (b)
    }""")
    assert bytes_per_run(graph) == 2 * 50 * 4


def test_large_weights_give_shapes_and_no_bytes() -> None:
    graph = model(
        "linear (float[N, 100] x) => (float[N, 200] y) { y = MatMul (x, weight) }",
        weight=np.zeros((100, 200), np.float32),
    )
    assert bytes_per_run(graph) == 200 * 4


@pytest.mark.parametrize(
    ("batch", "pixels", "images"),
    [
        ("N", 1 << 20, 64),  # 4 MiB an image of 256
        (4, 1 << 20, 64),  # 16 batches of 4
        ("N", 1 << 27, 1),  # more than there is: one at a time
        (4, 1 << 27, 4),  # the only size that it takes
    ],
)
def test_images_at_once_fill_a_quarter_of_a_gigabyte(batch: str | int, pixels: int, images: int) -> None:
    graph = model(f"one (float[{batch}, {pixels}] x) => (float[{batch}, {pixels}] y) {{ y = Relu (x) }}")
    assert images_at_once(graph) == images
