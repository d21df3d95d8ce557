"""ONNX Runtime sessions: one place for their options, and an honest answer to "which device is it?"."""

import ctypes
import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from f2at.bundle.weights import Slim

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"

# What ONNX Runtime raises for a model or an input that it does not take; its exceptions have no base of their own.
RUNTIME_ERRORS = tuple(kind for kind in vars(_state).values() if isinstance(kind, type) and issubclass(kind, Exception))

_BEFORE_REASON = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|\S+\.(?:cc|cpp|cu|cuh|h):\d+ .*?\)(?: const)?(?: \[with [^\]]*\])? "  # file, line and function of its source
    r"|This is an invalid model\. In Node, .* , Error "  # every input and output of the node
    r"|ONNX Runtime only \*guarantees\* support .*? opset versions\. "
)
_LONGEST_REASON = 400

# TF32 rounds to 10 bits of mantissa, and the exhaustive search picks its algorithm by timing, again for every
# batch size: with either, the verdict of an audit could depend on the card or on the day.
_CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}


def reason(error: Exception) -> str:
    """What is wrong in an error of ONNX Runtime or onnx, in one line that begins with it."""
    text = _BEFORE_REASON.sub("", " ".join(str(error).split())) or type(error).__name__
    half = _LONGEST_REASON // 2
    return text if len(text) <= _LONGEST_REASON else f"{text[:half]} ... {text[-half:]}"


def cuda_devices() -> int:
    """The number of CUDA devices the driver reports; 0 without a driver.

    `onnxruntime.get_available_providers()` says what was compiled in, not what is there.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def create_session(
    model: bytes | Slim,
    *,
    threads: int = 0,
    providers: Sequence[str] | None = None,
    plan_memory: bool = True,
    prepack: bool = True,
) -> ort.InferenceSession:
    """Load an ONNX model.

    Args:
        model: the bytes of the file; bytes and not a path, so that what was verified is what runs. Or a graph with its
            weights beside it, which sessions then share.
        threads: threads of one operator; 0 lets ONNX Runtime use every core.
        providers: ONNX Runtime execution providers, best first; None means CUDA if it is usable, else CPU.
        plan_memory: lay out the memory of each size of batch once it has been seen. A little faster, and twice the
            memory, or more where batches have many sizes.
        prepack: lay out matrices for products at once, and not in each run. Faster, and as much memory as they take.

    Raises:
        ValueError: ONNX Runtime cannot load the model, `threads` is negative, the first provider asked for cannot be
            used here, or ONNX Runtime is installed twice.
    """
    _check_installation()
    if threads < 0:
        raise ValueError(f"threads must be 0 (every core) or a positive number; got {threads}")
    if providers is not None and (not providers or set(providers) - set(ort.get_available_providers())):
        raise ValueError(f"providers must be among {ort.get_available_providers()}; got {list(providers)}")
    wanted = [CUDA, CPU] if providers is None else list(providers)
    if CUDA in wanted:
        # Asked for without a device, CUDA becomes CPU with only a line on stderr.
        if CUDA in ort.get_available_providers() and cuda_devices():
            ort.preload_dlls()
        elif providers is None:
            wanted.remove(CUDA)
        else:
            raise ValueError(f"{CUDA} was asked for, but no CUDA device is usable on this machine")

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.use_deterministic_compute = True
    options.enable_mem_pattern = plan_memory
    options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
    # Spinning threads steal the cores from whatever else runs on the machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content, shared = model, {}
    if isinstance(model, Slim):
        content = model.model.SerializeToString()
        shared = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in model.named.items()}
        options.add_external_initializers(list(shared), list(shared.values()))
        if wanted == [CPU]:
            # Optimised are the copies that it makes of the first; kept are the second, where nothing else was made.
            for name, value in shared.items():
                options.add_initializer(name, value)
    try:
        session = ort.InferenceSession(
            content, options, providers=[(name, _CUDA_OPTIONS if name == CUDA else {}) for name in wanted]
        )
    except RUNTIME_ERRORS as error:
        raise ValueError(f"ONNX Runtime cannot load the graph: {reason(error)}") from error
    if providers is not None and active_provider(session) != wanted[0]:
        raise ValueError(f"{wanted[0]} was asked for, but ONNX Runtime fell back to {active_provider(session)}")
    session.shared = shared  # must live as long
    return session


def active_provider(session: ort.InferenceSession) -> str:
    """The execution provider a session really runs on, whatever was asked for."""
    return str(session.get_providers()[0])


@cache
def _check_installation() -> None:
    """Both packages of ONNX Runtime hold the module `onnxruntime`; the one installed last has overwritten the other."""
    try:
        both = [f"{name} {version(name)}" for name in ("onnxruntime", "onnxruntime-gpu")]
    except PackageNotFoundError:
        return
    raise ValueError(
        f"{' and '.join(both)} are both installed and overwrite each other's files, so which of them runs is chance; "
        "pip uninstall both, then install one"
    )
