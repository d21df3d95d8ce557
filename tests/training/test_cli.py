import sys
from pathlib import Path

import pytest

from f2at.training.__main__ import main

DIGITS = ["--config", str(Path(__file__).parents[2] / "configs/digits.toml")]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str | int | None:
    """What the command exits with: None or 0 for success, a code, or the message that it prints."""
    monkeypatch.setattr(sys, "argv", ["training", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "none.toml"], "no configuration at none.toml; see configs/ for examples"),
        (
            [*DIGITS, "--method.name", "magic"],
            "method.name must be one of plain, sat, trades, mart, seat, f2at; got 'magic'",
        ),
        ([*DIGITS, "--data.name", "folder", "--data.root", "nowhere"], "data.root = nowhere has no folder train/"),
        ([*DIGITS, "--attack.eps", "2"], "attack.eps must be above 0 and at most 1; got 2"),
        ([*DIGITS, "--model.width", "0"], "width must be at least 1; got 0"),
    ],
)
def test_bad_input_is_one_line_and_no_run(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run(monkeypatch, *arguments, "--output", str(tmp_path / "run"))
    assert isinstance(printed, str)
    assert printed.startswith("python -m f2at.training: error: ")
    assert message in printed
    assert "\n" not in printed
    assert not (tmp_path / "run").exists()


def test_help_names_every_section(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    printed = capsys.readouterr().out
    for word in (
        "--config",
        "--data.name",
        "--attack.eps",
        "--method.alpha",
        "--method.lam",
        "--awp.gamma",
        "--optimizer.epochs",
        "8/255",
    ):
        assert word in printed


def test_an_unknown_flag_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *DIGITS, "--output", "x", "--optimizer.learning_rate", "1") == 2
    assert "unrecognized arguments: --optimizer.learning_rate 1" in capsys.readouterr().err
