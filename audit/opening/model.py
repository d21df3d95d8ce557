"""A model that an audit can start from, wherever it comes from."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from f2at.attacks.target import Target
from f2at.audit import Audit, AuditRequest
from f2at.audit.checks import check_data
from f2at.audit.opening.preprocessing import IMAGES
from f2at.audit.opening.straight import IMAGES as LOOKED_AT
from f2at.audit.opening.straight import Straightened
from f2at.audit.provenance.repetition import Origin
from f2at.audit.steps import drawn
from f2at.images.pixels import Images, Labels
from f2at.images.preparation import Preparation
from f2at.images.sets.base import LabelledSet


class Model(NamedTuple):
    """A model as an audit takes it."""

    target: Target
    classes: Sequence[str]
    preparation: Preparation  # how pictures become its images
    description: dict[str, Any]  # what the report says of it
    environment: dict[str, Any]  # what it runs on
    origin: Origin  # what it is called, and how it was opened
    own: Callable[[], LabelledSet] | None = None  # the images that come with it
    named: bool = True  # False: the classes are numbers, since nobody has named them
    compare: Callable[[Images, Labels], dict[str, Any]] | None = None  # other preprocessings, if there is a choice
    straighten: Callable[[Images, Labels], Straightened | None] | None = None  # see `f2at.audit.opening.straight`

    @property
    def asked_at_a_price(self) -> bool:
        """Whether every answer is somebody else's work, and may be counted."""
        return hasattr(self.target, "queries")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of its images."""
        return self.preparation.size

    def labelled(self, data: LabelledSet | None) -> LabelledSet:
        """Images prepared for this model and matched with its classes; None are those that come with it.

        Raises:
            ValueError: they do not fit the model, or none come with it.
        """
        if data is None:
            if self.own is None:
                raise ValueError("data must be given for a model that comes without images")
            data = self.own()
        return data.prepared(self.preparation).of_classes(self.classes, named=self.named)

    def audit(self, data: LabelledSet | None, request: AuditRequest, *, surrogate: "Model | None" = None) -> Audit:
        """The audit of this model by labelled images, see `labelled`.

        Raises:
            ValueError: data, surrogate and request do not fit the model.
        """
        if surrogate is not None and surrogate.size != self.size:
            raise ValueError(
                f"surrogate must take images of {_size(self.size)}, as the model; got {_size(surrogate.size)}"
            )
        if surrogate is not None and self.named and tuple(surrogate.classes) != tuple(self.classes):
            raise ValueError("surrogate must have the classes of the model, in the same order")
        own, data = data is None, self.labelled(data)
        target, description, order = self.target, self.description, drawn(request, len(data))
        if self.straighten is not None:
            check_data(data, request, data.names or self.classes, target)
            rows = order[:LOOKED_AT]
            if (other := self.straighten(data.read(rows), data.labels[rows])) is not None:
                target, description = other.target, {**description, **other.description}
        if self.compare is not None:
            rows = order[:IMAGES]
            description = {**description, "preprocessings": self.compare(data.read(rows), data.labels[rows])}
        return Audit(
            target,
            data,
            request,
            classes=data.names or self.classes,
            model=description,
            environment=self.environment,
            surrogate=None if surrogate is None else surrogate.target,
            surrogate_model=None if surrogate is None else surrogate.description,
            origin=self.origin.on(data.source, own=own, surrogate=None if surrogate is None else surrogate.origin),
        )


def _size(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
