"""A model that an audit can start from, wherever it comes from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from f2at.attacks.target import Target
from f2at.audit import Audit, AuditRequest
from f2at.images.pixels import Images, Labels


class Model(NamedTuple):
    """A model as an audit takes it."""

    target: Target
    classes: Sequence[str]
    size: tuple[int, int]  # (H, W) of its images
    description: dict[str, Any]  # what the report says of it
    environment: dict[str, Any]  # what it runs on
    named: bool = True  # False: the classes are numbers, since nobody has named them

    def audit(
        self, images: Images, labels: Labels, request: AuditRequest, *, surrogate: "Model | None" = None
    ) -> Audit:
        """The audit of this model by labelled images; see `Audit`.

        Raises:
            ValueError: images, surrogate and request do not fit the model.
        """
        if surrogate is not None and surrogate.size != self.size:
            raise ValueError(
                f"surrogate must take images of {_size(self.size)}, as the model; got {_size(surrogate.size)}"
            )
        if surrogate is not None and self.named and tuple(surrogate.classes) != tuple(self.classes):
            raise ValueError("surrogate must have the classes of the model, in the same order")
        if images.shape[1:3] != self.size:
            raise ValueError(
                f"data must be images of {_size(self.size)} for this model; got {_size(images.shape[1:3])}"
            )
        return Audit(
            self.target,
            images,
            labels,
            request,
            classes=self.classes,
            model=self.description,
            environment=self.environment,
            surrogate=None if surrogate is None else surrogate.target,
            surrogate_model=None if surrogate is None else surrogate.description,
        )


def _size(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
