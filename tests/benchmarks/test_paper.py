"""The paper's tables and figures: the numbers typed off it, what each experiment needs, and small ones run for real."""

import csv
import statistics
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.paper.__main__ import epochs, main, plan
from benchmarks.paper.evaluation import evaluate
from benchmarks.paper.experiments import EXPERIMENTS, accuracy
from benchmarks.paper.published import PUBLISHED, TABLES
from benchmarks.paper.render import Result, density, draw, markdown, table
from benchmarks.paper.runner import Outcome, Runner, estimate, gradients, seconds_per_image
from benchmarks.paper.scales import SCALES, scale_for, with_settings
from benchmarks.paper.terms import Column, Evaluation, Experiment, Row, Run, with_rows
from f2at.attacks.registry import ATTACKS
from f2at.models import Classifier
from f2at.training.configuration.options import ConfigError
from f2at.training.cost import forward_passes

SAT = Row("SAT", Run("CIFAR-10", "ResNet-18", {"name": "sat"}))


# The paper's numbers


def gain(table: str, column: str, over: str) -> float:
    rows = TABLES[table]
    return round(rows["F2AT"][column][0] - rows[over][column][0], 2)


@pytest.mark.parametrize(
    ("name", "column", "over", "stated"),  # gains of F2AT that the text of Section V spells out
    [
        ("table-I", "PGD-20", "SAT", 5.20),
        ("table-I", "PGD-100", "SAT", 5.24),
        ("table-I", "MI-FGSM", "SAT", 3.73),
        ("table-I", "CW", "SAT", 3.91),
        ("table-I", "AA", "SAT", 3.61),
        ("table-II", "PGD-20", "MART", 0.36),
        ("table-II", "PGD-20", "SAT", 7.65),
        ("table-V", "Clean", "TRADES", 4.35),
        ("table-V", "AA", "SEAT", 1.76),
    ],
)
def test_typed_tables_agree_with_the_text(name: str, column: str, over: str, stated: float) -> None:
    assert gain(name, column, over) == stated


@pytest.mark.parametrize(("over", "stated"), [("SAT", 6.30), ("TRADES", 2.71), ("MART", 4.17), ("SEAT", 3.88)])
def test_typed_black_box_table_agrees_with_the_text(over: str, stated: float) -> None:
    """Section V-C: the gains "in the worst-case scenario across all attacks"."""
    worst = {row: min(value for value, _ in columns.values()) for row, columns in TABLES["table-VII"].items()}
    assert round(worst["CIFAR-10/F2AT"] - worst[f"CIFAR-10/{over}"], 2) == stated


def test_pgd_of_more_steps_is_hardly_stronger_in_every_typed_row() -> None:
    """A digit typed wrong would stand out: PGD-20 and PGD-100 are within one point of each other throughout."""
    for name in ("table-I", "table-II", "table-III", "table-IV", "table-V", "table-VIII"):
        for row in TABLES[name].values():
            assert abs(row["PGD-20"][0] - row["PGD-100"][0]) < 1
            assert row["AA"][0] < row["PGD-20"][0] < row["Clean"][0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows_and_columns_are_those_of_the_experiment(name: str) -> None:
    experiment = EXPERIMENTS[name]
    own = {"clean-training": {"undefended"}}.get(name, set())  # rows that the paper does not have
    assert set(PUBLISHED[name]) == {row.name for row in experiment.rows} - own
    for columns in PUBLISHED[name].values():
        assert set(columns) <= {column.name for column in experiment.columns}


# Experiments and scales


def test_every_table_and_figure_with_an_experiment_is_there() -> None:
    numbers = ("I", "II", "III", "IV", "V", "VI", "VII", "VIII")
    published = {f"table-{n}" for n in numbers} | {f"figure-{n}" for n in (1, *range(3, 11))}
    assert set(EXPERIMENTS) == {*published, "clean-training", "defences", "readings"}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_row_is_a_configuration_at_every_scale(name: str, scale: str, tmp_path: Path) -> None:
    for row in EXPERIMENTS[name].rows:
        Runner(SCALES[scale], tmp_path).config(row.run, 0)


def test_the_full_scale_is_the_papers_setting() -> None:
    config = SCALES["full"].config(EXPERIMENTS["table-I"].rows[-1].run, 1)
    assert (config.data.name, config.model.name, config.model.width, config.seed) == ("cifar10", "resnet18", None, 1)
    assert (config.attack.eps, float(config.attack.step_size), config.attack.steps) == (Fraction(8, 255), 0.007, 10)
    optimizer = config.optimizer
    assert (optimizer.epochs, optimizer.batch_size, optimizer.lr, optimizer.momentum) == (100, 128, 0.1, 0.9)
    assert (optimizer.weight_decay, optimizer.schedule, optimizer.milestones) == (2e-4, "piecewise", (50, 75))
    method = vars(config.method)
    assert {k: method[k] for k in ("planes", "gamma", "tau", "upsilon", "alpha")} == {
        "planes": 2,
        "gamma": 1.0,
        "tau": 0.07,
        "upsilon": 0.995,
        "alpha": 0.1,
    }


def test_clean_training_is_the_method_without_an_inner_attack() -> None:
    undefended, f2at = (SCALES["full"].config(row.run, 0) for row in EXPERIMENTS["clean-training"].rows)
    assert (f2at.method.name, f2at.attack.kind, f2at.adversarial) == ("f2at", "none", False)
    assert (undefended.method.name, undefended.adversarial) == ("plain", False)


def test_tables_share_their_runs(tmp_path: Path) -> None:
    runner = Runner(SCALES["full"], tmp_path)
    paths = {
        (name, row.name): runner.path(runner.scale.config(row.run, 0))
        for name in ("table-I", "table-VIII", "figure-4")
        for row in EXPERIMENTS[name].rows
    }
    assert paths["table-I", "F2AT"] == paths["table-VIII", "K=2"] == paths["figure-4", "F2AT"]
    assert len(set(paths.values())) == 5 + 3


def test_the_full_scale_runs_published_attacks() -> None:
    columns = {column.name: column.evaluation for column in EXPERIMENTS["table-I"].columns}
    scaled = {name: SCALES["full"].evaluation(evaluation).attacks for name, evaluation in columns.items()}
    assert scaled["Clean"] == ()
    assert [a.parameters["steps"] for name in ("PGD-20", "PGD-100") for a in scaled[name]] == [20, 100]
    assert scaled["PGD-20"][0].parameters["step_size"] == 0.007
    assert scaled["AA"] == tuple(ATTACKS[name] for name in ("apgd-ce", "apgd-t", "fab-t", "square"))


def test_a_smaller_scale_caps_steps_and_moves_step_sizes_with_eps() -> None:
    scale = SCALES["smoke"]
    (pgd,) = scale.evaluation(EXPERIMENTS["table-I"].columns[1].evaluation).attacks
    assert pgd.parameters["steps"] == 5
    assert pgd.parameters["step_size"] == pytest.approx(0.007 * 4)  # 32/255 in place of 8/255
    _, square = scale.evaluation(EXPERIMENTS["table-I"].columns[-1].evaluation).attacks
    assert square.parameters["queries"] == 100


def test_where_digits_stand_for_all_data_sets_equal_rows_run_once(tmp_path: Path) -> None:
    names = [row.name for row in Runner(SCALES["smoke"], tmp_path).rows(EXPERIMENTS["table-VII"])]
    assert names == [f"CIFAR-10/{name}" for name in ("SAT", "TRADES", "MART", "SEAT", "F2AT")]
    assert len(Runner(SCALES["full"], tmp_path).rows(EXPERIMENTS["table-VII"])) == 15


def test_black_box_plans_train_the_surrogate(tmp_path: Path) -> None:
    missing = [config.model.name for config in Runner(SCALES["smoke"], tmp_path).missing(EXPERIMENTS["table-VI"])]
    assert missing.count("vgg16_bn") == 1
    assert missing.count("wide_resnet") == 5 * SCALES["smoke"].seeds


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_plans_name_every_row_and_column(name: str, tmp_path: Path) -> None:
    text = plan(Runner(SCALES["full"], tmp_path), EXPERIMENTS[name])
    for part in (*(row.name for row in EXPERIMENTS[name].rows), *(column.name for column in EXPERIMENTS[name].columns)):
        assert f" {part}: " in text
    assert "refused" not in text


def test_an_own_folder_takes_the_place_of_digits() -> None:
    scale = scale_for("small", "/images", None)
    config = scale.config(SAT.run, 0)
    assert (config.data.name, config.data.root, scale.eps) == ("folder", "/images", Fraction(8, 255))
    with pytest.raises(ValueError, match="data must be left out at scale smoke"):
        scale_for("smoke", "/images", None)
    with pytest.raises(ValueError, match="seeds must be at least 1; got 0"):
        scale_for("small", None, 0)


@pytest.mark.parametrize("data", [None, "/images"])
def test_every_run_of_the_small_scale_costs_the_same(data: str | None, tmp_path: Path) -> None:
    scale = scale_for("small", data, None)
    assert scale.passes is not None
    for row in EXPERIMENTS["readings"].rows:
        config = Runner(scale, tmp_path).config(row.run, 0)
        assert abs(config.optimizer.epochs * forward_passes(config) - scale.passes) <= forward_passes(config) / 2


def test_epochs_that_are_asked_for_are_those_of_every_run(tmp_path: Path) -> None:
    scale = with_settings(SCALES["small"], ["optimizer.epochs=7"])
    assert epochs(Runner(scale, tmp_path), EXPERIMENTS["table-I"]) == "7 (SAT, TRADES, MART, SEAT, F2AT)"


def test_rows_that_are_asked_for_are_kept_in_order() -> None:
    table = EXPERIMENTS["table-I"]
    assert [row.name for row in with_rows(table, ["F2AT", "SAT"]).rows] == ["SAT", "F2AT"]
    assert with_rows(table, []) == table


def test_settings_are_laid_over_a_scale_and_are_said() -> None:
    texts = ["optimizer.epochs=30", "attack.eps=16/255", "model.depth=16", "averaging.decay=0.99"]
    scale = with_settings(SCALES["smoke"], texts)
    config = scale.config(Run("CIFAR-10", "WRN-34-10", {"name": "sat"}), 0)
    assert (config.optimizer.epochs, config.attack.eps, config.model.depth) == (30, Fraction(16, 255), 16)
    assert (config.optimizer.batch_size, config.model.width, config.averaging.decay) == (50, 1, 0.99)
    assert scale.eps == Fraction(16, 255)  # what is trained against is what is evaluated
    assert scale.note.endswith("Changed: optimizer.epochs=30, attack.eps=16/255, model.depth=16, averaging.decay=0.99.")
    with pytest.raises(ValueError, match=r"--set must be SECTION\.KEY=VALUE"):
        with_settings(SCALES["smoke"], ["method.alpha=1"])
    with pytest.raises(ConfigError, match=r"unknown key optimizer\.epoch"):
        with_settings(SCALES["smoke"], ["optimizer.epoch=1"]).config(SAT.run, 0)


# Evaluation


def linear_classifier(weight: torch.Tensor) -> Classifier:
    """Two classes on 8x8 images: logits (0, <weight, x - 1/2>)."""
    model = Classifier(nn.Flatten(), width=weight.numel(), classes=2, mean=(0, 0, 0), std=(1, 1, 1))
    with torch.no_grad():
        model.head.weight.copy_(torch.stack([torch.zeros_like(weight), weight]))
        model.head.bias.copy_(torch.tensor([0, -weight.sum() / 2]))
    return model.eval()


def test_evaluation_of_a_linear_model_is_the_closed_form() -> None:
    """PGD moves every pixel by eps along the sign: right if and only if the margin exceeds eps |w|_1."""
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(np.where(rng.random(192) < 0.5, -1.0, 1.0).astype(np.float32))
    signs = weight.numpy().reshape(3, 8, 8).transpose(1, 2, 0).astype(int)
    leads = np.array([-20, -9, -7, -1, 1, 7, 9, 20])  # levels by which every pixel leans to class 1
    images = (127 + leads[:, None, None, None] * signs).astype(np.uint8)
    labels = (leads > 0).astype(np.int64)
    pgd = Evaluation((ATTACKS["pgd"].override(steps=20, start="none", stop_at_success=False),))
    record = evaluate(linear_classifier(weight), None, images, labels, pgd, eps=Fraction(8, 255))
    assert record["right"] == [1, 1, 0, 0, 0, 0, 1, 1]
    assert accuracy(record) == 50
    assert record["natural_difference"][7] == 1.0  # every value of every attacked image moved
    assert record["flipped_bits"][3] == 1.0  # by 8 = 2 ** 3 levels, so that plane 3 flips and those below do not
    assert record["flipped_bits"][:3] == [0.0, 0.0, 0.0]
    clean = evaluate(linear_classifier(weight), None, images, labels, Evaluation(), eps=Fraction(8, 255))
    assert clean["right"] == [1] * 8
    assert clean["flipped_bits"] == [0.0] * 8
    wrong = evaluate(linear_classifier(weight), None, images, 1 - labels, pgd, eps=Fraction(8, 255))
    assert wrong["flipped_bits"] == [None] * 8  # nothing was attacked
    assert clean["natural_accuracy"][7] == 1.0  # K = 8 is the image itself
    double = evaluate(
        linear_classifier(weight), None, images, labels, Evaluation(pgd.attacks, 0.5), eps=Fraction(16, 255)
    )
    assert double["right"] == record["right"]  # eps counts in multiples


def test_attacks_in_a_row_only_take_what_stands() -> None:
    weight = torch.ones(192)
    images = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (100, 126, 130, 150)])
    labels = np.array([0, 0, 1, 1])
    pgd = ATTACKS["pgd"].override(steps=5)
    once = evaluate(linear_classifier(weight), None, images, labels, Evaluation((pgd,)), eps=Fraction(8, 255))
    twice = evaluate(linear_classifier(weight), None, images, labels, Evaluation((pgd, pgd)), eps=Fraction(8, 255))
    assert once["right"] == twice["right"] == [1, 0, 0, 1]
    assert twice["costs"]["gradient_evaluations"] == once["costs"]["gradient_evaluations"] + 2 * 5


def test_black_box_attacks_follow_the_surrogate() -> None:
    """A surrogate of opposite sign leads the attack away from the boundary: nothing falls."""
    weight = torch.ones(192)
    images = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (126, 130)])
    fgsm = Evaluation((ATTACKS["transfer-fgsm"],))
    assert fgsm.transfers
    for surrogate, right in ((linear_classifier(weight), [0, 0]), (linear_classifier(-weight), [1, 1])):
        record = evaluate(linear_classifier(weight), surrogate, images, np.array([0, 1]), fgsm, eps=Fraction(8, 255))
        assert record["right"] == right


# Rendering


def result_of(name: str, *rights: list[int]) -> Result:
    """A table of one row whose seeds were right on these images, whatever the column."""
    experiment = EXPERIMENTS[name]
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64)
    measured = evaluate(linear_classifier(torch.ones(192)), None, images, labels, Evaluation(), eps=Fraction(1, 255))
    records = [[{**measured, "right": right} for _ in experiment.evaluations] for right in rights]
    outcomes = [Outcome(experiment.rows[0], records), Outcome(experiment.rows[1], [], "no such method")]
    return Result(name=name, experiment=experiment, outcomes=outcomes, images=4, setting=["scale, machine"])


def test_markdown_has_mean_deviation_the_papers_value_and_refusals() -> None:
    text = markdown(result_of("table-I", [1, 1, 1, 0], [1, 1, 0, 0]))
    assert "| SAT | 62.50 \N{PLUS-MINUS SIGN} 17.68 **[77.59 \N{PLUS-MINUS SIGN} 0.62]** |" in text
    assert "| TRADES | - **[80.52 \N{PLUS-MINUS SIGN} 0.88]** |" in text
    assert "TRADES was refused: no such method" in text
    assert "standard error of 25.0 points" in text
    assert text.startswith("# Table I\n")


def test_csv_holds_every_seed() -> None:
    rows = list(csv.DictReader(table(result_of("table-I", [1, 1, 1, 0], [1, 1, 0, 0])).splitlines()))
    assert len(rows) == 2 * 6
    assert (rows[0]["row"], rows[0]["column"], rows[0]["values"]) == ("SAT", "Clean", "75.0000 50.0000")
    assert float(rows[0]["deviation"]) == pytest.approx(statistics.stdev([75, 50]), abs=1e-4)
    assert (rows[6]["mean"], rows[6]["paper"], rows[6]["paper_deviation"]) == ("", "80.52", "0.88")


@pytest.mark.parametrize(
    ("name", "panels"),
    [
        ("table-I", 1),
        ("figure-1", 18),
        ("figure-4", 2),
        ("figure-5", 2),
        ("figure-6", 1),
        ("figure-10", 2),
        ("readings", 4),
    ],
)
def test_pictures_are_drawn_around_refused_rows_and_absent_classes(name: str, panels: int) -> None:
    figure = draw(result_of(name, [1, 0, 1, 1], [1, 1, 1, 1]))
    assert len(figure.axes) == panels
    figure.canvas.draw()


def test_density_integrates_to_one_and_peaks_at_the_samples() -> None:
    x, y = density([0.0, 0.9, 0.9])
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-3)
    assert x[100 + y[100:].argmax()] == pytest.approx(0.9, abs=0.01)


# Runs


def test_an_unknown_method_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    clean = EXPERIMENTS["table-I"].columns[0]
    rows = [Row("XAT", Run("CIFAR-10", "ResNet-18", {"name": "xat"})), SAT]
    with pytest.raises(ConfigError, match=r"method\.name must be one of"):
        SCALES["smoke"].config(rows[0].run, 0)
    runner = Runner(scale_for("smoke", None, 1), tmp_path, progress=False)
    refused, trained = runner.run(Experiment(title="", rows=rows, columns=[clean, Column("x", clean.evaluation, len)]))
    assert refused.refusal is not None
    assert "got 'xat'" in refused.refusal
    assert len(trained.records) == len(trained.records[0]) == 1


def test_figures_run_from_the_command_line_and_nothing_is_done_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--seeds", "1", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "out")]
    main(["figure-1", *folders])
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    main(["Figure-9", *folders])  # other numbers of the same attacks on the same models
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    for name in ("figure-1", "figure-9"):
        text = (tmp_path / "out" / "smoke" / f"{name}.md").read_text(encoding="utf-8")
        assert "Again: `python -m benchmarks.paper" in text
        assert "torch " in text
        assert (tmp_path / "out" / "smoke" / f"{name}.png").stat().st_size > 10_000
        rows = list(csv.DictReader((tmp_path / "out" / "smoke" / f"{name}.csv").read_text().splitlines()))
        assert len(rows) == 16
    printed = capsys.readouterr()
    assert printed.err.count("train ") == 2  # undefended and SAT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table-IX"], "must be list or one of table-I,"),
        (["table-I", "--scale", "smoke", "--data", "x"], "data must be left out at scale smoke"),
        (["table-I", "--row", "sat"], "row must be among ['SAT', 'TRADES', 'MART', 'SEAT', 'F2AT']; got 'sat'"),
        (["table-I", "--scale", "full", "--data", "/nowhere"], "no intact CIFAR10 under data.root = /nowhere"),
    ],
)
def test_refusals_say_why(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert message in f"{exit_info.value} {capsys.readouterr().err}"


def test_gradients_that_an_attack_may_spend() -> None:
    assert gradients(ATTACKS["pgd"]) == 21  # including a last evaluation
    assert gradients(ATTACKS["square"]) == 2500


def test_an_estimate_has_a_line_for_each_run_and_adds_them_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One image per millisecond: 1000 epochs of 1200 images, and the attacks on every second test image."""
    monkeypatch.setattr("benchmarks.paper.runner.seconds_per_image", lambda config: 0.001)
    experiment = Experiment(title="", rows=[SAT], columns=EXPERIMENTS["table-I"].columns)
    scale = with_settings(SCALES["smoke"], ["optimizer.epochs=1000"])
    seconds, lines = estimate(Runner(scale, tmp_path, progress=False), experiment)
    assert len(lines) == scale.seeds
    assert all("training 0.3 h" in line for line in lines)
    spent = sum(gradients(a) for e in experiment.evaluations for a in scale.evaluation(e).attacks)
    gradient = 0.001 * 2 / forward_passes(scale.config(SAT.run, 0))
    assert scale.images is not None
    assert seconds == pytest.approx(scale.seeds * (1200 + gradient * spent * scale.images / 2))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_critics_are_learned_on_sat_when_a_row_needs_them(tmp_path: Path) -> None:
    row = next(row for row in EXPERIMENTS["readings"].rows if row.name == "Donsker-Varadhan")
    clean = Column("Clean", Evaluation(), accuracy)
    scale = scale_for("smoke", None, 1)
    runner = Runner(scale, tmp_path, progress=False)
    assert [config.method.name for config in runner.missing(Experiment(title="", rows=[row], columns=[clean]))] == [
        "f2at"
    ]
    (outcome,) = runner.run(Experiment(title="", rows=[row], columns=[clean]))
    assert len(outcome.records) == 1
    (critic,) = (tmp_path / "critics").iterdir()
    assert critic.name.startswith(runner.path(scale.config(SAT.run, 0)).name)


@pytest.mark.slow
def test_a_training_step_is_timed() -> None:
    assert seconds_per_image(SCALES["smoke"].config(SAT.run, 0)) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table-I", "table-VII"])
def test_a_whole_table(name: str, tmp_path: Path) -> None:
    main([name, "--seeds", "1", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)])
    rows = list(csv.DictReader((tmp_path / "smoke" / f"{name}.csv").read_text().splitlines()))
    assert len(rows) == 5 * 6
    means = {(row["row"], row["column"]): float(row["mean"]) for row in rows}
    clean = max(means.values())
    assert all(0 <= mean <= clean <= 100 for mean in means.values())
