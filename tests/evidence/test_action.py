"""The composite action: its file against the schema of such files, and its steps as a runner takes them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.evidence.grey import grey_data, grey_model
from tests.readme import blocks

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / ".github" / "actions" / "audit"
ACTION = yaml.safe_load((FOLDER / "action.yml").read_text())
FILES = ["report", "page", "sarif", "junit"]


def checked(schema: str, file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_is_a_composite_action_by_the_schema_of_those(tmp_path: Path) -> None:
    assert checked("vendor.github-actions", FOLDER / "action.yml").returncode == 0
    wrong = yaml.safe_load((FOLDER / "action.yml").read_text())
    wrong["runs"]["steps"][1].pop("shell")
    (tmp_path / "action.yml").write_text(yaml.safe_dump(wrong))
    assert checked("vendor.github-actions", tmp_path / "action.yml").returncode == 1


def test_every_input_is_used_and_every_expression_leads_somewhere() -> None:
    used = re.findall(r"\$\{\{(.*?)\}\}", (FOLDER / "action.yml").read_text())
    inputs = {name for text in used for name in re.findall(r"inputs\.([\w-]+)", text)}
    assert inputs == set(ACTION["inputs"])
    ids = {step["id"] for step in ACTION["runs"]["steps"] if "id" in step}
    outputs = {found for text in used for found in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", text)}
    assert outputs == {(*ids, name) for name in ACTION["outputs"]}
    commands = [step["run"] for step in ACTION["runs"]["steps"] if "run" in step]
    assert not any("${{" in command for command in commands)  # an input is no part of a script


def test_the_documentation_s_workflow_is_one_and_gives_inputs_that_there_are(tmp_path: Path) -> None:
    (workflow,) = blocks("yaml", page="docs/pipelines.md")
    path = tmp_path / "workflow.yml"
    path.write_text(workflow)
    assert checked("vendor.github-workflows", path).returncode == 0
    steps = [step for job in yaml.safe_load(workflow)["jobs"].values() for step in job["steps"]]
    (given,) = [step["with"] for step in steps if step.get("uses", "").partition("@")[0].endswith("actions/audit")]
    assert set(given) <= set(ACTION["inputs"])
    assert {name for name, entry in ACTION["inputs"].items() if entry.get("required")} <= set(given)


def run_as_a_runner(folder: Path, **given: str) -> tuple[list[int], dict[str, str], str]:
    """The steps that run commands, in a repository at `folder`, as action.yml says: exit codes, outputs and summary."""
    inputs = {name: str(entry.get("default", "")) for name, entry in ACTION["inputs"].items()}
    inputs |= {name.replace("_", "-"): value for name, value in given.items()}
    files = {name: folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.touch()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("INPUT_", "GITHUB_"))}
    clean |= {"GITHUB_ACTION_PATH": str(FOLDER), "PYTHONPATH": str(REPOSITORY)}
    clean |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    codes = []
    for step in ACTION["runs"]["steps"]:
        if "run" not in step or wanted(step.get("if", "true"), inputs) is False:
            continue
        own = {
            name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: inputs[m[1]], value)
            for name, value in step.get("env", {}).items()
        }
        environment = {**clean, **own, **{name: str(file) for name, file in files.items()}}
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]  # what `shell: bash` stands for
        codes.append(subprocess.run(shell, cwd=folder, env=environment, check=False, timeout=300).returncode)
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    return codes, outputs, files["GITHUB_STEP_SUMMARY"].read_text()


def wanted(condition: str, inputs: dict[str, str]) -> bool:
    """Whether a step runs, of those that ask for an input alone."""
    asked = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) == '(\w+)' \}\}", condition)
    return asked is None or inputs[asked[1]] == asked[2]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With a model, its data, and a module whose name a library has as well."""
    folder = tmp_path / "repository with a space"
    folder.mkdir()
    grey_model(folder / "model.onnx")
    grey_data(folder / "data.npz")
    (folder / "numpy.py").write_text("raise RuntimeError('this is the repository\\'s own')")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("threshold", "code", "outcome"), [("", 0, "measured"), ("0.2", 0, "pass"), ("0.9", 3, "fail")]
)
def test_a_run_ends_as_the_gate_does_and_leaves_files_outputs_and_a_table(
    repository: Path, threshold: str, code: int, outcome: str
) -> None:
    given: dict[str, Any] = {"model": "model.onnx", "data": "data.npz", "min_robust_accuracy": threshold}
    options = "--no-curve --threads 1 --classes 'dark,light' --quiet"
    for _ in range(2):  # a second time in the same place, as with a baseline and a candidate
        codes, outputs, summary = run_as_a_runner(repository, **given, options=options, install="false")
        assert codes == [code]
    assert (outputs["outcome"], float(outputs["accuracy-under-attack"])) == (outcome, 12 / 36)
    assert all((repository / outputs[name]).is_file() for name in FILES)
    report = json.loads((repository / outputs["report"]).read_text())
    assert (report["request"]["suite"], report["model"]["classes"]) == ("adaptive", ["dark", "light"])
    assert summary.count(f"## Robustness audit: {outcome}\n") == 2
    assert set(outputs) == set(ACTION["outputs"])


@pytest.mark.slow
def test_bad_input_fails_the_step_and_says_nothing(repository: Path) -> None:
    codes, outputs, summary = run_as_a_runner(repository, model="model.onnx", eps="a lot", install="false")
    assert (codes, outputs, summary) == ([2], {}, "")
