"""The public API: what `import f2at` offers, and that nothing heavy is imported before it is used."""

import ast
import inspect
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import f2at
from f2at.audit.reports.report import deterministic_part

REPOSITORY = Path(__file__).parents[1]
BUNDLE = REPOSITORY / "zoo" / "cifar10-small"
REQUEST = f2at.AuditRequest(suite="custom", attacks=[{"name": "fgsm"}], samples=20, examples=0)


def run(code: str) -> Any:
    """What a fresh interpreter prints as JSON."""
    words = [sys.executable, "-c", code]
    printed = subprocess.run(words, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60)
    return json.loads(printed.stdout)


def test_importing_it_brings_nothing_but_the_standard_library() -> None:
    code = """
import json, sys, time
before, started = set(sys.modules), time.perf_counter()
import f2at
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""
    runs = [run(code) for _ in range(3)]
    assert set(runs[0][1]) - {"f2at"} <= sys.stdlib_module_names
    assert min(seconds for seconds, _ in runs) < 0.2


def test_every_name_is_there_and_documented() -> None:
    assert set(dir(f2at)) == set(f2at.__all__)
    for name in set(f2at.__all__) - {"__version__"}:
        assert len(inspect.getdoc(getattr(f2at, name)) or "") > 60


def test_no_name_hides_a_subpackage() -> None:
    assert not {path.name for path in (REPOSITORY / "f2at").iterdir()} & set(f2at.__all__)


def test_type_checkers_see_the_same_names() -> None:
    """The names below `if TYPE_CHECKING` are those of `__getattr__`."""
    tree = ast.parse(Path(f2at.__file__).read_text())
    seen = {
        alias.asname or alias.name: getattr(sys.modules[node.module], alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("f2at.")
        if [getattr(f2at, alias.asname or alias.name) for alias in node.names]  # which imports the module
        for alias in node.names
    }
    assert seen == {name: getattr(f2at, name) for name in f2at.__all__ if name != "__version__"}


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'audit_bundel'; it has AsyncClient, .*audit_bundle"):
        f2at.audit_bundel  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(
    ("name", "missing", "extra"),
    [
        ("train", "torch", "train"),
        ("audit_module", "torch", "train"),
        ("Client", "httpx", "serve"),
        ("AsyncClient", "httpx", "serve"),
    ],
)
def test_what_an_extra_brings_names_the_extra(name: str, missing: str, extra: str) -> None:
    code = f"""
import json, sys
sys.modules[{missing!r}] = None
import f2at
try:
    f2at.{name}
except ImportError as error:
    print(json.dumps(str(error)))
"""
    assert run(code) == f"f2at.{name} needs {missing}: pip install 'f2at[{extra}]'"


def test_a_client_brings_neither_a_model_nor_a_server_nor_pictures() -> None:
    code = """
import json, sys
import f2at
f2at.Client, f2at.AsyncClient
print(json.dumps(sorted({"PIL", "bentoml", "numpy", "onnxruntime", "starlette", "torch"} & sys.modules.keys())))
"""
    assert run(code) == []


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "f2at/__init__.py"
    assert f"\nversion: {f2at.__version__}\n" in (REPOSITORY / "CITATION.cff").read_text()
    assert f"## {f2at.__version__} - " in (REPOSITORY / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return f2at.audit_bundle(BUNDLE, REQUEST, threads=1)


def test_a_bundle_is_audited_compared_and_told(report: dict[str, Any], tmp_path: Path) -> None:
    bundle = f2at.load_bundle(str(BUNDLE))
    assert report["model"]["digest"] == bundle.digest
    assert report["clean"]["n"] == 20
    assert report["run"]["started"] <= report["run"]["finished"]
    page = f2at.write_report(report, str(tmp_path / "report.json"))
    for text in (page.read_text(), f2at.render_report(report)):
        assert bundle.digest in text
    assert 'href="report.json"' in page.read_text()
    again = f2at.read_report(str(tmp_path / "report.json"))
    assert f2at.gate(f2at.compare_reports(report, again)) == "pass"


def test_data_and_a_surrogate_of_one_s_own(tmp_path: Path, report: dict[str, Any]) -> None:
    images, labels = f2at.load_bundle(BUNDLE).reference()
    np.savez(tmp_path / "all.npz", images=images, labels=labels)
    again = f2at.audit_bundle(BUNDLE, REQUEST, data=tmp_path / "all.npz", threads=1)
    assert deterministic_part(again) == deterministic_part(report)
    request = f2at.AuditRequest(suite="custom", attacks=[{"name": "transfer-pgd", "steps": 2}], samples=5, examples=0)
    transferred = f2at.audit_bundle(BUNDLE, request, surrogate=BUNDLE, threads=1)
    assert transferred["surrogate"]["digest"] == transferred["model"]["digest"]
    np.savez(tmp_path / "large.npz", images=np.zeros((2, 40, 40, 3), np.uint8), labels=np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="data must be images of 32 x 32 for this model; got 40 x 40"):
        f2at.audit_bundle(BUNDLE, REQUEST, data=tmp_path / "large.npz")


def test_an_onnx_file_is_audited_by_its_gradients_or_without() -> None:
    """A bundle's classifier alone is attacked as the bundle is: the gradients that ship with that are derived."""
    images, labels = f2at.load_bundle(BUNDLE).reference()
    file = BUNDLE / "classifier.onnx"
    request = f2at.AuditRequest(suite="custom", attacks=[{"name": "pgd", "steps": 5}], samples=20, examples=0)
    alone = f2at.audit_onnx(file, images, labels, request, threads=1)
    assert alone["threat_model"]["knowledge"] == ["white-box"]
    assert alone["robust"]["k"] == f2at.audit_bundle(BUNDLE, request, threads=1)["robust"]["k"]
    request = f2at.AuditRequest(suite="custom", attacks=[{"name": "square", "queries": 5}], samples=10, examples=0)
    found = f2at.audit_onnx(file, images, labels, request, threads=1, black_box=True)
    assert found["threat_model"]["knowledge"] == ["black-box"]
    assert found["model"]["classes"] == [str(number) for number in range(10)]
