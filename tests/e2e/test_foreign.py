"""Somebody else's ONNX file behind HTTP: served, audited, and swapped for the same in int8."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from f2at.bundle.format import CLASSIFIER
from f2at.bundle.runtime import create_session
from f2at.export.foreign import export_onnx
from tests.export.mobile import OPTIONS, SIDE, write

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow


def test_a_foreign_bundle_is_served_audited_and_swapped(start_server: "Callable[..., Server]", tmp_path: Path) -> None:
    sources = write(tmp_path / "sources")
    first = export_onnx(*sources, tmp_path / "bundles" / "first", fit="crop", **OPTIONS)
    second = export_onnx(*sources, tmp_path / "bundles" / "second", fit="crop", precision="int8", **OPTIONS)
    server = start_server(F2AT_BUNDLE=str(first.path), F2AT_BUNDLES=str(tmp_path / "bundles"))

    # A picture of twice the width: its middle is what counts.
    middle = first.reference()[0][0]
    wide = np.pad(middle, ((0, 0), (SIDE // 2, SIDE // 2), (0, 0)))
    (expected,) = create_session(first.files[CLASSIFIER]).run(None, {"images": middle[None]})[0]
    answer = server.predict(wide)
    assert (answer["index"], answer["model"]) == (int(expected.argmax()), first.digest)
    assert server.predict(middle)["probabilities"] == answer["probabilities"]

    request: dict[str, Any] = {"suite": "quick", "eps": "8/255", "samples": 20}
    report = server.finish(server.submit(**request)["id"])
    assert report["model"]["digest"] == first.digest
    assert report["clean"]["k"] == 20
    assert server.client.post("/model", json={"bundle": "second"}).status_code == 200
    assert server.predict(wide)["model"] == second.digest
    report = server.finish(server.submit(**request)["id"])
    assert report["model"]["digest"] == second.digest
