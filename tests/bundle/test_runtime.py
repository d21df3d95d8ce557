import numpy as np
import pytest

from f2at.bundle import runtime
from f2at.bundle.format import Bundle
from f2at.bundle.runtime import CPU, CUDA, active_provider, create_session, cuda_devices


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


def test_two_packages_of_onnx_runtime_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They overwrite each other's files."""
    monkeypatch.setattr(runtime, "version", {"onnxruntime": "1.30.0", "onnxruntime-gpu": "1.31.1"}.__getitem__)
    with pytest.raises(ValueError, match=r"onnxruntime 1.30.0 and onnxruntime-gpu 1.31.1 are both installed"):
        runtime._check_installation.__wrapped__()
