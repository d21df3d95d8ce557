"""What the four attacks have in common."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from f2at.attacks import CountingTarget
from f2at.attacks.sparse.patch_ascent import most_gradients_of_patch_ascent, most_of_patch_ascent, patch_ascent
from f2at.attacks.sparse.patch_rs import patch_rs
from f2at.attacks.sparse.sparse_pgd import most_of_sparse_pgd, sparse_pgd
from f2at.attacks.sparse.sparse_rs import sparse_rs
from f2at.attacks.target import Evaluation

SHORT: list[tuple[Any, str, dict[str, Any]]] = [
    (sparse_pgd, "pixels", {"steps": 5, "restarts": 3}),
    (sparse_rs, "pixels", {"queries": 30}),
    (patch_ascent, "side", {"steps": 4, "places": 3, "trials": 8, "shift_every": 2}),
    (patch_rs, "side", {"queries": 30}),
]
ATTACKS = pytest.mark.parametrize(("attack", "size", "options"), SHORT)


class Settled:
    """Class 0 for any image, and gradients all the same: no attack ever succeeds, on numpy arrays."""

    classes = 2

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        return np.tile([9.0, 0.0], (len(inputs), 1))

    def gradient(self, inputs: np.ndarray, labels: Any, targets: Any, weights: np.ndarray) -> Evaluation:
        gradient = np.random.default_rng(len(inputs)).standard_normal(inputs.shape).astype(inputs.dtype)
        return Evaluation(self.logits(inputs), np.full(weights.shape, -9.0), gradient)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@ATTACKS
@pytest.mark.parametrize("kind", ["linear", "network"])
def test_stays_in_the_set(
    small: Callable[..., Any], attack: Any, size: str, options: dict[str, Any], kind: str
) -> None:
    model = small(kind, samples=12)
    for number in (1, 2, 6):
        found = attack(model.target(), model.inputs, model.labels, rng=rng(), **{size: number}, **options)
        assert found.shape == model.inputs.shape
        assert found.dtype == model.inputs.dtype
        assert 0 <= float(found.min()) <= float(found.max()) <= 1
        changed = (found != model.inputs).any(1)
        assert bool(changed.any())
        if size == "pixels":
            assert int(changed.sum((1, 2)).max()) <= number
        else:
            spans = [np.ptp(np.argwhere(one), axis=0).max() + 1 for one in changed.numpy() if one.any()]
            assert max(spans) <= number


@ATTACKS
def test_numpy_and_torch_find_the_same(
    small: Callable[..., Any], numpy_target: Any, attack: Any, size: str, options: dict[str, Any]
) -> None:
    model = small("network", samples=8)
    one = attack(model.target(), model.inputs, model.labels, rng=rng(), **{size: 2}, **options)
    inputs, labels = model.inputs.numpy(), model.labels.numpy()
    other = attack(numpy_target(model.target()), inputs, labels, rng=rng(), **{size: 2}, **options)
    assert isinstance(one, torch.Tensor)
    assert isinstance(other, np.ndarray)
    np.testing.assert_allclose(one.numpy(), other, atol=1e-6)


@ATTACKS
def test_nothing_is_evaluated_for_no_images(attack: Any, size: str, options: dict[str, Any]) -> None:
    target = CountingTarget(Settled())
    found = attack(target, np.zeros((0, 3, 6, 6)), np.zeros(0, int), rng=rng(), **{size: 2}, **options)
    assert found.shape == (0, 3, 6, 6)
    assert (target.forward_evaluations, target.gradient_evaluations, target.gradient_batches) == (0, 0, [])


@ATTACKS
def test_inputs_are_not_touched(small: Callable[..., Any], attack: Any, size: str, options: dict[str, Any]) -> None:
    model = small("network", samples=5)
    before = model.inputs.clone()
    attack(model.target(), model.inputs, model.labels, rng=rng(), **{size: 2}, **options)
    assert torch.equal(model.inputs, before)


@ATTACKS
def test_a_sample_leaves_at_its_first_error(attack: Any, size: str, options: dict[str, Any]) -> None:
    target = CountingTarget(Settled())
    labels = np.array([0, 1, 1, 0])  # two of them are wrong whatever is done
    attack(target, np.full((4, 3, 6, 6), 0.5), labels, rng=rng(), **{size: 2}, **options)
    alone = CountingTarget(Settled())
    attack(alone, np.full((2, 3, 6, 6), 0.5), np.zeros(2, int), rng=rng(), **{size: 2}, **options)
    spent, other = (t.forward_evaluations + t.gradient_evaluations for t in (target, alone))
    assert spent == other + 2


@pytest.mark.parametrize(
    ("attack", "size", "options", "gradients", "most"),
    [
        (*SHORT[0], 1 + 3 * 5, most_of_sparse_pgd),
        (*SHORT[1], 0, lambda p: p["queries"]),
        (*SHORT[2], 1 + 3 * 5, most_of_patch_ascent),
        (*SHORT[3], 0, lambda p: p["queries"]),
    ],
)
def test_evaluations_of_samples_that_stand(
    attack: Any, size: str, options: dict[str, Any], gradients: int, most: Callable[..., int]
) -> None:
    """By hand, of patch ascent: the clean image, three runs of 4 steps and a last look; 8 trials, 2 shifts a run."""
    target = CountingTarget(Settled())
    attack(target, np.full((4, 3, 6, 6), 0.5), np.zeros(4, int), rng=rng(), **{size: 2}, **options)
    assert target.gradient_evaluations == 4 * gradients
    assert target.forward_evaluations + target.gradient_evaluations == 4 * most(options)


def test_patch_ascent_never_starts_more_runs_than_it_tries_places() -> None:
    options: dict[str, Any] = {"steps": 4, "places": 5, "trials": 3, "shift_every": 9}
    target = CountingTarget(Settled())
    patch_ascent(target, np.full((1, 3, 6, 6), 0.5), np.zeros(1, int), rng=rng(), side=2, **options)
    assert target.gradient_evaluations == most_gradients_of_patch_ascent(options) == 1 + 3 * 5
    assert target.forward_evaluations == most_of_patch_ascent(options) - 16 == 3


@ATTACKS
def test_more_pixels_than_there_are_is_all_of_them(attack: Any, size: str, options: dict[str, Any]) -> None:
    found = attack(Settled(), np.full((2, 3, 4, 4), 0.5), np.zeros(2, int), rng=rng(), **{size: 4}, **options)
    assert found.shape == (2, 3, 4, 4)
    if size == "pixels":
        attack(Settled(), np.full((2, 3, 4, 4), 0.5), np.zeros(2, int), rng=rng(), pixels=99, **options)
    else:
        with pytest.raises(ValueError, match="side must be at most 4, for images of 4 x 4; got 5"):
            attack(Settled(), np.full((2, 3, 4, 4), 0.5), np.zeros(2, int), rng=rng(), side=5, **options)


@pytest.mark.parametrize(
    ("attack", "options", "reason"),
    [
        (sparse_pgd, {"pixels": 0}, "pixels must be an integer of at least 1; got 0"),
        (sparse_pgd, {"pixels": 1, "patience": 0}, "patience must be an integer of at least 1; got 0"),
        (sparse_pgd, {"pixels": 1, "mask_step": 0.0}, "mask_step must be a positive number; got 0.0"),
        (sparse_rs, {"pixels": 1, "queries": 0}, "queries must be an integer of at least 1; got 0"),
        (sparse_rs, {"pixels": 1, "initial_fraction": 0.0}, r"initial_fraction must lie in \(0, 1\]; got 0.0"),
        (patch_ascent, {"side": 0}, "side must be an integer of at least 1; got 0"),
        (patch_ascent, {"side": 2, "trials": 0}, "trials must be an integer of at least 1; got 0"),
        (patch_ascent, {"side": 2, "step_size": 2.0}, r"step_size must lie in \(0, 1\]; got 2.0"),
        (patch_rs, {"side": 2, "initial_fraction": 2.0}, r"initial_fraction must lie in \(0, 1\]; got 2.0"),
    ],
)
def test_bad_parameters_are_named(attack: Any, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        attack(Settled(), np.zeros((0, 3, 6, 6)), np.zeros(0, int), rng=rng(), **options)
