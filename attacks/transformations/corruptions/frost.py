"""Frost on a window, drawn and not photographed."""

import numpy as np

from f2at.attacks.transformations.corruptions.filters import Inputs
from f2at.attacks.transformations.corruptions.plasma import plasma
from f2at.images.pixels import Images, to_images, to_inputs

_ICE = np.array([0.57, 0.655, 0.7])[:, None, None]  # mean colour of the authors' pictures of frost
_LIGHT = (0.75, 1.25)  # how much darker or lighter than their mean one of their pictures is
_RELIEF = 0.1  # standard deviation within them
_CLOUD = 0.7  # weight of the cloud against the crystals
_SLENDER = 5  # lengths of a crystal to its width
_COVER = 3  # how often a pixel lies under a crystal's box, on average
_SHADE = 0.5  # of a crystal's far side


def frost(images: Images, rng: np.random.Generator, *, kept: float, ice: float, length: int) -> Images:
    """The image times `kept`, plus a picture of ice times `ice`; length: of the longest crystals, in pixels.

    The authors lay photographs over it, which are not ours to give. This ice is drawn (`frozen`), after their colour,
    brightness and contrast: the strengths are theirs, the pictures are not, so an accuracy under this frost is near one
    under theirs at best.
    """
    inputs = to_inputs(images, np.float64)
    count, _, height, width = inputs.shape
    return to_images(np.clip(kept * inputs + ice * frozen(rng, count, (height, width), length=length), 0, 1))


def frozen(rng: np.random.Generator, count: int, shape: tuple[int, int], *, length: int) -> Inputs:
    """Pictures of ice, drawn: crystals that lie about, on a plasma fractal; (N, 3, H, W) in [0, 1]."""
    height, width = shape
    cloud = plasma(rng, count, max(shape), 1.6)[:, :, :height, :width]
    relief = _standardized(_standardized(crystals(rng, count, shape, length=length)) + _CLOUD * _standardized(cloud))
    light = rng.uniform(*_LIGHT, (count, 1, 1, 1))
    return np.clip(_ICE * light + _RELIEF * relief, 0, 1)


def crystals(rng: np.random.Generator, count: int, shape: tuple[int, int], *, length: int) -> Inputs:
    """Slender rhombs in every direction, bright along their ridge and darker on one side; (N, 1, H, W) in [0, 1]."""
    reach = (length + 1) // 2
    sides = np.array(shape) + 2 * reach  # with a margin for those that stick in from outside
    canvas = np.zeros((count, *(sides + 2 * reach)))
    box = np.arange(-reach, reach + 1)
    each = np.arange(count)[:, None, None]
    number = round(_COVER * sides.prod() / (length * max(1, length / _SLENDER)))
    for _ in range(number):
        drawn = rng.random((count, 5))[..., None, None]
        row, column = ((drawn[:, i] * sides[i]).astype(int) + reach for i in (0, 1))
        half = length / 2 * (0.3 + 0.7 * drawn[:, 2])
        cosine, sine = np.cos(2 * np.pi * drawn[:, 3]), np.sin(2 * np.pi * drawn[:, 3])
        along = np.abs(cosine * box + sine * box[:, None]) / half
        across = (cosine * box[:, None] - sine * box) / half * _SLENDER
        shade = np.where(across > 0, 1, _SHADE) * (0.3 + 0.7 * drawn[:, 4])
        crystal = shade * np.sqrt(np.maximum(0, 1 - along - np.abs(across)))
        where = (each, row + box[:, None], column + box)
        canvas[where] = np.maximum(canvas[where], crystal)
    margin = 2 * reach
    return canvas[:, None, margin : margin + shape[0], margin : margin + shape[1]]


def _standardized(pictures: Inputs) -> Inputs:
    """Mean 0 and standard deviation 1 in each picture; a flat one is 0."""
    centred = pictures - pictures.mean(axis=(1, 2, 3), keepdims=True)
    deviation = centred.std(axis=(1, 2, 3), keepdims=True)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1))
