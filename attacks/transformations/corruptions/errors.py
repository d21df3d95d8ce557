"""One number for the errors under all corruptions, Hendrycks and Dietterich 2019, Section 4.2."""

import math
from collections.abc import Mapping, Sequence


def corruption_errors(
    errors: Mapping[str, Sequence[float]], reference_errors: Mapping[str, Sequence[float]]
) -> dict[str, float]:
    """CE of each corruption: the errors summed over its severities, over those of a reference model.

    Args:
        errors: of each corruption, the share of images misclassified at each severity, from 0 to 1.
        reference_errors: the same of the model that stands for 1; AlexNet in the paper, on ImageNet.

    Returns:
        By name, in the order of `errors`; 1 is as good as the reference, 0 is without errors. (The paper prints them in
        percent.)

    Raises:
        ValueError: there are none, the two are not of the same corruptions and severities, an error is not a share, or
            the reference makes none.
    """
    if not errors or errors.keys() != reference_errors.keys():
        raise ValueError(
            f"errors and reference_errors must be of the same corruptions, at least one; got {sorted(errors)} and "
            f"{sorted(reference_errors)}"
        )
    found = {}
    for name, values in errors.items():
        reference = reference_errors[name]
        if not len(values) or len(values) != len(reference):
            raise ValueError(
                f"errors of {name} must be as many as its reference's, at least one; got {len(values)} and "
                f"{len(reference)}"
            )
        for value in (*values, *reference):
            if not 0 <= value <= 1:
                raise ValueError(f"errors of {name} must be shares from 0 to 1; got {value}")
        if not any(reference):
            raise ValueError(f"reference_errors of {name} must not all be 0: nothing can be measured by them")
        found[name] = math.fsum(values) / math.fsum(reference)
    return found


def mean_corruption_error(
    errors: Mapping[str, Sequence[float]], reference_errors: Mapping[str, Sequence[float]]
) -> float:
    """mCE: the mean of `corruption_errors`, which says what is accepted. The paper takes 15 corruptions, no extras."""
    every = corruption_errors(errors, reference_errors)
    return math.fsum(every.values()) / len(every)
