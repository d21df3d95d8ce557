"""The most that the attacks of an audit may cost, known before it runs."""

from f2at.audit.request import AuditRequest
from f2at.audit.suites import checked


def most_evaluations(request: AuditRequest, samples: int) -> int:
    """The most evaluations of a model, forward and gradient, that the attacks of `request` take on so many samples.

    As if no attack ever succeeded, and the model had as many classes as an attack may be aimed at. What the audit
    measures besides, on a hundred samples at most, is not in it.
    """
    suite = request.chosen_suite
    attacked = {every: sum(checked(p, every) for p in range(samples)) for every in {1, *suite.every.values()}}
    return sum(attack.most_per_sample * attacked[suite.every.get(attack.name, 1)] for attack in suite.attacks)
