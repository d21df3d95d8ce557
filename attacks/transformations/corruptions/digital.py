"""What editing, rescaling and storing does to a picture."""

import numpy as np
from PIL import Image

from f2at.attacks.transformations import pipeline
from f2at.attacks.transformations.corruptions.colour import change_saturation
from f2at.attacks.transformations.corruptions.filters import sample, smooth
from f2at.images.pixels import Images, to_images, to_inputs

_THIRD = 3  # of the shorter side: how far from the centre the points lie that an affine map moves


def contrast(images: Images, rng: np.random.Generator, *, factor: float) -> Images:  # noqa: ARG001
    """Every channel drawn towards its mean over the image."""
    inputs = to_inputs(images, np.float64)
    mean = inputs.mean(axis=(2, 3), keepdims=True)
    return to_images(mean + factor * (inputs - mean))


def saturate(images: Images, rng: np.random.Generator, *, factor: float, added: float) -> Images:  # noqa: ARG001
    """Saturation in HSV, times a factor and plus something: paler or more colourful."""
    return to_images(np.clip(change_saturation(to_inputs(images, np.float64), factor, added), 0, 1))


def jpeg_compression(images: Images, rng: np.random.Generator, *, quality: float) -> Images:  # noqa: ARG001
    """JPEG compression, by Pillow."""
    return pipeline.jpeg(images, quality)


def pixelate(images: Images, rng: np.random.Generator, *, factor: float) -> Images:  # noqa: ARG001
    """To a smaller size, sides times a factor and cut down, by means over areas, and back by repeating pixels."""
    height, width = images.shape[1:3]
    small = (max(1, int(width * factor)), max(1, int(height * factor)))
    changed = np.empty_like(images)
    for row, image in enumerate(images):
        blocks = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        changed[row] = np.asarray(blocks.resize((width, height), Image.Resampling.BOX))
    return changed


def elastic_transform(
    images: Images, rng: np.random.Generator, *, distance: float, smoothness: float, affine: float
) -> Images:
    """Pushed about: an affine map that moves three points at random, then random displacements made smooth.

    All in shorter sides of the image: distance, what the displacements are multiplied with; smoothness, sigma of their
    Gaussian filter, which leaves the less of them the larger it is; affine, how far the three points move at most.
    Each step is a bilinear interpolation, and beyond its edges the image is mirrored, as in the authors' code.
    """
    inputs = to_inputs(images, np.float64)
    count, _, height, width = inputs.shape
    side = min(height, width)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)

    reach = side // _THIRD
    corners = np.array([[1, 1], [1, -1], [-1, -1]]) * reach + (height // 2, width // 2)
    moved = corners + rng.uniform(-affine * side, affine * side, (count, *corners.shape))
    drawn = rng.uniform(-1, 1, (count, 2, height, width))
    if reach > 0:  # there is nothing between the points of a smaller image
        ones = np.ones((count, 3, 1))
        back = np.linalg.solve(
            np.concatenate([moved, ones], axis=2), corners.astype(float)
        )  # (N, 3, 2): whence pixels come
        origin = np.einsum("kij,nkl->nlij", np.stack([rows, columns, np.ones_like(rows)]), back)
        inputs = sample(inputs, origin[:, 0], origin[:, 1], edge="reflect")

    # The filter's own cut-off: three standard deviations.
    shift = distance * side * smooth(drawn, smoothness * side, edge="symmetric", reach=3)
    inputs = sample(inputs, rows + shift[:, 0], columns + shift[:, 1], edge="symmetric")
    return to_images(np.clip(inputs, 0, 1))
