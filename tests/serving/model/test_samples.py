import numpy as np
import pytest

from f2at.images.png import read_base64_png
from f2at.serving.model.samples import sample_images

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("labels", "places"),
    [
        ([0, 0, 0, 1, 1, 2, 2, 2], [0, 3, 5, 1, 4, 6]),  # the first of each class, then the second of each
        ([7, 6, 5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5]),
        ([1, 1], [0, 1]),
    ],
)
def test_they_are_of_different_classes_where_there_are(labels: list[int], places: list[int]) -> None:
    images = RNG.integers(0, 256, (len(labels), 5, 4, 3), dtype=np.uint8)
    found = sample_images(images, np.array(labels, np.int64), [f"class {k}" for k in range(8)])
    assert [sample.place for sample in found] == places
    assert [(sample.index, sample.label) for sample in found] == [(labels[p], f"class {labels[p]}") for p in places]
    for sample in found:
        kind, data = sample.image.split(",")
        assert kind == "data:image/png;base64"
        assert (read_base64_png(data) == images[sample.place]).all()
