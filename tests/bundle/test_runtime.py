import numpy as np
import onnx
import pytest

from f2at.bundle import runtime
from f2at.bundle.format import Bundle
from f2at.bundle.runtime import CPU, CUDA, active_provider, create_session, cuda_devices, reason


def test_a_session_runs_and_says_where(bundle: Bundle) -> None:
    session = create_session(bundle.files["classifier.onnx"], threads=1)
    (logits,) = session.run(None, {"images": np.zeros((2, 9, 8, 3), np.uint8)})
    assert logits.shape == (2, 4)
    assert active_provider(session) == (CUDA if cuda_devices() else CPU)
    options = session.get_session_options()
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"threads": -1}, "threads must be"),
        ({"providers": []}, "providers must be among"),
        ({"providers": ["AbacusExecutionProvider"]}, "AbacusExecutionProvider"),
    ],
)
def test_wrong_arguments_are_named(bundle: Bundle, arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        create_session(bundle.files["classifier.onnx"], **arguments)  # type: ignore[arg-type]


@pytest.mark.skipif(cuda_devices() > 0, reason="a CUDA device is here")
def test_cuda_is_not_silently_replaced(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match=r"CUDA|providers must be among"):
        create_session(bundle.files["classifier.onnx"], providers=[CUDA])


SOURCE = "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const"
SIGNATURE = f"{SOURCE} onnxruntime::logging::Logger&, std::function<void(int)>&)"


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        (f"[ONNXRuntimeError] : 1 : FAIL : {SIGNATURE} Unsupported model IR version: 99\n", "Unsupported model IR"),
        (f"{SIGNATURE} const [with T = float] Out of range", "Out of range"),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Invalid rank for input: x", "Invalid rank for input: x"),
        ("two\n\nlines", "two lines"),
        ("", "ValueError"),
    ],
)
def test_an_error_begins_with_its_reason(text: str, begins: str) -> None:
    assert reason(ValueError(text)).startswith(begins)


def test_what_onnx_runtime_does_not_load_is_refused_with_the_reason(bundle: Bundle) -> None:
    model = onnx.load_model_from_string(bundle.files["classifier.onnx"])
    model.graph.node[0].op_type = "Nope"
    model.graph.node[0].name = "n" * 500
    with pytest.raises(ValueError, match=r"^ONNX Runtime cannot load the graph: No Op registered for Nope"):
        create_session(model.SerializeToString())


def test_two_packages_of_onnx_runtime_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They overwrite each other's files."""
    monkeypatch.setattr(runtime, "version", {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.31.1"}.__getitem__)
    with pytest.raises(ValueError, match=r"onnxruntime 1.30.0 and onnxruntime-gpu 1.31.1 are both installed"):
        runtime._check_installation.__wrapped__()
