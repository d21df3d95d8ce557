"""Pictures of a user's own, from one folder per class to an audited bundle."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from f2at.__main__ import main
from f2at.training.configuration.options import DataConfig
from f2at.training.data import DataError, hold_out, load_dataset
from f2at.training.data.folder import describe
from f2at.training.data.sets import of_each_class
from tests.pictures import paint

pytestmark = pytest.mark.filterwarnings("ignore:.*lightning.*:")
CONFIG = Path(__file__).parents[2] / "configs" / "folder.toml"


def parts(run: Path) -> dict[str, list[str]]:
    with (run / "split.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {part: [row["file"] for row in rows if row["part"] == part] for part in ("train", "validation", "test")}


def small(root: Path, run: Path, *flags: str) -> list[str]:
    """The command as the documentation prints it, on few pixels."""
    return [
        "train", "--config", str(CONFIG), "--data.root", str(root), "--output", str(run), "--data.size", "16",
        "--model.width", "2", "--optimizer.epochs", "2", "--attack.validation_steps", "1", "--attack.test_steps", "1",
        "--data.crop_padding", "1", "--hardware.accelerator", "cpu", *flags,
    ]  # fmt: skip


@pytest.mark.slow
def test_from_a_folder_to_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Train, export, audit, with pictures that nobody has divided; each picture is in one part."""
    pictures = paint(tmp_path / "pictures", {"blue": 20, "green": 20, "red": 40})
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    assert main(small(pictures, run)) == 0
    printed = capsys.readouterr()
    assert (
        "80 pictures of 3 classes (55 train, 9 validation, 16 test), from 20 (blue) to 40 (red): who always says red "
        "is right on 50.0% of the test images\n"
    ) in printed.err
    split = parts(run)
    found = {part: Counter(Path(file).parent.name for file in files) for part, files in split.items()}
    assert found == {
        "train": {"blue": 14, "green": 14, "red": 27},
        "validation": {"blue": 2, "green": 2, "red": 5},
        "test": {"blue": 4, "green": 4, "red": 8},
    }
    together = [file for files in split.values() for file in files]
    assert sorted(together) == sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    with np.load(run / "reference.npz") as reference:
        assert Counter(reference["labels"].tolist()) == {0: 4, 1: 4, 2: 8}
    assert main(["export", str(run), "--output", str(bundle)]) == 0
    report = tmp_path / "report.json"
    assert main(["audit", str(bundle), "--suite", "quick", "--eps", "4/255", "--output", str(report)]) == 0
    assert report.is_file()


def test_a_run_goes_on_with_the_pictures_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, run = paint(tmp_path / "pictures", {"blue": 8, "red": 8}), tmp_path / "run"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("f2at.training.loop.Trainer._record", stop)
        assert main(small(pictures, run)) == 130
    assert capsys.readouterr().err.count("in all for the 2 to come") == 1
    before = (run / "split.csv").read_bytes()
    (pictures / "blue" / "0.png").rename(tmp_path / "0.png")
    assert main(small(pictures, run)) == 2
    assert "holds an interrupted run of other pictures" in capsys.readouterr().err
    (tmp_path / "0.png").rename(pictures / "blue" / "0.png")
    config = run / "config.toml"
    config.write_text(config.read_text().replace("memory = 1.0\n", ""))  # from before that option
    assert main(small(pictures, run)) == 0
    assert (run / "split.csv").read_bytes() == before
    assert capsys.readouterr().err.count("to come\n") == 1  # once for the process, not for the epoch


def test_more_pictures_leave_the_test_set_as_it_is(tmp_path: Path) -> None:
    """Nearly: what was trained on is not what a later model is tested on."""
    paint(tmp_path, {"blue": 40, "red": 40})
    config = DataConfig(name="folder", root=str(tmp_path), size=8, validation=0.15)
    before = load_dataset(config)
    paint(tmp_path / "more", {"blue": 10})
    for file in (tmp_path / "more" / "blue").iterdir():
        file.rename(tmp_path / "blue" / f"new{file.name}")
    (tmp_path / "more" / "blue").rmdir()
    (tmp_path / "more").rmdir()
    after = load_dataset(config)
    assert len(set(after.test_files) & set(before.train_files)) <= 1
    assert len(after.test.labels) == 18


def test_folders_as_people_have_them(tmp_path: Path) -> None:
    config = DataConfig(name="folder", root=str(tmp_path), size=8, validation=0.2)
    paint(tmp_path / "train", {"blue": 5, "red": 5})
    paint(tmp_path / "valid", {"blue": 2, "red": 2})
    divided = load_dataset(config)
    assert len(divided.test.labels) == 2
    assert divided.notes == (f"{tmp_path}/valid is neither train/ nor test/: left out",)
    paint(tmp_path / "test", {"blue": 3, "red": 4})
    given = load_dataset(config)
    assert (len(given.train.labels), len(given.test.labels)) == (10, 7)
    assert given.test_files[0] == "test/blue/0.png"


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    paint(tmp_path, {"blue": 5, "red": 5})
    (tmp_path / "red").rename(tmp_path / "train")
    assert load_dataset(DataConfig(name="folder", root=str(tmp_path), size=8, validation=0.2)).classes == (
        "blue",
        "train",
    )


def test_a_class_of_two_pictures_cannot_be_divided(tmp_path: Path) -> None:
    paint(tmp_path, {"blue": 5, "red": 2})
    with pytest.raises(DataError, match=r"class red must have at least 3 pictures.*; got 2"):
        load_dataset(DataConfig(name="folder", root=str(tmp_path), size=8, validation=0.2))


def test_a_share_is_of_each_class_and_in_random_order() -> None:
    labels = torch.arange(10).repeat_interleave(torch.tensor([1, 2, 9, 10, 11, 50, 100, 100, 200, 500]))
    kept, held = hold_out(labels, 0.1)
    assert torch.bincount(labels[held], minlength=10).tolist() == [0, 1, 1, 1, 1, 5, 10, 10, 20, 50]
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(len(labels)))
    assert labels[held][:50].unique().numel() > 3
    assert torch.equal(hold_out(labels, 0.1)[1], held)


def test_a_large_set_gives_no_more_than_two_thousand() -> None:
    labels = torch.arange(10).repeat_interleave(5000)
    assert of_each_class(labels, 0.2).tolist() == [200] * 10
    assert of_each_class(labels, 0.01).tolist() == [50] * 10


def test_classes_of_one_size_need_no_warning() -> None:
    labels = {"train": torch.tensor([0, 1, 0, 1]), "test": torch.tensor([0, 1])}
    assert describe(labels, ("a", "b")) == "6 pictures of 2 classes (4 train, 2 test), 3 of each"
