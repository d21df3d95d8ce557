"""The package as users get it: its wheel, installed where a project has models/, training/ and attacks/ already."""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest

import f2at
from f2at.audit.reports.report import deterministic_part
from tests.readme import blocks

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[1]
FOREIGN = ("models", "training", "attacks", "audit", "images", "bundle", "export", "serving")
Run = Callable[..., str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = ["-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def run(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of a fresh environment in a folder with packages of its own under our folders' names.

    What f2at needs comes from this environment's site-packages, after the fresh one's own: that saves gigabytes. The
    path is added without its .pth files, so what is installed there for editing is not.
    """
    folder = tmp_path_factory.mktemp("foreign")
    environment = folder / "env"
    venv.create(environment, symlinks=True)
    site = sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = built.glob("*.whl")
    python = str(environment / "bin" / "python")
    install = ["-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, str(wheel)]
    subprocess.run([sys.executable, *install], check=True, timeout=120)
    for name in FOREIGN:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text('raise RuntimeError("this is the project\'s own")\n')
    (folder / "zoo").symlink_to(REPOSITORY / "zoo")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "F2AT_", "COV_"))}

    def run(program: str, *arguments: str) -> str:
        words = [str(environment / "bin" / program), *arguments]
        done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_package_is_the_wheel_s(run: Run) -> None:
    where, version = run("python", "-c", "import f2at; print(f2at.__file__, f2at.__version__)").split()
    assert "site-packages" in where
    assert not where.startswith(sysconfig.get_path("purelib"))
    assert version == f2at.__version__


def test_the_command_audits(run: Run) -> None:
    options = ["--samples", "20", "--no-curve", "--threads", "1", "--output", "wheel.json", "--quiet"]
    run("f2at", "audit", "zoo/cifar10-small", "--attack", "fgsm", *options)
    printed = run("python", "-c", "import json, f2at; print(json.dumps(f2at.read_report('wheel.json')))")
    request = f2at.AuditRequest(suite="custom", attacks=[{"name": "fgsm"}], samples=20, curve=False)
    ours = f2at.audit_bundle(REPOSITORY / "zoo" / "cifar10-small", request, threads=1)
    assert deterministic_part(json.loads(printed)) == deterministic_part(ours)


def test_the_example_of_the_readme_runs(run: Run) -> None:
    (code,) = blocks("python")
    assert run("python", "-c", code).endswith(" of 100 images withstand every attack\n")


def test_the_service_is_found(run: Run) -> None:
    assert run("python", "-c", "from f2at.serving.service import RobustClassifier as r; print(r.name)").strip()


def test_pytest_has_the_fixture(run: Run) -> None:
    options = "samples=40, attacks=[{'name': 'fgsm'}], accept_weak=True, curve=False"
    gate = f"assert_robust('zoo/cifar10-small', min_robust_accuracy=0, {options})"
    test = f"def test_it(assert_robust):\n    {gate}\n"
    run("python", "-c", f"import pathlib; pathlib.Path('test_model.py').write_text({test!r})")
    assert "1 passed" in run("python", "-m", "pytest", "-p", "no:cacheprovider", "test_model.py")


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    """Links and all: what one installs from source is what one installs from the wheel."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = ["-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "again")]
    subprocess.run([sys.executable, *command], cwd=source, check=True, capture_output=True, timeout=120)
    (again,), (first,) = (tmp_path / "again").glob("*.whl"), built.glob("*.whl")
    assert names(again) == names(first)


def names(wheel: Path) -> dict[str, int]:
    """The files of a wheel and their checksums, except for RECORD."""
    with ZipFile(wheel) as archive:
        return {item.filename: item.CRC for item in archive.infolist() if not item.filename.endswith("/RECORD")}
