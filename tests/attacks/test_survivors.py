import numpy as np

from f2at.attacks.survivors import Survivors, misclassified, wrong_classes


def test_wrong_classes_by_logit() -> None:
    logits = np.array([[0.1, 3.0, 2.0, -1.0], [9.0, -9.0, 0.0, 1.0]])
    np.testing.assert_array_equal(wrong_classes(logits, np.array([1, 3])), [[2, 0, 3], [0, 2, 1]])
    np.testing.assert_array_equal(misclassified(logits, np.array([1, 3])), [False, True])
    np.testing.assert_array_equal(wrong_classes(logits[:, :2], np.array([1, 0])), [[0], [1]])


def test_survivors_leave_one_by_one() -> None:
    inputs = np.zeros((3, 3, 1, 1))
    survivors = Survivors(inputs)
    current, names = survivors.drop(np.array([False, True, False]), inputs + 1, np.array([10, 20, 30]))
    np.testing.assert_array_equal(survivors.index, [0, 2])
    np.testing.assert_array_equal(names, [10, 30])
    survivors.keep(current + 1)
    np.testing.assert_array_equal(survivors.images[:, 0, 0, 0], [2, 1, 2])
    np.testing.assert_array_equal(inputs, 0)
