import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.autoattack import official, ours
from benchmarks.autoattack.__main__ import main
from benchmarks.autoattack.agreement import GOALS, Agreement, accuracy_within, common_part, full_budget
from benchmarks.autoattack.passes import Passes, PassesOfModel
from benchmarks.autoattack.record import Record, carry_out
from f2at.attacks.targets.torch_target import TorchTarget
from f2at.audit import Audit, AuditRequest, run_audit
from f2at.audit.suites import suite_for
from f2at.images.pixels import to_inputs
from f2at.images.sets.base import in_memory
from f2at.models import create_model
from f2at.models.checkpoint import CheckpointInfo, save_checkpoint

CLASSES, SAMPLES = 10, 30  # two shards
EPS = Fraction(2, 255)  # breaks about half


@pytest.fixture(scope="module")
def problem() -> tuple[nn.Module, NDArray[np.uint8], NDArray[np.int64]]:
    """A small network, and images labelled by it, except every tenth."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, CLASSES)).eval()
    model.requires_grad_(False)
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, 8, 8, 3), dtype=np.uint8)
    labels = model(torch.from_numpy(to_inputs(images))).argmax(1).numpy()
    labels[::10] = (labels[::10] + 1) % CLASSES
    return model, images, labels


def our_record(problem: tuple[nn.Module, NDArray[np.uint8], NDArray[np.int64]], path: Path, suite: str) -> Record:
    model, images, labels = problem
    target, indices = TorchTarget(model, classes=CLASSES), ours.drawn(len(labels), len(labels))
    chosen = suite_for(suite, "linf")

    def run(record: Record, size: int) -> None:
        rows = indices[record.done : record.done + size]
        ours.run_suite(
            record, images[rows], labels[rows], target, chosen, eps=EPS, norm="linf", to_target=torch.from_numpy
        )

    names = [attack.name for attack in chosen.attacks]
    return carry_out(Record.empty({"suite": suite}, names, indices), path, ours.CHUNK, run)


def test_passes_are_those_of_each_sample() -> None:
    clean = np.stack([np.full((3, 2, 2), value, np.float32) for value in (0.2, 0.5, 0.8)])
    passes = Passes(clean, np.array([0, 0, 0]), eps=0.1, norm="linf")
    right, wrong = [1.0, 0.0], [0.0, 2.0]

    passes.begin(np.array([0, 1, 2]))
    rows = passes.count_forward(clean, np.array([right, right, right]))
    passes.count_backward(rows)
    passes.count_forward(clean + 0.05, np.array([right, wrong, right]))
    assert passes.count_forward(clean[[0, 2]] + 0.09, np.array([right, right])).tolist() == [0, 2]
    passes.count_forward(clean[[0, 2]] + 0.11, np.array([right, wrong]))  # outside the ball: no success
    assert passes.count_forward(clean[[2]] - 0.1, np.array([wrong])).tolist() == [2]
    assert passes.forward.tolist() == [4, 2, 5]
    assert passes.backward.tolist() == [1, 1, 1]
    assert passes.fell.tolist() == [-1, 3, 6]
    assert passes.margins.tolist() == [-1, 2, 2]

    passes.apply_verdict(np.array([0, 1, 2]), np.array([True, False, True]))
    assert passes.fell.tolist() == [5, -1, 6]


@given(st.permutations(range(5)), st.integers(1, 5), st.sampled_from(["linf", "l2", "l1"]), st.integers(0, 2**32 - 1))
def test_parts_are_recognised_in_any_order(order: list[int], size: int, norm: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clean = np.stack([np.full((3, 2, 2), value, np.float32) for value in (0.1, 0.3, 0.5, 0.7, 0.9)])
    passes = Passes(clean, np.zeros(5, int), eps=0.05, norm=norm)
    passes.begin(np.arange(5))
    for rows in (list(range(size)), order[:size], order[::-1][:size]):  # as many each time
        images = clean[rows] + rng.uniform(-0.05, 0.05, (size, 1, 1, 1)) / np.sqrt(12 if norm == "l2" else 1)
        assert passes.count_forward(images, np.tile([1.0, 0.0], (size, 1))).tolist() == rows
    passes.begin(np.array([0, 1]))
    with pytest.raises(ValueError, match="of the 2 samples"):
        passes.count_forward(clean, np.zeros((5, 2)))


def test_passes_through_a_model_by_any_way_of_differentiating() -> None:
    inputs = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    passes = Passes(inputs.numpy(), np.zeros(4, int), eps=0.1, norm="linf")
    model = PassesOfModel(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), passes)
    with torch.no_grad():
        model(inputs)
    images = inputs.clone().requires_grad_()
    torch.autograd.grad(model(images).sum(), images)
    part = inputs[1:3].clone().requires_grad_()
    model(part).sum().backward()
    logits: Tensor = model(part)
    logits[:, 0].sum().backward(retain_graph=True)
    logits[:, 1].sum().backward()
    assert passes.forward.tolist() == [2, 4, 4, 2]
    assert passes.backward.tolist() == [1, 4, 4, 1]


@pytest.mark.parametrize("suite", ["quick", pytest.param("adaptive", marks=pytest.mark.slow)])
def test_a_suite_breaks_what_the_audit_breaks_at_the_same_cost(
    suite: str, problem: tuple[nn.Module, NDArray[np.uint8], NDArray[np.int64]], tmp_path: Path
) -> None:
    model, images, labels = problem
    record = our_record(problem, tmp_path / "record.npz", suite)
    request = AuditRequest(suite=suite, eps=str(EPS), norm="linf")
    names = [str(i) for i in range(CLASSES)]
    audit = Audit(
        TorchTarget(model, classes=CLASSES),
        in_memory(images, labels),
        request,
        classes=names,
        to_target=torch.from_numpy,
    )
    results = run_audit(audit)
    for place, attack in enumerate(record.attacks):
        steps = [result for result in results if result["stage"] == attack]
        broken = [p for step in steps if step["broken"] for p in step["broken"]["positions"]]
        assert np.flatnonzero(record.samples["broken_by"] == 1 + place).tolist() == broken
        forward, backward = (record.samples[kind][:, place].sum() for kind in ("forward", "backward"))
        assert backward == sum(step["gradient_evaluations"] for step in steps)
        assert forward - backward == sum(step["forward_evaluations"] for step in steps)
    report = audit.report(results, examples=False)
    assert record.samples["index"].tolist() == [sample["index"] for sample in report["samples"]]
    broken_by = record.samples["broken_by"]
    assert min((broken_by == -1).sum(), (broken_by > 0).sum(), (broken_by == 0).sum()) > 0  # all fates are met
    fallen = record.samples[record.samples["broken_by"] > 0]
    assert (fallen["fell"] > 0).all()
    assert (fallen["margin"] > 0).all()


def test_an_interrupted_run_resumes(
    problem: tuple[nn.Module, NDArray[np.uint8], NDArray[np.int64]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = our_record(problem, tmp_path / "whole.npz", "quick")
    run_suite = ours.run_suite

    def stopping(record: Record, *arguments: object, **options: object) -> None:
        if record.done:
            raise KeyboardInterrupt
        run_suite(record, *arguments, **options)  # type: ignore[arg-type]

    path = tmp_path / "resumed.npz"
    with monkeypatch.context() as patch:
        patch.setattr(ours, "run_suite", stopping)
        with pytest.raises(KeyboardInterrupt):
            our_record(problem, path, "quick")
    assert Record.load(path).done == ours.CHUNK
    resumed = our_record(problem, path, "quick")
    assert (resumed.samples == whole.samples).all()
    assert resumed.done == Record.load(path).done == SAMPLES

    with pytest.raises(ValueError, match="of another run"):
        carry_out(Record.empty({"suite": "other"}, whole.attacks, whole.samples["index"]), path, 1, lambda *_: None)


def test_suites_attack_the_images_of_a_record(tmp_path: Path) -> None:
    model = create_model("resnet18", classes=3, width=2).eval()
    info = CheckpointInfo(
        architecture={"name": "resnet18", "classes": 3, "width": 2},
        classes=("a", "b", "c"),
        input_size=(8, 8),
        dataset="noise",
    )
    save_checkpoint(tmp_path / "best.safetensors", model, info)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    labels = model(torch.from_numpy(to_inputs(images))).argmax(1).numpy()
    np.savez(tmp_path / "reference.npz", images=images, labels=labels)
    Record.empty({"norm": "linf", "eps": "1/255"}, ["first"], np.array([2, 0])).save(tmp_path / "noise.npz")

    assert main(["suites", str(tmp_path / "noise.npz"), str(tmp_path), "--suites", "quick"]) == 0
    record = Record.load(tmp_path / "noise.quick.npz")
    assert record.done == 2
    assert record.samples["index"].tolist() == [2, 0]
    assert (record.samples["broken_by"] != 0).all()  # labelled by the model itself
    assert (record.samples["forward"].sum(axis=1) > 0).all()


def hand_made(broken_by: list[int], fell: list[int], forward: list[int], backward: list[int]) -> Record:
    about = {"dataset": "digits", "architecture": {"name": "resnet18", "width": 16}, "norm": "linf", "eps": "8/255"}
    record = Record.empty(about, ["first"], np.arange(len(broken_by)))
    record.samples["broken_by"], record.samples["fell"] = broken_by, fell
    record.samples["forward"][:, 0], record.samples["backward"][:, 0] = forward, backward
    record.seconds["wall"], record.seconds["processor"] = 10 * sum(backward), 5 * sum(backward)
    record.done = len(broken_by)
    return record


def test_agreement_of_two_records() -> None:
    reference = hand_made([0, 1, 1, -1, -1], [-1, 4, 20, -1, -1], [0, 60, 60, 60, 60], [0, 40, 40, 40, 40])
    tried = hand_made([0, 1, -1, -1, -1], [-1, 3, -1, -1, -1], [0, 3, 7, 7, 7], [0, 2, 4, 4, 4])
    agreement = Agreement.of(tried, reference)
    assert agreement.points == pytest.approx(20)
    assert agreement.low < 20 < agreement.high
    assert (agreement.only_ours, agreement.only_official) == (1, 0)
    assert (agreement.forward, agreement.backward) == pytest.approx((0.1, 14 / 160))
    assert not agreement.meets(GOALS["adaptive"])
    assert Agreement.of(reference, reference).meets(GOALS["standard"])
    assert not Agreement.of(reference, reference).meets(GOALS["adaptive"])  # as strong, but as costly
    assert full_budget(reference) == 100
    assert accuracy_within(reference, [3, 4, 19, 20, 100]) == pytest.approx([0.8, 0.6, 0.6, 0.4, 0.4])


def test_records_of_different_models_are_refused() -> None:
    one = hand_made([0, 1], [-1, 1], [0, 1], [0, 1])
    other = hand_made([1, 1], [1, 1], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="other differs"):
        common_part({"one": one, "other": other})


def test_compare_writes_tables_and_a_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reference = hand_made([0, 1, 1, -1, -1], [-1, 4, 20, -1, -1], [0, 60, 60, 60, 60], [0, 40, 40, 40, 40])
    reference.done = 4  # the last one is still to come
    reference.save(tmp_path / "digits.npz")
    hand_made([0, 1, -1, -1, 1], [-1, 3, -1, -1, 5], [0, 3, 7, 7, 5], [0, 2, 4, 4, 2]).save(
        tmp_path / "digits.quick.npz"
    )
    output = tmp_path / "results" / "autoattack.md"
    assert main(["compare", str(tmp_path / "digits.npz"), "--output", str(output)]) == 0
    text = output.read_text()
    assert "| robust accuracy, % | 25.00 | 50.00 |" in text
    assert "| wall seconds | 1600 | 96 (6.00%) |" in text
    assert "| 1% | 1 | 75.00 | 75.00 |" in text
    assert "| 10% | 10 | 50.00 | 50.00 |" in text
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()


def test_a_missing_checkout_is_told_how_to_get(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["reference", "run", "--official", str(tmp_path), "--output", str(tmp_path / "record.npz")]
    assert main(arguments) == 2
    assert "git clone https://github.com/fra31/auto-attack" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif("AUTOATTACK" not in os.environ, reason="AUTOATTACK names no checkout of the official AutoAttack")
@pytest.mark.parametrize(("norm", "eps"), [("linf", EPS), ("l2", Fraction(1, 12)), ("l1", Fraction(1, 2))])
def test_attack_by_attack_is_what_the_official_evaluation_does(
    problem: tuple[nn.Module, NDArray[np.uint8], NDArray[np.int64]], norm: str, eps: Fraction
) -> None:
    model, images, labels = problem
    autoattack = official.load_official(Path(os.environ["AUTOATTACK"]))
    n = 8
    record = Record.empty({}, official.ATTACKS, np.arange(n))
    official.run_official(record, images[:n], labels[:n], model, autoattack, eps=eps, norm=norm)

    suite = autoattack(
        model, norm=official.NORMS[norm], eps=float(eps), seed=official.SEED, device="cpu", verbose=False
    )
    inputs = torch.from_numpy(to_inputs(images[:n]))
    _, predictions = suite.run_standard_evaluation(inputs, torch.from_numpy(labels[:n]), bs=n, return_labels=True)
    assert (record.samples["broken_by"] == -1).tolist() == (predictions.numpy() == labels[:n]).tolist()
    assert 0 < (record.samples["broken_by"] == -1).sum() < n


def test_without_a_fourth_class_the_targeted_difference_of_logits_ratio_is_left_out() -> None:
    assert official.attacks_for(4) == official.ATTACKS
    assert official.attacks_for(3) == ("apgd-ce", "fab-t", "square")


@pytest.mark.slow
@pytest.mark.skipif("AUTOATTACK" not in os.environ, reason="AUTOATTACK names no checkout of the official AutoAttack")
@pytest.mark.parametrize("classes", [3, 5])
def test_the_official_evaluation_of_few_classes(classes: int) -> None:
    torch.manual_seed(0)
    model = create_model("resnet18", classes=classes, width=2).eval().requires_grad_(False)
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    labels = model(torch.from_numpy(to_inputs(images))).argmax(1).numpy()
    record = Record.empty({}, official.attacks_for(classes), np.arange(8))
    autoattack = official.load_official(Path(os.environ["AUTOATTACK"]))
    official.run_official(record, images, labels, model, autoattack, eps=Fraction(1, 4), norm="linf")
    assert record.done == 8
    assert (record.samples["broken_by"] >= 0).any()
