import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from models import Classifier, create_model
from training.losses import natural_margin_loss, pattern_dependent_loss
from training.methods import F2AT, SAT, PlainTraining
from training.methods.f2at import slice_patterns


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    return create_model("resnet18", classes=3, width=4).train()


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, 3, 16, 16, generator=generator)
    adversarial = (images + 0.1 * torch.randn(images.shape, generator=generator)).clamp(0, 1)
    return images, adversarial, torch.tensor([0, 1, 2, 0, 1, 2])


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def test_plain_looks_at_clean_images_and_sat_at_adversarial_ones(model: Classifier, batch: Batch) -> None:
    images, adversarial, labels = batch
    plain = PlainTraining().loss(model, images, adversarial, labels)["loss"]
    sat = SAT().loss(model, images, adversarial, labels)["loss"]
    torch.testing.assert_close(plain, functional.cross_entropy(model(images), labels))
    torch.testing.assert_close(sat, functional.cross_entropy(model(adversarial), labels))
    assert plain != sat


def test_f2at_without_regularisers_is_sat(model: Classifier, batch: Batch) -> None:
    f2at = F2AT(alpha=0.0, gamma=0.0).loss(model, *batch)
    torch.testing.assert_close(f2at["loss"], SAT().loss(model, *batch)["loss"])
    assert set(f2at) == {"loss", "cross_entropy"}


def test_f2at_adds_up_as_eq_20(model: Classifier, batch: Batch) -> None:
    """Each part computed again from the model's own features, in train mode, on the sliced 8-bit image."""
    _, adversarial, labels = batch
    method = F2AT(alpha=0.3, gamma=0.7, planes=3)
    terms = method.loss(model, *batch)
    pixels = (adversarial * 255).round().int()
    natural, perturbed = (pixels // 32 * 32) / 255, (pixels % 32) / 255
    features, nat, pert = (model.features(x) for x in (adversarial, natural, perturbed))
    expected = (
        functional.cross_entropy(model.head(features), labels)
        + 0.3 * pattern_dependent_loss(nat, pert, features, tau=0.07)
        + 0.7 * natural_margin_loss(model.head(nat), labels, upsilon=0.995)
    )
    torch.testing.assert_close(terms["loss"], expected)


def test_ablation_i_uses_the_clean_image(model: Classifier, batch: Batch) -> None:
    images, adversarial, labels = batch
    terms = F2AT(alpha=0.0, natural="clean").loss(model, *batch)
    expected = functional.cross_entropy(model(adversarial), labels) + natural_margin_loss(model(images), labels)
    torch.testing.assert_close(terms["loss"], expected)


@pytest.mark.parametrize("update", [False, True])
def test_patterns_move_running_statistics_only_if_asked(model: Classifier, batch: Batch, update: bool) -> None:
    images, adversarial, labels = batch
    reference = create_model("resnet18", classes=3, width=4).train()
    reference.load_state_dict(model.state_dict())
    SAT().loss(reference, images, adversarial, labels)
    F2AT(pattern_statistics=update).loss(model, images, adversarial, labels)
    same = [
        torch.equal(left, right)
        for (name, left), right in zip(model.named_buffers(), reference.buffers(), strict=True)
        if name.endswith(("running_mean", "running_var"))
    ]
    assert all(same) is not update
    assert model.training
    assert all(m.momentum == 0.1 for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_no_gradient_flows_into_the_patterns(model: Classifier, batch: Batch) -> None:
    """They are constants: the gradient that reaches the adversarial image is the cross-entropy's alone."""
    images, adversarial, labels = batch
    leaf = adversarial.clone().requires_grad_()
    (whole,) = torch.autograd.grad(F2AT(alpha=0.0).loss(model, images, leaf, labels)["loss"], leaf)
    (alone,) = torch.autograd.grad(SAT().loss(model, images, leaf, labels)["loss"], leaf)
    torch.testing.assert_close(whole, alone)


@given(pixels=st.lists(st.integers(0, 255), min_size=1, max_size=64), planes=st.integers(1, 8))
def test_patterns_sum_to_the_8_bit_image(pixels: list[int], planes: int) -> None:
    image = torch.tensor(pixels, dtype=torch.float32).view(1, 1, 1, -1) / 255
    natural, perturbed = slice_patterns(image, planes)
    torch.testing.assert_close(natural + perturbed, image, rtol=0, atol=1e-6)
    levels = (natural * 255).round().int()
    assert bool((levels % (1 << (8 - planes)) == 0).all())
    assert bool(((perturbed * 255).round().int() < (1 << (8 - planes))).all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha must be 0 or more; got -1"),
        ({"tau": 0.0}, "tau must be above 0"),
        ({"planes": 9}, "planes must be from 1 to 8; got 9"),
        ({"scope": "some"}, "scope must be one of all, others, hard; got 'some'"),
        ({"estimator": "mine"}, "estimator must be one of cosine; got 'mine'"),
        ({"natural": "clean"}, "alpha must be 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F2AT(**options)  # type: ignore[arg-type]
