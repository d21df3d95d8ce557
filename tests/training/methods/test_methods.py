from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from f2at.models import CheckpointInfo, Classifier, create_model, save_checkpoint
from f2at.training.methods import F2AT, MART, METHODS, SAT, SEAT, TRADES, FastF2AT, Method, PlainTraining
from f2at.training.methods.donsker_varadhan import Critics, load_critics, save_critics
from f2at.training.methods.f2at import slice_patterns
from f2at.training.methods.losses import cosine_dependence, natural_margin_loss, pattern_dependent_loss


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
        + 0.3 * pattern_dependent_loss(cosine_dependence(nat, features), cosine_dependence(pert, features), tau=0.07)
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
        ({"estimator": "mine"}, "estimator must be one of cosine, donsker-varadhan; got 'mine'"),
        ({"estimator": "donsker-varadhan"}, "critic must be given with estimator = donsker-varadhan"),
        ({"critic": "critic.safetensors"}, "critic must be given with estimator = donsker-varadhan, and only then"),
        ({"natural": "clean"}, "alpha must be 0"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F2AT(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (TRADES, {"beta": -1.0}, "beta must be 0 or more; got -1"),
        (MART, {"lam": -1.0}, "lam must be 0 or more; got -1"),
        (SEAT, {"decay": 1.0}, "decay must be above 0 and below 1; got 1"),
        (SAT, {"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\); got 1"),
        (SEAT, {"label_smoothing": -0.1}, r"label_smoothing must be in \[0, 1\); got -0.1"),
        (FastF2AT, {"gamma": -1.0}, "gamma must be 0 or more; got -1"),
        (FastF2AT, {"planes": 0}, "planes must be from 1 to 8; got 0"),
        (FastF2AT, {"upsilon": 0.0}, "upsilon must be above 0; got 0"),
        (F2AT, {"warmup": -1}, "warmup must be 0 or more epochs; got -1"),
        (F2AT, {"label_smoothing": 2.0}, r"label_smoothing must be in \[0, 1\); got 2"),
    ],
)
def test_bad_options_of_the_baselines_are_named(method: type[Method], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        method(**options)


def test_trades_as_its_authors_wrote_it(model: Classifier, batch: Batch) -> None:
    """Their formula in plain operations: a sum over the batch, divided by its size; a gradient through both sides."""
    images, adversarial, labels = batch
    loss = TRADES(beta=3.0).loss(model, *batch)["loss"]
    p, q = model(images).softmax(1), model(adversarial).softmax(1)
    cross_entropy = -p.gather(1, labels[:, None]).log().sum() / 6
    expected = cross_entropy + 3.0 * (p * (p.log() - q.log())).sum() / 6
    assert_same_loss_and_gradients(model, loss, expected)


def test_mart_as_its_authors_wrote_it(model: Classifier, batch: Batch) -> None:
    """Their formula sample by sample, with the two largest classes sorted out as they do."""
    images, adversarial, labels = batch
    loss = MART(lam=2.0).loss(model, *batch)["loss"]
    p, q = model(images).softmax(1), model(adversarial).softmax(1)
    total = torch.zeros(())
    for i, y in enumerate(labels.tolist()):
        second, first = q[i].argsort()[-2:].tolist()
        rival = second if first == y else first
        total = total - q[i, y].log() - (1.0001 - q[i, rival] + 1e-12).log()
        total = total + 2.0 * (p[i] * (p[i].log() - (q[i] + 1e-12).log())).sum() * (1.0000001 - p[i, y])
    assert_same_loss_and_gradients(model, loss, total / 6)


def assert_same_loss_and_gradients(model: Classifier, loss: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    for found, wanted in zip(
        torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


# Which batches move BatchNorm's running statistics, in the authors' order: c clean, a adversarial.
@pytest.mark.parametrize(
    ("method", "seen"),
    [
        (PlainTraining(), "c"),
        (SAT(), "a"),
        (SEAT(), "a"),
        (TRADES(), "cac"),
        (MART(), "ca"),
        (F2AT(), "a"),
        (F2AT(alpha=0.0, gamma=0.0), "a"),
    ],
    ids=lambda value: value.name if isinstance(value, Method) else value,
)
def test_running_statistics_after_a_step(model: Classifier, batch: Batch, method: Method, seen: str) -> None:
    images, adversarial, labels = batch
    reference = create_model("resnet18", classes=3, width=4).train()
    reference.load_state_dict(model.state_dict())
    with torch.no_grad():
        for which in seen:
            reference(images if which == "c" else adversarial)
    method.loss(model, images, adversarial, labels)["loss"].backward()
    assert model.training
    for (name, found), wanted in zip(model.named_buffers(), reference.buffers(), strict=True):
        if name.endswith(("running_mean", "running_var")):
            torch.testing.assert_close(found, wanted, msg=name)


@pytest.mark.parametrize("name", METHODS)
def test_terms_are_scalars_and_every_weight_learns(model: Classifier, batch: Batch, name: str) -> None:
    terms = METHODS[name]().loss(model, *batch)
    assert all(term.shape == () and bool(term.isfinite()) for term in terms.values())
    terms["loss"].backward()
    assert all(weight.grad is not None and bool(weight.grad.any()) for weight in model.parameters())


def test_label_smoothing_is_a_mixture_with_the_even_distribution(model: Classifier, batch: Batch) -> None:
    _, adversarial, labels = batch
    log_p = model(adversarial).log_softmax(1)
    hard, even = -log_p.gather(1, labels[:, None]).mean(), -log_p.mean()
    for method in (SAT(label_smoothing=0.3), F2AT(label_smoothing=0.3, alpha=0.0, gamma=0.0)):
        torch.testing.assert_close(method.loss(model, *batch)["loss"], 0.7 * hard + 0.3 * even)


def test_what_a_method_asks_of_the_loop() -> None:
    assert {name for name, method in METHODS.items() if method.inner == "kl"} == {"trades"}
    assert {name for name, method in METHODS.items() if not method.adversarial} == {"plain"}
    assert {name: method().averaging for name, method in METHODS.items() if method().averaging} == {"seat": 0.999}


@pytest.fixture
def critics(tmp_path: Path) -> tuple[str, Critics]:
    torch.manual_seed(3)
    critics = Critics(classes=3, planes=2)
    save_critics(tmp_path / "critic.safetensors", critics)
    return str(tmp_path / "critic.safetensors"), critics.eval()


def test_alpha_rises_over_the_warm_up() -> None:
    method = F2AT(alpha=0.4, warmup=4)
    assert [method.at(epoch).alpha for epoch in (0, 1, 2, 4, 9)] == pytest.approx([0.0, 0.1, 0.2, 0.4, 0.4])
    assert method.at(4) is method
    assert F2AT().at(0) == F2AT()
    assert SAT().at(0) == SAT()


def test_f2at_with_learned_critics(model: Classifier, batch: Batch, critics: tuple[str, Critics]) -> None:
    _, adversarial, labels = batch
    path, judges = critics
    method = F2AT(alpha=0.3, gamma=0.0, tau=2.0, estimator="donsker-varadhan", critic=path)
    method.check(model)
    terms = method.loss(model, *batch)
    natural, perturbed = slice_patterns(adversarial, 2)
    logits = model(adversarial)
    expected = functional.cross_entropy(logits, labels) + 0.3 * pattern_dependent_loss(
        judges.natural(natural, logits), judges.perturbed(perturbed, logits), tau=2.0
    )
    torch.testing.assert_close(terms["loss"], expected)


def test_critics_are_frozen(model: Classifier, batch: Batch, critics: tuple[str, Critics]) -> None:
    path, _ = critics
    before = Path(path).read_bytes()
    method = F2AT(estimator="donsker-varadhan", critic=path)
    first = method.loss(model, *batch)["pattern_dependent"]
    first.backward()
    again = method.loss(model, *batch)["pattern_dependent"]
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    loaded = load_critics(path, torch.device("cpu"))
    assert not loaded.training
    assert all(weight.grad is None for weight in loaded.parameters())
    assert Path(path).read_bytes() == before


def test_critics_of_another_kind_of_model_are_refused(critics: tuple[str, Critics], tmp_path: Path) -> None:
    path, _ = critics
    other = create_model("resnet18", classes=4, width=4)
    with pytest.raises(ValueError, match="was trained for 3 classes and planes 2; this run has 4 and 2"):
        F2AT(estimator="donsker-varadhan", critic=path).check(other)
    with pytest.raises(ValueError, match="no checkpoint at"):
        F2AT(estimator="donsker-varadhan", critic=str(tmp_path / "none")).check(other)
    save_checkpoint(
        tmp_path / "model.safetensors",
        other,
        CheckpointInfo(architecture={}, classes=tuple("0123"), input_size=(8, 8), dataset="digits"),
    )
    with pytest.raises(ValueError, match="has format 'f2at-checkpoint/1'; this version reads 'f2at-critic/1'"):
        F2AT(estimator="donsker-varadhan", critic=str(tmp_path / "model.safetensors")).check(other)
