"""The objectives a white-box attack maximises, from a batch of logits.

Plain array operations: the same code runs on numpy and torch arrays, is differentiated by torch, and is
traced into the exported gradient graph. Order statistics are therefore taken by index (argmax, then a one-hot
selection): exact sub-gradients, and nothing that an ONNX runtime could do differently.

    name              for label y, target t and z_(k), the k-th largest logit
    cross_entropy     -log softmax(z)_y
    dlr               (max_{i != y} z_i - z_y) / (z_(1) - z_(3))                    Croce & Hein 2020, Eq. 6
    targeted_dlr      (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)                   Croce & Hein 2020, Eq. 7
    margin            max_{i != y} z_i - z_y          > 0 exactly when misclassified (ties apart)
    logit_difference  z_t - z_y

Both DLR losses need classes to compare with. With 3 classes targeted_dlr divides by z_(1) - z_(3); with 2
there is no scale left, and dlr is the margin, targeted_dlr the logit difference.
"""

from typing import Any

from array_api_compat import array_namespace, device

OBJECTIVES = ("cross_entropy", "dlr", "targeted_dlr", "margin", "logit_difference")

_TINY = 1e-12  # keeps 0 / 0 away where the leading logits are equal


def objectives(logits: Any, labels: Any, targets: Any, xp: Any = None) -> Any:
    """Every objective of every sample: logits (N, C), labels and targets (N,) -> (N, J), as in OBJECTIVES.

    C >= 2. `targets` is read by the targeted objectives only; any valid class will do for the others. `xp` is the
    library of the arrays, found by itself where it is None.
    """
    xp = array_namespace(logits) if xp is None else xp
    classes = logits.shape[1]
    index = xp.arange(classes, device=device(logits))
    is_label = index == labels[:, None]
    label_logit = _select(xp, logits, is_label)
    target_logit = _select(xp, logits, index == targets[:, None])

    margin = _largest(xp, xp.where(is_label, -xp.inf, logits), 1)[0] - label_logit
    difference = target_logit - label_logit
    z = _largest(xp, logits, min(classes, 4))
    dlr, targeted_dlr = margin, difference
    if classes > 2:
        dlr = margin / (z[0] - z[2] + _TINY)
        targeted_dlr = difference / (z[0] - (z[2] + z[-1]) / 2 + _TINY)
    cross_entropy = _cross_entropy(xp, logits - label_logit[:, None], is_label, margin)
    return xp.stack([cross_entropy, dlr, targeted_dlr, margin, difference], axis=1)


def margins(logits: Any, labels: Any) -> Any:
    """The objective "margin" alone, for attacks that ask for it alone, again and again: (N, C), (N,) -> (N,)."""
    xp = array_namespace(logits)
    is_label = xp.arange(logits.shape[1], device=device(logits)) == labels[:, None]
    return xp.max(xp.where(is_label, -xp.inf, logits), axis=1) - _select(xp, logits, is_label)


def objective_weights(xp: Any, name: str, n: int, *, device: Any = None) -> Any:
    """Weights (n, J), float32, that pick the objective `name` for each of n samples."""
    if name not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}; got {name!r}")
    weights = xp.zeros((n, len(OBJECTIVES)), dtype=xp.float32, device=device)
    weights[:, OBJECTIVES.index(name)] = 1.0
    return weights


def _select(xp: Any, values: Any, mask: Any) -> Any:
    """The one entry of each row that `mask` marks: (N, C) -> (N,)."""
    return xp.sum(xp.where(mask, values, 0.0), axis=1)


def _largest(xp: Any, values: Any, count: int) -> list[Any]:
    """The `count` largest entries of each row, in descending order, each (N,)."""
    index = xp.arange(values.shape[1], device=device(values))
    found, rest = [], values
    for _ in range(count):
        mask = index == xp.argmax(rest, axis=1)[:, None]
        found.append(_select(xp, values, mask))
        rest = xp.where(mask, -xp.inf, rest)
    return found


def _cross_entropy(xp: Any, differences: Any, is_label: Any, margin: Any) -> Any:
    """-log softmax(z)_y from the differences z_i - z_y, as log(1 + sum_{i != y} exp(z_i - z_y)).

    The usual log_softmax computes the gradient's label entry as p_y - 1, which rounds to zero once p_y is within
    1e-7 of one: confident samples lose their gradient. This form keeps it to full relative precision.
    """
    shift = xp.where(margin > 0, margin, 0.0)  # the largest exponent, so that exp never overflows
    others = xp.exp(xp.where(is_label, -xp.inf, differences) - shift[:, None])
    return shift + xp.log1p(xp.expm1(-shift) + xp.sum(others, axis=1))
