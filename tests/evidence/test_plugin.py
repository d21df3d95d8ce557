"""The pytest plugin, in an example project's tests."""

import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from junitparser import JUnitXml

from f2at.audit.reports.files import read_report
from tests.evidence.grey import DISTANCES, grey_data, grey_model
from tests.readme import blocks

pytest_plugins = ["pytester"]
ENTRY = "f2at.evidence.plugin"

# The example project: a model with its data, and the tests of its maker.
TESTS = """
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GATE = {"attacks": [{"name": "fgsm"}], "eps": "8/255", "curve": False, "threads": 1, "accept_weak": True}


def test_a_third_withstands(assert_robust):
    report = assert_robust(HERE / "model.onnx", HERE / "data.npz", min_robust_accuracy=0.2, **GATE)
    assert report["robust"]["k"] == 12


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_more_do(threshold, assert_robust):
    assert_robust(HERE / "model.onnx", HERE / "data.npz", min_robust_accuracy=0.1, **GATE)
    assert_robust(HERE / "model.onnx", HERE / "data.npz", min_robust_accuracy=threshold, **GATE)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    grey_model(pytester.path / "model.onnx")
    grey_data(pytester.path / "data.npz")
    pytester.makepyfile(test_model=TESTS)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """A process of its own; it has the plugin even if this environment was installed before there was one."""
    installed = any(point.value == ENTRY for point in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", ENTRY]
    return project.runpytest_subprocess(*plugin, "-p", "no:cacheprovider", *arguments, timeout=120)


@pytest.mark.slow
def test_a_model_passes_and_fails_the_tests_of_its_project(project: pytest.Pytester) -> None:
    result = run(project, "--f2at-reports", "reports", "--junit-xml", "junit.xml", "-W", "error")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*accuracy under attack 33.3 % (12 of 36, 95 % interval 20.2 % to 49.7 %)*",
            "*Report: reports/test_model.py-test_more_do-0.5-2.json",
            "test_model.py:*: AssertionError",
        ]
    )
    assert "assertion.py" not in result.stdout.str()  # what is shown is the line of the test
    reports = project.path / "reports"
    assert {path.name for path in reports.glob("*.json")} == {
        "test_model.py-test_a_third_withstands.json",
        *(f"test_model.py-test_more_do-{threshold}{n}.json" for threshold in (0.5, 0.9) for n in ("", "-2")),
    }
    assert read_report(reports / "test_model.py-test_more_do-0.9-2.json")["verdict"]["outcome"] == "fail"
    (suite,) = JUnitXml.fromfile(str(project.path / "junit.xml"))
    case = next(case for case in suite if case.name == "test_a_third_withstands")
    properties = {p.get("name"): p.get("value") for p in case._elem.iter("property")}
    assert properties["f2at.accuracy_under_attack"].startswith("33.3 % (12 of 36")
    assert properties["f2at.report"] == "reports/test_model.py-test_a_third_withstands.json"


@pytest.mark.slow
def test_without_a_folder_the_reports_are_in_the_tests_own(project: pytest.Pytester) -> None:
    result = run(project, "--basetemp", "kept", "-k", "0.9")
    result.assert_outcomes(failed=1, deselected=2)
    result.stdout.fnmatch_lines(["*Report: *report-2.json"])
    assert len(list((project.path / "kept").rglob("report*.json"))) == 2


@pytest.mark.slow
def test_the_documentation_s_test_runs_as_it_is_printed(pytester: pytest.Pytester) -> None:
    """24 of 36 withstand eps 4/255, and 336 of 504: the interval begins at 62 %."""
    imported, _ = blocks("python", page="docs/pipelines.md")
    for folder in ("models", "tests"):
        (pytester.path / folder).mkdir()
    grey_model(pytester.path / "models" / "classifier.onnx")
    grey_data(pytester.path / "tests" / "images.npz", DISTANCES * 14)
    for threshold, outcome in (("0.4", {"passed": 1}), ("0.7", {"failed": 1})):
        pytester.makepyfile(test_documented=imported.replace("0.4", threshold))
        run(pytester).assert_outcomes(**outcome)


def test_a_run_that_does_not_use_it_pays_nothing() -> None:
    """What the plugin imports where pytest is: itself, and that it belongs to f2at."""
    code = f"""
import json, sys
import pytest
before = set(sys.modules)
import {ENTRY}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert set(json.loads(done.stdout)) - sys.stdlib_module_names <= {"f2at", "f2at.evidence", ENTRY}


def test_the_entry_point_is_this_module() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"f2at": ENTRY}
