"""Reports and files of the grey classifier, whose nearest errors are known by hand; see tests/audit/grey.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from f2at.audit import run_audit
from f2at.audit.reports.files import write_report
from tests.audit.grey import SIDE, THRESHOLD, grey_audit, grey_images

DISTANCES = [1 + i % 12 for i in range(36)]  # at eps 8/255 a third stand: 12 of 36


def grey_report(
    path: Path,
    distances: list[int] = DISTANCES,
    *,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    **request: Any,
) -> dict[str, Any]:
    """The report of an audit, which is written to the path, too."""
    usual = {"eps": "8/255", "suite": "custom", "attacks": [{"name": "fgsm"}], "curve": False, "accept_weak": True}
    audit = grey_audit(distances, wrap=wrap, **{**usual, **request})
    report: dict[str, Any] = audit.report(run_audit(audit), started="2026-11-30T12:00:00+00:00")
    write_report(report, path)
    return report


def grey_model(path: Path) -> Path:
    """The classifier as an ONNX file that takes floats in [0, 1], channels first."""
    weight = np.zeros((2, 3 * SIDE * SIDE), np.float32)
    weight[1] = 255 / (3 * SIDE * SIDE)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w", "b"], ["logits"], transB=1)],
        "grey",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([THRESHOLD, 0], np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def grey_data(path: Path, distances: list[int] = DISTANCES) -> Path:
    """Labelled images for it."""
    images, labels = grey_images(distances)
    np.savez(path, images=images, labels=labels)
    return path
