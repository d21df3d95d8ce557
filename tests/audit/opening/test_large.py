"""What opening a large file takes, in multiples of the file."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

_LAYERS, _WIDTH, _SIDE = 16, 1000, 8
_LIMIT = 8  # 6 measured; 14.7 when each graph on the way held its weights. Two sessions lay out three times the file
_SCRIPT = """
import re, sys
from pathlib import Path
from f2at.audit.opening.onnx import open_onnx
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()
open_onnx(Path(sys.argv[1]), classes=None, size=None, threads=1, scores="logits")
print((peak() - before) * 1024)
"""


def linear_layers() -> onnx.ModelProto:
    """60 MB of matrices with ReLUs between them."""
    rng = np.random.default_rng(0)
    widths = [3 * _SIDE * _SIDE, *[_WIDTH] * _LAYERS, 4]
    nodes, weights, name = [helper.make_node("Flatten", ["x"], ["y"])], [], "y"
    for number, (before, behind) in enumerate(pairwise(widths)):
        weight = (rng.normal(size=(before, behind)) / before**0.5).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{number}"], [f"z{number}"]))
        nodes.append(helper.make_node("Relu", [f"z{number}"], [f"y{number}"]))
        name = f"y{number}"
    del nodes[-1]
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, _SIDE, _SIDE])],
        [helper.make_tensor_value_info(f"z{len(weights) - 1}", TensorProto.FLOAT, ["N", 4])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak of a process's memory")
def test_opening_a_large_file_takes_a_few_times_its_size(tmp_path: Path) -> None:
    """Differentiated and proven, and read from the cache."""
    path = tmp_path / "layers.onnx"
    onnx.save(linear_layers(), path)
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", _SCRIPT, path],
            env={**os.environ, "F2AT_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert int(run.stdout) / path.stat().st_size < _LIMIT
    assert len(list((tmp_path / "cache").iterdir())) == 1
