"""What is trained on is what is audited and served: a file in a folder of images, and the same file in a request."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from f2at.images.preparation import FITS
from f2at.images.sets.opening import open_labelled
from f2at.serving.decoding.refusals import decode_images
from f2at.training.configuration.options import DataConfig
from f2at.training.data import load_dataset

SIDE = 16
COARSE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
PICTURE = Image.fromarray(COARSE).resize((70, 50), Image.Resampling.BICUBIC)
RAMP = Image.fromarray(np.linspace(0, 65535, 3500).astype(np.uint16).reshape(50, 70))
ALPHA = Image.linear_gradient("L").resize(PICTURE.size)


def encoded(image: Image.Image, form: str = "PNG", *, turn: int = 1, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    buffer = io.BytesIO()
    image.save(buffer, form, **({"exif": exif} if turn != 1 else {}), **options)
    return buffer.getvalue()


def transparent() -> Image.Image:
    image = PICTURE.convert("RGBA")
    image.putalpha(ALPHA)
    return image


FILES = {
    "wide.png": encoded(PICTURE.resize((140, 50))),
    "large.jpg": encoded(PICTURE.resize((700, 500)), "JPEG"),
    "turned.jpg": encoded(PICTURE, "JPEG", turn=6),
    "transparent.png": encoded(transparent()),
    "transparent.webp": encoded(transparent(), "WEBP"),
    "sixteen.png": encoded(RAMP),
    "palette.png": encoded(PICTURE.quantize(16)),
    "palette-transparent.png": encoded(PICTURE.quantize(16), transparency=0),
    "cmyk.jpg": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "profile.jpg": encoded(
        PICTURE, "JPEG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    ),
    "grey.bmp": encoded(PICTURE.convert("L"), "BMP"),
    "animated.png": encoded(PICTURE, save_all=True, append_images=[PICTURE.rotate(180)]),
    "animated.webp": encoded(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(180)]),
    "two.mpo.jpg": encoded(PICTURE, "MPO", save_all=True, append_images=[PICTURE.rotate(180)]),
    "line.png": encoded(PICTURE.resize((1, 300))),
    "cut.jpg": encoded(PICTURE, "JPEG")[:-2],
}


@pytest.mark.parametrize("fit", FITS)
def test_trained_on_as_audited_and_served(tmp_path: Path, fit: str) -> None:
    for part in ("train", "test"):
        for name, content in FILES.items():
            (tmp_path / part / name).mkdir(parents=True)  # a class of one picture, so that they keep their names
            (tmp_path / part / name / name).write_bytes(content)
    config = DataConfig(name="folder", root=str(tmp_path), size=SIDE, validation=1, fit=fit)
    dataset = load_dataset(config)
    assert sorted(dataset.classes) == sorted(FILES)
    audited = open_labelled(tmp_path / "train").prepared(config.preparation).read(range(len(FILES)))
    for name, trained, seen in zip(dataset.classes, dataset.train.images[:], audited, strict=True):
        served = decode_images([FILES[name]], config.preparation, max_pixels=1_000_000, max_total=1_000_000)[0]
        np.testing.assert_array_equal(trained.permute(1, 2, 0).numpy(), served, err_msg=name)
        np.testing.assert_array_equal(seen, served, err_msg=name)
