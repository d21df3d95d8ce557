"""How a picture of any shape becomes the model's: one rule for training, export, audit and serving."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from PIL import Image

FITS = ("squash", "crop", "pad")
INTERPOLATIONS: Mapping[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_SPARE = 2  # how many times larger than needed a JPEG is decoded, at least: the filter has the last word


@dataclass(frozen=True)
class Preparation:
    """Size and fit of a model's pictures; what their pixels mean is f2at.images.decode's.

    Attributes:
        size: (height, width) in pixels.
        fit: "squash" gives up the aspect ratio; "crop" resizes the shorter side and takes the centre; "pad" resizes
            the longer side and adds black.
        interpolation: one of INTERPOLATIONS, antialiased except for nearest.

    Raises:
        ValueError: which field is wrong, what is accepted and what came.
    """

    size: tuple[int, int]
    fit: str = "squash"
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(type(side) is int and side >= 1 for side in self.size):
            raise ValueError(f"size must be (height, width), pixels of at least 1; got {self.size}")
        for name, accepted in (("fit", FITS), ("interpolation", tuple(INTERPOLATIONS))):
            if getattr(self, name) not in accepted:
                raise ValueError(f"{name} must be one of {', '.join(accepted)}; got {getattr(self, name)!r}")

    @classmethod
    def of(cls, size: tuple[int, int], fields: Any) -> Self:
        """As a manifest or a checkpoint says it.

        Without either field it is one from before there was a choice, which was served squashed.

        Raises:
            ValueError: it is no mapping, only one of the two is there, or a value is unknown.
        """
        if not isinstance(fields, Mapping):
            raise ValueError(f"fields must be a mapping of fit and interpolation; got {fields!r}")
        given = {name: fields[name] for name in ("fit", "interpolation") if name in fields}
        if len(given) == 1:
            raise ValueError(f"fit and interpolation must be given together; got {next(iter(given))} alone")
        return cls(size, **given)

    def describe(self) -> dict[str, str]:
        """The fields that stand beside the size in a manifest; `of` reads them."""
        return {"fit": self.fit, "interpolation": self.interpolation}

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) from which on a picture of this (width, height) may as well be decoded smaller."""
        height, width = self.size
        if self.fit == "pad":
            width, height = self._inside(size)
        return _SPARE * width, _SPARE * height

    def scaled(self, image: Image.Image) -> Image.Image:
        """The picture at its final scale: of the size, or, where it is padded, inside of it."""
        height, width = self.size
        filter_ = INTERPOLATIONS[self.interpolation]
        if self.fit == "pad":
            target = self._inside(image.size)
            return image if image.size == target else image.resize(target, filter_)
        if image.size == (width, height):
            return image
        box = self._centre(image.size) if self.fit == "crop" else None
        return image.resize((width, height), filter_, box=box)

    def padded(self, image: Image.Image) -> Image.Image:
        """A scaled picture with black around it up to the size."""
        height, width = self.size
        if image.size == (width, height):
            return image
        canvas = Image.new(image.mode, (width, height))
        canvas.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        return canvas

    def fitted(self, image: Image.Image) -> Image.Image:
        """The picture at the size."""
        return self.padded(self.scaled(image))

    def _inside(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of a picture of this (width, height) that just fits."""
        height, width = self.size
        scale = min(width / size[0], height / size[1])
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def _centre(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """What is seen of a picture of this (width, height), in its own pixels.

        It is resized as a whole to whole pixels, and cut between pixels, as torchvision's Resize and CenterCrop do; but
        only what is seen is computed, which matters for a picture of one row.
        """
        height, width = self.size
        if size[0] * height < size[1] * width:
            whole = (width, width * size[1] // size[0])
        else:
            whole = (height * size[0] // size[1], height)
        left, top = (round((side - seen) / 2) for side, seen in zip(whole, (width, height), strict=True))
        across, down = (own / side for own, side in zip(size, whole, strict=True))
        return left * across, top * down, min((left + width) * across, size[0]), min((top + height) * down, size[1])
