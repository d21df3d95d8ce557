import math
from typing import Any

import pytest

from f2at.attacks.transformations.corruptions import corruption_errors, mean_corruption_error


def test_by_hand() -> None:
    errors = {"fog": [0.1, 0.2, 0.3, 0.4, 0.5], "snow": [0.2, 0.2, 0.2, 0.2, 0.2]}
    reference = {"snow": [0.4, 0.5, 0.5, 0.5, 0.6], "fog": [0.2, 0.2, 0.4, 0.6, 0.6]}
    # 1.5 / 2.0 and 1.0 / 2.5, not the mean of the ratios at each severity, which is 0.75 for fog alone by chance.
    found = corruption_errors(errors, reference)
    assert list(found) == ["fog", "snow"]
    assert found["fog"] == pytest.approx(0.75)
    assert found["snow"] == pytest.approx(0.4)
    assert mean_corruption_error(errors, reference) == pytest.approx(0.575)


def test_sums_before_ratios() -> None:
    assert mean_corruption_error({"fog": [0.1, 0.9]}, {"fog": [0.5, 0.5]}) == pytest.approx(1)
    assert mean_corruption_error({"fog": [0.1, 0.1]}, {"fog": [0.1, 0.7]}) == pytest.approx(0.25)


def test_the_reference_is_one() -> None:
    errors = {"fog": [0.1, 0.7], "snow": [0.3, 0.4]}
    assert mean_corruption_error(errors, errors) == 1
    assert mean_corruption_error({name: [0, 0] for name in errors}, errors) == 0


@pytest.mark.parametrize(
    ("errors", "reference", "message"),
    [
        ({}, {}, "of the same corruptions, at least one"),
        ({"fog": [0.1]}, {"snow": [0.1]}, r"of the same corruptions.*\['fog'\] and \['snow'\]"),
        ({"fog": [0.1]}, {"fog": [0.1, 0.2]}, "errors of fog must be as many as its reference's.*got 1 and 2"),
        ({"fog": []}, {"fog": []}, "errors of fog must be as many as its reference's, at least one; got 0 and 0"),
        ({"fog": [22.0]}, {"fog": [0.5]}, "errors of fog must be shares from 0 to 1; got 22"),
        ({"fog": [0.5]}, {"fog": [math.nan]}, "errors of fog must be shares from 0 to 1; got nan"),
        ({"fog": [0.5, 0.5]}, {"fog": [0, 0]}, "reference_errors of fog must not all be 0"),
    ],
)
def test_what_cannot_be_compared(errors: Any, reference: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mean_corruption_error(errors, reference)
