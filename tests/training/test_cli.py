from pathlib import Path

import pytest

from f2at.__main__ import main

DIGITS = ["--config", str(Path(__file__).parents[2] / "configs/digits.toml")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "none.toml"], "no configuration at none.toml; see configs/ for examples"),
        (
            [*DIGITS, "--method.name", "magic"],
            "method.name must be one of plain, sat, trades, mart, seat, f2at, f2at-fast; got 'magic'",
        ),
        (
            [*DIGITS, "--data.name", "folder", "--data.root", "nowhere"],
            "data.root = nowhere: there is no such folder; put the data set 'folder' there",
        ),
        ([*DIGITS, "--attack.eps", "2"], "attack.eps must be above 0 and at most 1; got 2"),
        ([*DIGITS, "--model.width", "0"], "width must be at least 1; got 0"),
    ],
)
def test_bad_input_is_one_line_and_no_run(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments, "--output", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("f2at train: ")
    assert message in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_help_names_every_section(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
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


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", *DIGITS, "--output", "x", "--optimizer.epoch", "1"])
    assert stop.value.code == 2
    said = (
        "f2at train: unrecognized arguments: --optimizer.epoch 1; did you mean --optimizer.epochs? (f2at train --help)"
    )
    assert capsys.readouterr().err == f"{said}\n"
