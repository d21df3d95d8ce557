from fractions import Fraction
from pathlib import Path

import pytest
import tomli_w

from training.config import Config, ConfigError, config_from_table, config_to_table, load_config
from training.methods import F2AT, SAT

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configurations_load_and_round_trip(path: Path) -> None:
    config = load_config(path, {})
    assert config_from_table(config_to_table(config)) == config


def test_the_papers_recipe_is_as_printed() -> None:
    """Section V-A."""
    config = load_config(CONFIGS / "cifar10-resnet18.toml", {})
    assert config.method == F2AT(planes=2, gamma=1.0, tau=0.07, upsilon=0.995, alpha=0.1)
    optimizer, attack = config.optimizer, config.attack
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.1, 0.9, 2e-4)
    assert (optimizer.batch_size, optimizer.epochs, optimizer.milestones) == (128, 100, (50, 75))
    assert (attack.eps, attack.step_size, attack.steps) == (Fraction(8, 255), Fraction("0.007"), 10)
    assert (config.data.crop_padding, config.data.flip, config.model.width) == (4, True, 64)


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
        ({"optimizer": {"learning_rate": 1}}, "unknown key optimizer.learning_rate; accepted: optimizer.epochs"),
        ({"optimizer": {"lr": "fast"}}, "optimizer.lr must be a number; got 'fast'"),
        ({"optimizer": {"epochs": 1.5}}, "optimizer.epochs must be a whole number; got 1.5"),
        ({"optimizer": {"epochs": True}}, "optimizer.epochs must be a whole number; got True"),
        ({"optimizer": {"milestones": ["a"]}}, "optimizer.milestones must be a list of numbers"),
        ({"data": {"flip": 1}}, "data.flip must be true or false; got 1"),
        ({"data": 3}, "data is a section with keys of its own; got 3"),
        ({"attack": {"eps": "8/0"}}, "attack.eps must be a number or a fraction like 8/255; got '8/0'"),
        ({"attack": {"eps": 0}}, "attack.eps must be above 0 and at most 1; got 0"),
        ({"attack": {"eps": "256/255"}}, "attack.eps must be above 0 and at most 1; got 256/255"),
        ({"attack": {"steps": 0}}, "attack.steps must be at least 1; got 0"),
        ({"method": {"name": "magic"}}, "method.name must be one of plain, sat, trades, mart, seat, f2at; got 'magic'"),
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
        ({"averaging": {"decay": 1}}, r"averaging.decay must be in \[0, 1\); got 1"),
        (
            {"method": {"name": "seat"}, "averaging": {"decay": 0.9}},
            "averaging.decay must be 0 with method.name = seat, which averages by itself",
        ),
        ({"awp": {"gamma": -0.1}}, "awp.gamma must be 0 or more; got -0.1"),
        ({"awp": {"warmup": -1}}, "awp.warmup must be 0 or more; got -1"),
        ({"awp": {"gamma": 0.1}, "hardware": {"precision": "16-mixed"}}, "awp.gamma needs hardware.precision 32-true"),
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
