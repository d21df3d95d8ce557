import os
import shutil
import subprocess
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from f2at import __version__
from f2at.audit.provenance import harness
from f2at.audit.provenance.harness import describe_environment, describe_harness, processor, shaping_code

XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) Processor @ 2.10GHz
flags\t\t: fpu vme sse sse2 sse4_1 sse4_2 avx f16c avx2 fma avx512f avx512_vnni amx_tile amx_int8 smep smap hypervisor

processor\t: 1
model name\t: another, which has nothing to say
flags\t\t: fpu
"""
NEOVERSE = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp sve svebf16 sme2 i8mm bf16\nCPU implementer\t: 0x41\n"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit, with a tag."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "code.py").write_text("x = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "a")
    git(folder, "tag", "--annotate", "v1", "--message", "a")
    return folder


def test_the_harness_says_its_version_and_the_digest_of_its_code() -> None:
    found = describe_harness()
    assert (found["name"], found["version"]) == ("f2at", __version__)
    assert found["digest"] == f"sha256:{shaping_code()}"
    folder = Path(__file__).parents[3]
    if (folder / ".git").exists():
        assert found["commit"] == git(folder, "rev-parse", "HEAD")
        assert found["modified"] == bool(git(folder, "status", "--porcelain", "--untracked-files=no"))


def test_the_commit_of_a_checkout_and_whether_its_files_are_that_commit_s(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert len(commit) == 40
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))  # as in a hook of another repository
    assert harness._source.__wrapped__(checkout) == {"commit": commit, "modified": False}
    (checkout / "code.py").write_text("x = 2\n")
    assert harness._source.__wrapped__(checkout) == {"commit": commit, "modified": True}


def test_where_nobody_knows_a_commit_none_is_said(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = {"commit": None, "modified": None}
    installed = checkout / ".venv" / "site-packages"  # an installed package, inside of somebody's checkout
    installed.mkdir(parents=True)
    assert harness._source.__wrapped__(installed) == unknown
    (installed / ".git").mkdir()  # no repository
    assert harness._source.__wrapped__(installed) == unknown
    monkeypatch.setenv("PATH", str(checkout))  # no git
    assert harness._source.__wrapped__(checkout) == unknown


def test_the_digest_is_of_the_code_that_shapes_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = shaping_code.__wrapped__
    before = digest()
    for package in harness.SHAPING:
        shutil.copytree(str(files(package)), tmp_path / package)
    monkeypatch.setattr(harness, "files", lambda package: tmp_path / package)
    assert before == digest()
    for told in ("commands/audit.py", "page/words.py"):
        (tmp_path / "f2at.audit" / told).write_text("# changed\n")
    assert before == digest()
    audit = ("f2at.audit/stages.py", "f2at.audit/reports/tables.py")
    for name in ("f2at.attacks/white_box/pgd.py", *audit, "f2at.images/pixels.py", "f2at.gradient/reverse.py"):
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n")
        assert before != (before := digest())


@pytest.mark.parametrize(
    ("text", "model", "features"),
    [
        (
            XEON,
            "Intel(R) Xeon(R) Processor @ 2.10GHz",
            "amx_int8 amx_tile avx avx2 avx512_vnni avx512f f16c fma sse4_1 sse4_2",
        ),
        (NEOVERSE, None, "asimd asimddp asimdhp bf16 i8mm sme2 sve svebf16"),
    ],
)
def test_a_processor_by_its_name_and_what_kernels_are_chosen_by(
    tmp_path: Path, text: str, model: str | None, features: str
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    found = processor.__wrapped__(path)
    assert found["features"] == features.split()
    assert found["model"]
    assert model in (None, found["model"])
    assert found["cores"] >= 1


def test_where_linux_says_nothing_numpy_does(tmp_path: Path) -> None:
    found = processor.__wrapped__(tmp_path / "nowhere")
    assert found["model"]
    assert all(name == name.lower() for name in found["features"])


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="Linux says what there is")
def test_this_machine_is_described() -> None:
    found = describe_environment()
    assert found["numpy"] == np.__version__
    assert found["onnxruntime"] in {version(name) for name in ("onnxruntime-gpu", "onnxruntime") if _installed(name)}
    assert found["processor"]["cores"] == len(os.sched_getaffinity(0))
    text = Path("/proc/cpuinfo").read_text()
    assert all(name in text for name in found["processor"]["features"])
    assert found["processor"]["features"]


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except ImportError:
        return False
