"""Data sets larger than memory, small: the same result from a file, and resident memory that does not grow."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from f2at.images.preparation import Preparation
from f2at.training.configuration.files import config_from_table
from f2at.training.configuration.options import Config, DataConfig
from f2at.training.data import DataError, ImageSet, channel_statistics, load_dataset
from f2at.training.data.feed import Feed
from f2at.training.data.mapped import MappedImages, listing_digest, write_mapped
from f2at.training.loop import train
from tests.pictures import paint

pytestmark = pytest.mark.filterwarnings("ignore:.*lightning.*:")


def recipe(root: Path, memory: float) -> Config:
    return config_from_table(
        {
            "data": {
                "name": "folder", "root": str(root), "size": 8, "validation": 0.2, "crop_padding": 1, "memory": memory,
            },
            "model": {"name": "resnet18", "width": 2},
            "method": {"name": "sat"},
            "attack": {"steps": 1, "validation_steps": 1, "test_steps": 1},
            "optimizer": {"epochs": 1, "batch_size": 8, "schedule": "one-cycle"},
            "hardware": {"accelerator": "cpu"},
        }
    )  # fmt: skip


def test_from_a_file_the_result_is_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = paint(tmp_path / "pictures", {"blue": 12, "red": 12})
    found = {}
    for name, memory in (("memory", 1.0), ("file", 0.0)):
        (tmp_path / name).mkdir()
        train(recipe(root, memory), tmp_path / name / "run", progress=False)
        found[name] = (tmp_path / name / "run" / "metrics.jsonl").read_text()
    assert found["memory"] == found["file"]
    assert not (tmp_path / "memory" / ".images").exists()
    kept = sorted((tmp_path / "file" / ".images").iterdir())
    assert [file.stat().st_size for file in kept] in ([3 * 64 * 20, 3 * 64 * 4], [3 * 64 * 4, 3 * 64 * 20])
    assert "GB), for later runs of the same pictures as well" in capsys.readouterr().err
    before = [file.stat().st_ino for file in kept]
    train(recipe(root, 0.0), tmp_path / "file" / "again", progress=False)
    assert [file.stat().st_ino for file in sorted((tmp_path / "file" / ".images").iterdir())] == before


def test_another_picture_or_preparation_is_another_file(tmp_path: Path) -> None:
    root = paint(tmp_path / "pictures", {"blue": 2})
    files = sorted(root.rglob("*.png"))
    preparations = [Preparation((8, 8)), Preparation((8, 9)), Preparation((8, 8), "pad")]
    digests = {listing_digest(files, root, preparation) for preparation in preparations}
    digests.add(listing_digest(files[:1], root, preparations[0]))
    os.utime(files[0], ns=(1, 1))
    digests.add(listing_digest(files, root, preparations[0]))
    assert len(digests) == 5
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    assert listing_digest(sorted(moved.rglob("*.png")), moved, preparations[0]) in digests


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    root = paint(tmp_path / "pictures", {"blue": 3, "red": 3})
    (root / "red" / "1.png").write_bytes(b"no picture")
    config = DataConfig(name="folder", root=str(root), size=8, validation=0.2, memory=0.0)
    with pytest.raises(DataError, match=r"red/1\.png cannot be read as an image"):
        load_dataset(config, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) <= 1  # of the part that was read
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="the prepared images cannot be written to"):
        load_dataset(config, tmp_path / "file")


def test_it_is_indexed_as_a_tensor_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 5, 7, 3), dtype=np.uint8)
    write_mapped(tmp_path / "images", pixels)
    mapped, plain = MappedImages(tmp_path / "images", (5, 7)), torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    rows = torch.tensor([3, 3, 19, 0])
    assert mapped.shape == tuple(plain.shape)
    assert torch.equal(mapped[rows], plain[rows])
    assert torch.equal(mapped.select(rows)[1:3], plain[rows][1:3])
    assert torch.equal(torch.cat(list(mapped.split(6))), plain)
    assert channel_statistics(mapped) == channel_statistics(plain)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_an_epoch_leaves_no_images_in_memory(tmp_path: Path) -> None:
    """200 MB of images pass by; what is resident grows by a few batches."""
    size, count = 128, 4000
    with (tmp_path / "images").open("wb") as file:
        file.truncate(count * size * size * 3)
    data = ImageSet(MappedImages(tmp_path / "images", (size, size)), torch.zeros(count, dtype=torch.int64))
    table = {"method": {"name": "sat"}, "optimizer": {"batch_size": 16}, "data": {"size": size}}
    feed = Feed(data.select(torch.arange(count).flip(0)), config_from_table(table), torch.device("cpu"))
    sizes, images = [], 0
    for pixels, _ in feed.epoch(np.random.default_rng(0)):
        images += len(pixels)
        sizes.append(resident())
    assert images == count
    assert max(sizes) - sizes[0] < 50e6


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
