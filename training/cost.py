"""What training costs, in a unit that no machine changes."""

from f2at.training.configuration.options import Config


def forward_passes(config: Config) -> int:
    """Cost of a training step, in forward passes of the model over the step's batch.

    A backward pass to the images alone counts as one more, a backward pass to the weights as two: that is what their
    multiplications come to. Measured ratios of steps agree with it (benchmarks/results/training_step.md).
    """
    attack, method = config.attack, config.method
    inner = 0
    if config.adversarial:
        objective = method.inner if attack.objective == "method" else attack.objective
        steps = attack.steps if attack.kind == "pgd" else 1
        inner = 2 * steps + (objective == "kl")  # the divergence needs the clean images' logits first
    return inner + method.shared_passes + method.passes * (2 if config.awp.gamma else 1)
