"""The two regularisers of F2AT as pure functions of features and logits.

Source: Qian et al., "F2AT: Feature-Focusing Adversarial Training via Disentanglement of Natural and Perturbed
Patterns", Section IV-D. Equation numbers are the paper's.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

Estimator = Callable[[Tensor, Tensor], Tensor]


def cosine_dependence(patterns: Tensor, features: Tensor) -> Tensor:
    """Cosine similarity in place of the mutual information I(X_pattern; F'), which the paper leaves open.

    It is what contrastive estimators of mutual information (InfoNCE) use as their critic. Being bounded, it lets the
    paper's tau = 0.07 and alpha = 0.1 give a term the size of the cross-entropy.

    Args:
        patterns: E(pattern), (M, D).
        features: F' = E(x'), (N, D).

    Returns:
        (M, N) in [-1, 1]; entry (j, i) stands for I(pattern_j; F'_i).
    """
    return functional.normalize(patterns, dim=1) @ functional.normalize(features, dim=1).T


MARGIN_SCOPES = ("all", "others", "hard")
ESTIMATORS: Mapping[str, Estimator] = {"cosine": cosine_dependence}


def pattern_dependent_loss(
    natural: Tensor, perturbed: Tensor, features: Tensor, *, tau: float, estimator: Estimator = cosine_dependence
) -> Tensor:
    """L_pd, Eq. 16: depend on one's own natural pattern, and on no perturbed pattern of the batch.

    mean_i [ -I(X_nat_i; F'_i) / tau + log sum_j exp(I(X_pert_j; F'_i) / tau) ]

    Args:
        natural: E(X_nat), (N, D).
        perturbed: E(X_pert), (N, D).
        features: F' = E(x'), (N, D).
        tau: temperature; the smaller, the harder the natural pattern is favoured.
        estimator: stands for I(.; .).

    Returns:
        A scalar.
    """
    attraction = estimator(natural, features).diagonal() / tau
    repulsion = torch.logsumexp(estimator(perturbed, features) / tau, dim=0)
    return (repulsion - attraction).mean()


def natural_margin_loss(logits: Tensor, labels: Tensor, *, upsilon: float = 0.995, scope: str = "all") -> Tensor:
    """L_mg on the logits of the natural patterns: move them away from the decision boundary.

    Args:
        logits: h(X_nat), (N, C).
        labels: (N,).
        upsilon: v of Eq. 19.
        scope: which classes the maximum in the margin runs over.
            "all": Eq. 19, -mean [ z_y - (1/v) log sum_y' v exp(z_y') ], over every class. Bounded below by about
                zero, in keeping with the paper's remark that the term approaches 0 in training.
            "others": Eq. 19 as printed, over y' != y. Unbounded below: the logits can grow without end.
            "hard": Eq. 18, -mean [ z_y - max z ].

    Returns:
        A scalar.

    Raises:
        ValueError: unknown scope.
    """
    own = logits.gather(1, labels[:, None]).squeeze(1)
    if scope == "hard":
        return (logits.amax(1) - own).mean()
    if scope == "others":
        logits = logits.scatter(1, labels[:, None], -torch.inf)
    elif scope != "all":
        raise ValueError(f"scope must be one of {', '.join(MARGIN_SCOPES)}; got {scope!r}")
    soft_maximum = (logits.logsumexp(1) + math.log(upsilon)) / upsilon
    return (soft_maximum - own).mean()
