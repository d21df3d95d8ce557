"""Libraries that report to their makers do not, from when the package is imported, unless the user wants them to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SWITCHES = ("ORT_DISABLE_TELEMETRY", "BENTOML_DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")
# Where any of these is set, ONNX Runtime reports nothing anyway, and the test would say nothing.
MACHINES = {"CI", "TF_BUILD", "GITHUB_ACTIONS", "GITLAB_CI", "ORT_RUNNING_UNIT_TESTS", "PYTEST_CURRENT_TEST"}
SESSION = "; import onnxruntime; onnxruntime.InferenceSession('zoo/cifar10-small/classifier.onnx')"


def run(code: str, home: Path, **own: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {*SWITCHES, *MACHINES}}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PYTHONPATH": str(REPOSITORY), **own}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_onnx_runtime_writes_and_sends_nothing(tmp_path: Path) -> None:
    run("import f2at" + SESSION, tmp_path)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere, reports go through the system")
def test_a_user_may_want_onnx_runtime_to_report(tmp_path: Path) -> None:
    """And so the test above can fail: what is to be sent is first kept in the home folder."""
    run("import f2at" + SESSION, tmp_path, ORT_DISABLE_TELEMETRY="0")
    assert list(tmp_path.rglob("onnxruntime.db"))


@pytest.mark.parametrize(("own", "expected"), [({}, "True"), ({"BENTOML_DO_NOT_TRACK": "False"}, "False")])
def test_bentoml_sends_nothing(tmp_path: Path, own: dict[str, str], expected: str) -> None:
    tracking = "from bentoml._internal.utils.analytics.usage_stats import do_not_track; print(do_not_track())"
    assert run(f"import f2at; {tracking}", tmp_path, **own).strip() == expected


@pytest.mark.slow
@pytest.mark.parametrize(("own", "expected"), [({}, "True"), ({"MLFLOW_DISABLE_TELEMETRY": "false"}, "False")])
def test_mlflow_sends_nothing(tmp_path: Path, own: dict[str, str], expected: str) -> None:
    asked = "from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"
    assert run(f"import f2at; {asked}", tmp_path, **own).strip() == expected
