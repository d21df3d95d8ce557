import pytest

from f2at.training.configuration.options import OptimizerConfig
from f2at.training.schedule import learning_rate


def test_piecewise_divides_at_milestones() -> None:
    config = OptimizerConfig(lr=0.1, schedule="piecewise", milestones=(50, 75))
    rates = [learning_rate(config, epoch) for epoch in (0, 49.9, 50, 74.9, 75, 99)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_one_cycle_rises_to_its_peak_and_falls_to_zero() -> None:
    config = OptimizerConfig(lr=0.2, schedule="one-cycle", epochs=10)
    rates = [learning_rate(config, epoch) for epoch in (1.5, 3, 6.5, 10)]
    assert rates == pytest.approx([0.1, 0.2, 0.1, 0.0])
    assert learning_rate(config, 0) == pytest.approx(0.008)  # never zero: the first step does something


def test_piecewise_linear_slopes_to_each_tenth() -> None:
    """Wang and Wang, 2022: 0.01 until a third, 0.001 at two thirds, 0.0001 at the end."""
    config = OptimizerConfig(lr=0.01, schedule="piecewise-linear", milestones=(40, 80), epochs=120)
    rates = [learning_rate(config, epoch) for epoch in (0, 39.9, 40, 60, 80, 100, 120)]
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.0055, 0.001, 0.00055, 0.0001])


def test_cyclic_rises_and_falls_linearly() -> None:
    config = OptimizerConfig(lr=0.2, schedule="cyclic", epochs=10)
    rates = [learning_rate(config, epoch) for epoch in (2, 4, 7, 10)]
    assert rates == pytest.approx([0.1, 0.2, 0.1, 0.0])
    assert learning_rate(config, 0) == pytest.approx(0.008)


def test_cosine_falls_from_the_beginning() -> None:
    config = OptimizerConfig(lr=0.2, schedule="cosine", epochs=10)
    rates = [learning_rate(config, epoch) for epoch in (0, 10 / 3, 5, 10)]
    assert rates == pytest.approx([0.2, 0.15, 0.1, 0.0])


def test_a_warm_up_rises_to_the_schedule() -> None:
    config = OptimizerConfig(lr=1.0, epochs=10, schedule="piecewise", milestones=(5,), warmup=2)
    assert [round(learning_rate(config, progress), 6) for progress in (0, 1, 2, 4, 5)] == [0.04, 0.5, 1.0, 1.0, 0.1]
