import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.pattern_check import attacked, curve, disagreement, flippable, joint_attack, natural_inputs
from f2at.attacks.objectives import objectives
from f2at.attacks.target import Evaluation
from f2at.images.bitplanes import natural_pattern
from f2at.images.pixels import to_images, to_inputs

EPS = 8 / 255


class Linear:
    """Logits (0, w . x + b) of the first pixel's three values, with the gradient written out."""

    classes = 2

    def __init__(self, weights: list[float], bias: float) -> None:
        self.weights = np.zeros((3, 1, 1), np.float32)
        self.weights[:, 0, 0] = weights
        self.bias = np.float32(bias)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        second = (inputs * self.weights).sum(axis=(1, 2, 3)) + self.bias
        return np.stack([np.zeros_like(second), second], axis=1).astype(np.float32)

    def gradient(self, inputs: np.ndarray, labels: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Evaluation:
        logits = self.logits(inputs)
        direction = np.where(labels == 0, 1, -1)  # of the cross-entropy; its size does not matter to sign steps
        gradient = (weights[:, 0] * direction)[:, None, None, None] * self.weights
        return Evaluation(logits, objectives(logits, labels, targets), gradient)


def image(*levels: int) -> np.ndarray:
    return to_inputs(np.array(levels, np.uint8).reshape(1, 1, 1, 3))


@given(st.integers(1, 7), st.integers(0, 255), st.integers(1, 64))
def test_flippable_values_are_those_whose_pattern_changes_somewhere_in_the_ball(
    planes: int, value: int, levels: int
) -> None:
    ball = np.arange(max(0, value - levels), min(255, value + levels) + 1, dtype=np.uint8)
    expected = len(np.unique(natural_pattern(ball, planes=planes))) > 1
    assert flippable(image(value, value, value), planes=planes, eps=levels / 255).all() == expected


@given(st.permutations([0.0, 1.0, 2.0, 3.0]), st.permutations([0.0, 1.0, 2.0, 3.0]))
def test_the_score_is_positive_exactly_where_the_labels_differ(whole: list[float], pattern: list[float]) -> None:
    logits, natural = np.array(whole), np.array(pattern)
    score = disagreement(logits[None], natural[None])[0]
    assert (score > 0) == (logits.argmax() != natural.argmax())


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    clean, adversarial = np.array([0.0, 1.0, 2.0]), np.array([1.5, 3.0])
    assert curve(clean, adversarial)[2] == pytest.approx(5 / 6)


def test_an_attacker_who_knows_gets_past_the_check_where_it_can_be_done() -> None:
    # 60 is 4 levels below 64: within 8 levels both the value and its natural pattern can cross the boundary at 63.5.
    inputs, labels = image(60, 0, 0), np.array([0])
    model = Linear([255, 0, 0], -63.5)
    found = joint_attack(model, inputs, labels, planes=2, eps=EPS, steps=10, goals=1, rng=np.random.default_rng(0))
    assert np.abs(to_images(found).astype(int) - to_images(inputs)).max() <= 8
    assert np.array_equal(to_inputs(to_images(found)), found)  # on the grid
    result = attacked(model, found, labels, 2)
    assert result.fooled.all()
    assert (result.scores < 0).all()


def test_an_attacker_who_knows_cannot_move_a_pattern_out_of_reach() -> None:
    # 90 may become 98, but its natural pattern stays 64: the value crosses 95, its pattern does not.
    inputs, labels = image(90, 0, 0), np.array([0])
    model = Linear([255, 0, 0], -95)
    found = joint_attack(model, inputs, labels, planes=2, eps=EPS, steps=10, goals=1, rng=np.random.default_rng(0))
    result = attacked(model, found, labels, 2)
    assert result.fooled.all()
    assert (result.scores > 0).all()


def test_a_sample_that_is_never_fooled_comes_back_unchanged() -> None:
    inputs, labels = image(90, 0, 0), np.array([0])
    model = Linear([255, 0, 0], -200)
    found = joint_attack(model, inputs, labels, planes=2, eps=EPS, steps=3, goals=1, rng=np.random.default_rng(0))
    assert np.array_equal(found, inputs)
    assert np.array_equal(natural_inputs(inputs, 2), image(64, 0, 0))
