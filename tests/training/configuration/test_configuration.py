from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import tomli_w

from f2at.training.configuration.files import config_from_table, config_to_table, load_config
from f2at.training.configuration.options import Config, ConfigError
from f2at.training.methods import F2AT, MART, SAT, SEAT, TRADES, FastF2AT

CONFIGS = Path(__file__).parents[3] / "configs"


# Which method each file trains; a file that is not listed fails.
METHOD_OF = {
    "digits": F2AT(),
    "cifar10": SAT(),
    "sat-cifar10": SAT(),
    "trades-cifar10": TRADES(beta=6.0),
    "mart-cifar10": MART(lam=5.0),
    "seat-cifar10": SEAT(decay=0.999),
    "f2at-cifar10": F2AT(planes=2, gamma=1.0, tau=0.07, upsilon=0.995, alpha=0.1),
    "finetune": FastF2AT(gamma=0.15, planes=4, label_smoothing=0.1),
    "folder": FastF2AT(gamma=0.15, planes=4, label_smoothing=0.1),
    "f2at-fast": FastF2AT(gamma=0.15, planes=4, label_smoothing=0.1),
    "authors/sat": SAT(),
    "authors/trades": TRADES(beta=6.0),
    "authors/mart": MART(lam=5.0),
    "authors/seat": SEAT(decay=0.999),
    "authors/trades-awp": TRADES(beta=6.0),
}
COMMON_RECIPE = [name for name in METHOD_OF if name.endswith("-cifar10")]


def test_every_configuration_is_listed() -> None:
    assert {str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.toml")} == set(METHOD_OF)


@pytest.mark.parametrize("name", METHOD_OF)
def test_shipped_configurations_load_and_round_trip(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml", {})
    assert config_from_table(config_to_table(config)) == config
    assert config.method == METHOD_OF[name]


@pytest.mark.parametrize("name", COMMON_RECIPE)
def test_the_papers_recipe_is_as_printed(name: str) -> None:
    """Section V-A; the same for all methods of Table I."""
    config = load_config(CONFIGS / f"{name}.toml", {})
    optimizer, attack = config.optimizer, config.attack
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.1, 0.9, 2e-4)
    assert (optimizer.batch_size, optimizer.epochs, optimizer.milestones) == (128, 100, (50, 75))
    assert (attack.eps, attack.step_size, attack.steps) == (Fraction(8, 255), Fraction("0.007"), 10)
    assert (config.data.crop_padding, config.data.flip, config.model.width) == (4, True, 64)
    assert replace(config, method=SAT()) == load_config(CONFIGS / "sat-cifar10.toml", {})


def test_the_authors_recipes_are_theirs() -> None:
    """Epochs, learning rate and its schedule, weight decay, network: Madry 2018, and the code of the others."""
    found = {}
    for name in ("sat", "trades", "mart", "seat", "trades-awp"):
        config = load_config(CONFIGS / "authors" / f"{name}.toml", {})
        optimizer = config.optimizer
        assert (optimizer.batch_size, optimizer.momentum) == (128, 0.9)
        found[name] = (optimizer.epochs, optimizer.lr, optimizer.weight_decay, optimizer.milestones, config.model.name)
    assert found == {
        "sat": (205, 0.1, 2e-4, (102, 154), "wide_resnet"),
        "trades": (76, 0.1, 2e-4, (74,), "wide_resnet"),
        "mart": (120, 0.01, 3.5e-3, (74, 89, 99), "resnet18"),
        "seat": (120, 0.01, 3.5e-3, (40, 80), "resnet18"),
        "trades-awp": (200, 0.1, 5e-4, (99, 149), "wide_resnet"),
    }
    awp = load_config(CONFIGS / "authors" / "trades-awp.toml", {}).awp
    assert (awp.gamma, awp.warmup) == (0.005, 9)


@pytest.mark.parametrize(
    ("overrides", "method"),
    [
        ({"method.natural": "clean", "method.alpha": "0"}, F2AT(natural="clean", alpha=0.0)),
        ({"method.gamma": "0"}, F2AT(gamma=0.0)),
        ({"method.alpha": "0"}, F2AT(alpha=0.0)),
        ({"method.planes": "8"}, F2AT(planes=8)),
        ({"method.scope": "hard"}, F2AT(scope="hard")),
    ],
)
def test_the_papers_ablations_are_flags(overrides: dict[str, str], method: F2AT) -> None:
    """As the file's own comment says them."""
    path = CONFIGS / "f2at-cifar10.toml"
    assert load_config(path, overrides).method == method
    flags = " ".join(f"--{name} {value}" for name, value in overrides.items()).replace("planes 8", "planes 4")
    assert flags in path.read_text()
    assert not load_config(path, {"attack.kind": "none"}).adversarial


def test_flags_override_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(tomli_w.dumps({"method": {"name": "f2at", "alpha": 0.5}, "optimizer": {"epochs": 3}}))
    overrides = {"optimizer.lr": "1", "attack.eps": "16/255", "data.flip": "false", "seed": "7", "method.gamma": "2"}
    config = load_config(path, overrides)
    assert config.method == F2AT(alpha=0.5, gamma=2.0)
    assert (config.seed, config.optimizer.epochs, config.optimizer.lr) == (7, 3, 1.0)
    assert config.attack.eps == Fraction(16, 255)
    assert config.data.flip is False
    # Another method does not inherit this one's options.
    assert load_config(path, {"method.name": "sat"}).method == SAT()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"optimiser": {}}, "unknown key optimiser; accepted: seed, data"),
        ({"optimizer": {"learning_rate": 1}}, "unknown key optimizer.learning_rate; accepted: optimizer.name"),
        ({"optimizer": {"lr": "fast"}}, "optimizer.lr must be a number; got 'fast'"),
        ({"optimizer": {"epochs": 1.5}}, "optimizer.epochs must be a whole number; got 1.5"),
        ({"optimizer": {"epochs": True}}, "optimizer.epochs must be a whole number; got True"),
        ({"optimizer": {"milestones": ["a"]}}, "optimizer.milestones must be a list of numbers"),
        ({"data": {"flip": 1}}, "data.flip must be true or false; got 1"),
        (
            {"data": {"validation": 1.0}},
            "data.validation must be at least 1 image, or a share between 0 and 1; got 1.0",
        ),
        ({"data": {"validation": "1/2"}}, "data.validation must be a number; got '1/2'"),
        ({"data": {"test": 1}}, "data.test must be a share between 0 and 1; got 1"),
        ({"data": 3}, "data is a section with keys of its own; got 3"),
        ({"attack": {"eps": "8/0"}}, "attack.eps must be a number or a fraction like 8/255; got '8/0'"),
        ({"attack": {"eps": 0}}, "attack.eps must be above 0 and at most 1; got 0"),
        ({"attack": {"norm": "l0"}}, "attack.norm must be one of linf, l2, l1; got 'l0'"),
        ({"attack": {"norm": "l2", "eps": 0}}, "attack.eps must be above 0; got 0"),
        ({"attack": {"norm": "l2", "kind": "n-fgsm"}}, "attack.norm must be linf for attack.kind = n-fgsm; got 'l2'"),
        ({"attack": {"norm": "l1", "eps": 12}}, "attack.step_size must be at least eps / steps, .* and eps 12"),
        ({"attack": {"eps": "256/255"}}, "attack.eps must be above 0 and at most 1; got 256/255"),
        ({"attack": {"steps": 0}}, "attack.steps must be at least 1; got 0"),
        (
            {"method": {"name": "magic"}},
            "method.name must be one of plain, sat, trades, mart, seat, f2at, f2at-fast; got 'magic'",
        ),
        ({"method": {"name": "sat", "alpha": 1}}, "unknown key method.alpha"),
        ({"method": {"name": "f2at", "tau": 0}}, "method.tau must be above 0"),
        (
            {"method": {"name": "mart", "label_smoothing": 0.1}},
            "unknown key method.label_smoothing; accepted: method.lam",
        ),
        ({"method": {"name": "trades", "beta": -1}}, "method.beta must be 0 or more; got -1"),
        ({"attack": {"kind": "fgsm"}}, "attack.kind must be one of pgd, n-fgsm, none; got 'fgsm'"),
        ({"attack": {"objective": "dlr"}}, "attack.objective must be one of method, cross_entropy, kl, margin; got"),
        ({"attack": {"start": "none"}}, "attack.start must be one of gaussian, uniform; got 'none'"),
        ({"attack": {"fgsm_step": 0}}, "attack.fgsm_step must be above 0; got 0"),
        ({"attack": {"fgsm_noise": -1}}, "attack.fgsm_noise must be 0 or more; got -1"),
        (
            {"optimizer": {"schedule": "step"}},
            "optimizer.schedule must be one of piecewise, piecewise-linear, one-cycle",
        ),
        ({"optimizer": {"milestones": [75, 50]}}, r"milestones must be epochs in rising order; got \[75, 50\]"),
        ({"optimizer": {"name": "adam"}}, "optimizer.name must be one of sgd, adamw; got 'adam'"),
        ({"optimizer": {"warmup": -1}}, "optimizer.warmup must be 0 or more epochs; got -1"),
        (
            {"optimizer": {"warmup": 1, "schedule": "one-cycle"}},
            "optimizer.warmup must be 0 with optimizer.schedule = one-cycle, which rises by itself; got 1",
        ),
        ({"averaging": {"decay": 1}}, r"averaging.decay must be in \[0, 1\); got 1"),
        (
            {"method": {"name": "seat"}, "averaging": {"decay": 0.9}},
            "averaging.decay must be 0 with method.name = seat, which averages by itself",
        ),
        ({"awp": {"gamma": -0.1}}, "awp.gamma must be 0 or more; got -0.1"),
        ({"awp": {"warmup": -1}}, "awp.warmup must be 0 or more; got -1"),
        ({"awp": {"gamma": 0.1}, "hardware": {"precision": "16-mixed"}}, "awp.gamma needs hardware.precision 32-true"),
        (
            {"method": {"name": "f2at-fast"}, "attack": {"kind": "none"}},
            "attack.kind must be pgd or n-fgsm with method.name = f2at-fast; got 'none'",
        ),
        (
            {"method": {"name": "f2at-fast"}, "hardware": {"precision": "16-mixed"}},
            "hardware.precision must be 32-true or bf16-mixed with method.name = f2at-fast; got '16-mixed'",
        ),
        ({"hardware": {"precision": "int4"}}, "hardware.precision must be one of 32-true"),
    ],
)
def test_bad_values_are_named(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_table({"method": {"name": "plain"}, **table})


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration at"):
        load_config(tmp_path / "none.toml", {})
    (tmp_path / "broken.toml").write_text("seed = = 1")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(tmp_path / "broken.toml", {})


def test_defaults_are_valid() -> None:
    assert config_from_table(config_to_table(Config())) == Config()
