"""The command `f2at`: every command has the same shape, and a mistake is answered in one line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import f2at
from f2at.__main__ import COMMANDS, main

REPOSITORY = Path(__file__).parents[1]
ZOO = REPOSITORY / "zoo" / "cifar10-small"
# The least that gets each command past its parser.
NEEDED = {
    "train": ["--config", "configs/digits.toml", "--output", "x"],
    "critic": ["x", "--output", "y"],
    "export": ["x", "--output", "y"],
    "audit": ["x", "--output", "y.json"],
    "replay": ["x"],
    "compare": ["x", "y"],
    "card": ["x.json"],
    "log-mlflow": ["x.json"],
    "sign": ["x", "--key", "y"],
    "verify": ["x", "--public-key", "y"],
    "serve": ["x"],
    "keys": ["list"],
    "pin": ["x"],
    "purge": ["--days", "1"],
}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on standard error with which a command refuses these arguments, as bad input."""
    try:
        status: object = main(arguments)
    except SystemExit as stop:
        status = stop.code
    printed = capsys.readouterr()
    assert status == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.rstrip()


def without(library: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, run where `library` is not installed."""
    block = f"import sys; sys.modules[{library!r}] = None"
    code = f"{block}\nfrom f2at.__main__ import main\nsys.exit(main({list(arguments)}))"
    words = [sys.executable, "-c", code]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert re.findall(r"^  ([\w-]+) +\w", printed, re.MULTILINE) == list(COMMANDS)
    assert main([]) == 2
    assert capsys.readouterr().out == printed
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"f2at {f2at.__version__}\n"


def test_a_misspelt_command_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "audti", "x") == "f2at: there is no command 'audti'; did you mean audit? (f2at --help)"
    assert refused(capsys, "42") == "f2at: there is no command '42' (f2at --help)"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: f2at {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_one_line_that_begins_with_the_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, name, *NEEDED.get(name, []), "--hlep")
    assert said.startswith(f"f2at {name}")
    assert "unrecognized arguments: --hlep; did you mean --help?" in said


def test_flags_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "audit", "x", "--output", "y.json", "--suit", "quick")
    assert said == "f2at audit: unrecognized arguments: --suit quick; did you mean --suite? (f2at audit --help)"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["audit", str(ZOO), "--suite", "adaptiv"], "did you mean adaptive?"),
        (["audit", str(ZOO), "--attack", "pdg"], "did you mean pgd?"),
        (["audit", str(ZOO), "--attack", "pgd:step=3"], "did you mean steps?"),
        (["train", "--config", "configs/digits.toml", "--method.name", "f2ta"], "did you mean f2at?"),
        (["train", "--config", "configs/digits.toml", "--data.name", "digit"], "did you mean digits?"),
        (["train", "--config", "{misspelt}"], "unknown key optimiser; accepted: "),
        (["train", "--config", "{misspelt}"], "did you mean optimizer?"),
    ],
)
def test_misspelt_names_are_answered_with_the_nearest(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    misspelt = tmp_path / "misspelt.toml"
    misspelt.write_text("[optimiser]\nepochs = 1\n[method]\nname = 'sat'\n")
    filled = [argument.format(misspelt=misspelt) for argument in arguments]
    said = refused(capsys, *filled, "--output", str(tmp_path / "out.json"))
    assert said.startswith(f"f2at {arguments[0]}: ")
    assert reason in said


def test_what_is_no_bundle_is_called_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent, empty, run, half = (tmp_path / name for name in ("absent", "empty", "run", "half"))
    for folder in (empty, run, half):
        folder.mkdir()
    for name in ("best.safetensors", "reference.npz"):
        (run / name).touch()
    (half / "manifest.json").write_bytes((ZOO / "manifest.json").read_bytes())
    (half / "gradient.onnx").touch()
    output = ["--output", str(tmp_path / "report.json")]
    assert f"{absent}: there is no such folder" in refused(capsys, "audit", str(absent), *output)
    assert f"{empty} is no bundle" in refused(capsys, "audit", str(empty), *output)
    assert f"{run} is a training run, not a bundle; next: f2at export {run} --output bundles/run" in refused(
        capsys, "audit", str(run), *output
    )
    assert f"{half} is half a bundle: classifier.onnx and reference.npz missing" in refused(capsys, "serve", str(half))
    graph = ZOO / "classifier.onnx"
    assert f"{graph} is a file; a bundle is a folder" in refused(capsys, "serve", str(graph))
    assert "data must be given for an ONNX file" in refused(capsys, "audit", str(graph), *output)
    assert f"{ZOO} is a bundle already" in refused(capsys, "export", str(ZOO), *output)


def test_an_output_that_cannot_be_written_is_refused_before_the_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").mkdir()
    said = refused(capsys, "audit", str(ZOO), "--overwrite", "--output", str(tmp_path / "report.json"))
    assert said == f"f2at audit: output must name a file to write; {tmp_path / 'report.html'} is a folder"


def test_numbers_of_channels_are_one_or_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("a", "0.5,0.5"):
        said = refused(capsys, "audit", "m.onnx", "--mean", wrong, "--output", str(tmp_path / "report.json"))
        assert f"argument --mean: must be one number or three, as in 0.5,0.4,0.4; got {wrong!r}" in said


@pytest.mark.parametrize(
    ("name", "blocked", "extra"),
    [
        ("train", "torch", "train"),
        ("serve", "bentoml", "serve"),
        ("card", "huggingface_hub", "card"),
        ("log-mlflow", "mlflow", "mlflow"),
    ],
)
def test_a_command_whose_extra_is_missing_says_what_to_install(name: str, blocked: str, extra: str) -> None:
    arguments = {**NEEDED, "serve": [str(ZOO)]}[name]
    done = without(blocked, name, *arguments)
    assert done.returncode == 2
    assert done.stderr == f"f2at {name}: {blocked} is not installed; pip install 'f2at[{extra}]'\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--config", "none.toml"], "no configuration at none.toml; see configs/ for examples"),
        (
            ["--config", "configs/digits.toml", "--data.name", "folder", "--data.root", "nowhere"],
            "data.root = nowhere: there is no such folder; put the data set 'folder' there",
        ),
    ],
)
def test_training_on_a_wrong_path_answers_before_pytorch_is_imported(arguments: list[str], reason: str) -> None:
    done = without("torch", "train", *arguments, "--output", "x")
    assert (done.returncode, done.stderr) == (2, f"f2at train: {reason}\n")
