"""The pytest plugin: a fixture `assert_robust`. Every run of pytest loads this file, so it imports nothing else."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the reports of tests are kept."""
    parser.getgroup("f2at").addoption(
        "--f2at-reports",
        type=Path,
        metavar="FOLDER",
        help="write the report of every audit that assert_robust runs here (default each test's own tmp_path)",
    )


@pytest.fixture
def assert_robust(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`f2at.testing.assert_robust`, which keeps every report, and says in JUnit files what came out and where it is."""
    from f2at.evidence.assertion import audited, judge
    from f2at.evidence.findings import facts

    folder: Path | None = request.config.getoption("--f2at-reports")
    name = "report" if folder is None else re.sub(r"[^\w.-]+", "-", request.node.nodeid).strip("-")
    paths = ((folder or tmp_path) / f"{name}{number}.json" for number in ("", *(f"-{n}" for n in range(2, 1000))))

    def check(model: Any, images: Any = None, labels: Any = None, **options: Any) -> dict[str, Any]:
        __tracebackhide__ = True
        path = Path(options.pop("report", None) or next(paths))
        found = audited(model, images, labels, **options)
        request.node.user_properties += [(f"f2at.{key}", value) for key, value in facts(found).items()]
        request.node.user_properties.append(("f2at.report", str(path)))
        judge(found, path)
        return found

    return check
