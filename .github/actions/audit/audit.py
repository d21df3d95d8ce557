"""The step of the action: an audit as the inputs say, what came out for later steps, and a table for the run's page.

It ends as `f2at audit` does: 0 passed or measured, 2 bad input, 3 the threshold is not met, 4 undecided.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

_OPTIONS = ("data", "min-robust-accuracy", "suite", "eps", "norm", "samples")


def main() -> int:
    """Audit, and return the exit code."""
    folder = Path(_given("output"))
    report = folder / "report.json"
    shapes = {"sarif": folder / "audit.sarif", "junit": folder / "junit.xml", "summary": folder / "summary.md"}
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "f2at", "audit", _given("model")),  # -P: not what lies in the repository
            *(f"--{name}={_given(name)}" for name in _OPTIONS if _given(name)),
            *("--overwrite", f"--output={report}"),
            *(f"--{name}={path}" for name, path in shapes.items()),
            *shlex.split(_given("options")),
        ],
        check=False,
    )
    if done.returncode in (0, 3, 4):
        found = json.loads(report.read_text(encoding="utf-8"))
        _tell("GITHUB_STEP_SUMMARY", shapes.pop("summary").read_text(encoding="utf-8"))
        outputs = {
            "outcome": found["verdict"]["outcome"] or "measured",
            "accuracy-under-attack": found["robust"]["value"],
            "report": report,
            "page": report.with_suffix(".html"),
            **shapes,
        }
        _tell("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in outputs.items()))
    return done.returncode


def _given(name: str) -> str:
    """An input, as action.yml hands it to this step."""
    return os.environ.get(f"INPUT_{name.replace('-', '_').upper()}", "")


def _tell(variable: str, text: str) -> None:
    """Append to the file in which the runner looks for it."""
    with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
