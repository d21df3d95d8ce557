"""Files as they come: weights beside them, and batches of size -1."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from f2at.gradient.classifier import read_classifier
from f2at.gradient.source import read_onnx
from tests.gradient.networks import HEAD, logits_of, network
from tests.gradient.test_classifier import check


def test_weights_in_another_file_are_read_and_count_in_the_digest(tmp_path: Path) -> None:
    digests = []
    for name, head in (("one", HEAD), ("other", 2 * HEAD)):
        path = tmp_path / name / "model.onnx"
        path.parent.mkdir()
        onnx.save(network(head=head), path, save_as_external_data=True, location="model.data", size_threshold=0)
        model, digest = read_onnx(path)
        digests.append(digest)
        check(read_classifier(model), lambda levels, head=head: logits_of(levels / 255, head))
    assert (tmp_path / "one/model.onnx").read_bytes() == (tmp_path / "other/model.onnx").read_bytes()
    assert digests[0] != digests[1]


@pytest.mark.parametrize("place", ["../model.data", "missing.data"])
def test_weights_elsewhere_are_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(network(), path, save_as_external_data=True, location="model.data", size_threshold=0)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = place
    path.write_bytes(model.SerializeToString())
    with pytest.raises((ValueError, OSError), match=place):
        read_onnx(path)


def test_a_batch_of_minus_one_is_any(tmp_path: Path) -> None:
    model = network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    classifier = read_classifier(read_onnx(path)[0], mean=0.5)
    check(classifier, lambda levels: logits_of(np.asarray(levels / 255 - 0.5)))
