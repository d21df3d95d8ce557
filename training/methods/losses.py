"""Losses as pure functions of features and logits.

F2AT's two regularisers are Qian et al., "F2AT: Feature-Focusing Adversarial Training via Disentanglement of Natural and
Perturbed Patterns", Section IV-D; equation numbers are the paper's. TRADES' and MART's terms are theirs as their
authors coded them, guards against log 0 included.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

MARGIN_SCOPES = ("all", "others", "hard")


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


def donsker_varadhan(scores: Tensor) -> Tensor:
    """A critic's scores as estimates of mutual information: T - log E_product[exp T], averaged over places.

    Args:
        scores: T, (N, N, L), for every pair of a batch at each of L places; pairs on the diagonal belong together, the
            others stand for the product of the marginals.

    Returns:
        (N, N); the mean of its diagonal is the bound of Donsker and Varadhan on I.
    """
    count = scores.shape[0]
    apart = ~torch.eye(count, dtype=torch.bool, device=scores.device)
    log_mean_exp = scores[apart].logsumexp(0) - math.log(count * (count - 1))
    return (scores - log_mean_exp).mean(-1)


def pattern_dependent_loss(natural: Tensor, perturbed: Tensor, *, tau: float) -> Tensor:
    """L_pd, Eq. 16: depend on one's own natural pattern, and on no perturbed pattern of the batch.

    mean_i [ -I(X_nat_i; F'_i) / tau + log sum_j exp(I(X_pert_j; F'_i) / tau) ]

    Args:
        natural: (N, N), entry (j, i) is (an estimate of) I(X_nat_j; F'_i); only the diagonal is read.
        perturbed: (N, N), entry (j, i) is I(X_pert_j; F'_i).
        tau: temperature; the smaller, the harder the natural pattern is favoured.

    Returns:
        A scalar.
    """
    attraction = natural.diagonal() / tau
    repulsion = torch.logsumexp(perturbed / tau, dim=0)
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


def trades_regulariser(clean: Tensor, adversarial: Tensor) -> Tensor:
    """mean_i KL(p(x_i) || p(x'_i)) of logits (N, C) and (N, C): TRADES, Zhang et al., ICML 2019."""
    return functional.kl_div(
        functional.log_softmax(adversarial, dim=1), functional.softmax(clean, dim=1), reduction="batchmean"
    )


def boosted_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """mean_i [ -log p_y(x'_i) - log(1 - max_{k != y} p_k(x'_i)) ]: MART's BCE, Wang et al., ICLR 2020.

    Args:
        logits: of x', (N, C).
        labels: (N,).
    """
    rival = functional.softmax(logits, dim=1).scatter(1, labels[:, None], 0.0).amax(1)
    return functional.cross_entropy(logits, labels) - (1.0001 - rival + 1e-12).log().mean()


def mart_regulariser(clean: Tensor, adversarial: Tensor, labels: Tensor) -> Tensor:
    """mean_i KL(p(x_i) || p(x'_i)) (1 - p_y(x_i)) of logits (N, C) and (N, C): MART."""
    p, p_adversarial = functional.softmax(clean, dim=1), functional.softmax(adversarial, dim=1)
    divergence = functional.kl_div((p_adversarial + 1e-12).log(), p, reduction="none").sum(1)
    doubt = 1.0000001 - p.gather(1, labels[:, None]).squeeze(1)
    return (divergence * doubt).mean()
