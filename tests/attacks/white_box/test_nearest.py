import numpy as np

from f2at.attacks.white_box.nearest import Nearest


def test_the_nearest_error_is_kept() -> None:
    inputs = np.full((4, 3, 1, 1), 0.5)
    nearest = Nearest(inputs, norm="linf", enough=0.1)
    np.testing.assert_array_equal(nearest.index, [0, 1, 2, 3])

    def found(index: list[int], distances: list[float], adversarial: list[bool]) -> list[bool]:
        current = inputs[index] + np.array(distances)[:, None, None, None]
        unfinished: list[bool] = nearest.record(np.array(index), current, np.array(adversarial)).tolist()
        return unfinished

    assert found([0, 1, 2, 3], [0.3, 0.3, 0.05, 0.05], [True, False, True, False]) == [True, True, False, True]
    assert found([0, 1, 3], [0.4, 0.4, 0.2], [True, True, True]) == [True, True, True]
    np.testing.assert_allclose(nearest.distances, [0.3, 0.4, 0.05, 0.2])
    np.testing.assert_array_equal(nearest.index, [0, 1, 3])
    np.testing.assert_allclose(nearest.images[:, 0, 0, 0], [0.8, 0.9, 0.55, 0.7])
    np.testing.assert_allclose(nearest.within(0.25)[:, 0, 0, 0], [0.75, 0.75, 0.55, 0.7])
    np.testing.assert_array_equal(inputs, 0.5)
