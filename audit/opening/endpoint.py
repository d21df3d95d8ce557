"""A model behind HTTP, opened for an audit: its answers are attacked, wherever it runs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from f2at.attacks.target import has_scores
from f2at.audit import AuditRequest, Step
from f2at.audit.endpoint.address import Address
from f2at.audit.endpoint.answers import find_reading
from f2at.audit.endpoint.connection import Server
from f2at.audit.endpoint.finding import Found, find_interface
from f2at.audit.endpoint.limits import Limits
from f2at.audit.endpoint.target import Asking, EndpointTarget
from f2at.audit.opening.bundle import open_surrogate
from f2at.audit.opening.model import Model
from f2at.audit.perform import perform
from f2at.audit.provenance.context import Context
from f2at.audit.provenance.repetition import Origin, unusual
from f2at.images.preparation import Preparation
from f2at.images.sets.base import LabelledSet
from f2at.images.sets.opening import as_labelled

KEY = "F2AT_ENDPOINT_KEY"
_ASKED = 4  # images by which an endpoint is understood


def audit_endpoint(
    url: str,
    images: ArrayLike | Path,
    labels: ArrayLike | None = None,
    request: AuditRequest | None = None,
    *,
    surrogate: str | None = None,
    progress: Callable[[Step], object] | None = None,
    context: Context | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Audit a model by its answers over HTTP, and return the report.

    Args:
        url: of our own service, of a model of the Open Inference Protocol (.../v2/models/NAME), or of a route that
            takes pictures or tensors. A key for it is read from the environment, F2AT_ENDPOINT_KEY.
        images: labelled images that the model was not trained on: uint8 (N, H, W, 3), or where they are, as
            `f2at.images.sets.opening.open_labelled` takes it. They are sent at the model's size, without loss.
        labels: integers (N,), an array or a list, if `images` are arrays.
        request: what to do, without a curve where `max_queries` is given; None is the suite "black-box" at 8/255, or
            "labels" where no scores are answered.
        surrogate: a bundle of the same classes, for suites with transfer attacks.
        progress: called after every step.
        context: what its owner says of the model and the audit, for the report.
        options: see `open_endpoint`.

    Raises:
        OSError: a file cannot be read.
        ValueError: the endpoint cannot be understood or stops answering (`EndpointError`), the queries that are allowed
            are spent, or the arguments do not fit together.
    """
    data = as_labelled(images, labels)
    model = open_endpoint(url, data=data, **options)
    other = open_surrogate(surrogate, threads=0)
    request = request or AuditRequest(suite=usual_suite(model), curve=options.get("max_queries") is None)
    return perform(model.audit(data, request, surrogate=other), progress=progress, context=context)


def usual_suite(model: Model) -> str:
    """The suite for an endpoint where none is named."""
    return "black-box" if has_scores(model.target) else "labels"


def open_endpoint(
    url: str,
    *,
    data: LabelledSet,
    classes: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    fit: str | None = None,
    interpolation: str | None = None,
    scores: str | None = None,
    max_queries: int | None = None,
    rate: float | None = None,
    timeout: float = 30.0,
    patience: float = 60.0,
    connections: int = 4,
    key_header: str = "Authorization",
    **interface: Any,
) -> Model:
    """A model behind HTTP.

    Args:
        url: where it is.
        data: the images at hand, of which a few are sent, to see what an answer looks like.
        classes: a name for each class, in the order of the labels; None takes the endpoint's own, the data's where
            answers are by name, or numbers them.
        size: (H, W) of its images, where neither the endpoint nor the data tells.
        fit, interpolation: how pictures are brought to that size, "crop" and "bilinear" if nobody says; see
            `f2at.images.preparation.Preparation`.
        scores: what the answers hold, logits, probabilities or labels; None finds out.
        max_queries: the most images that may be sent; None: any number.
        rate: the most images a second.
        timeout: seconds to wait for an answer.
        patience: seconds that a request may spend waiting for an endpoint that is busy or unreachable.
        connections: the most requests at a time.
        key_header: the header that the key of F2AT_ENDPOINT_KEY goes into; in Authorization it is a bearer token.
        interface: protocol, field, output, layout, channels, mean, std and scale; see
            `f2at.audit.endpoint.finding.find_interface`.
    """
    if not timeout > 0 or not patience >= 0:
        raise ValueError(f"timeout must be > 0 and patience >= 0, in seconds; got {timeout} and {patience}")
    options = unusual(
        open_endpoint,
        classes=classes,
        size=size,
        fit=fit,
        interpolation=interpolation,
        scores=scores,
        max_queries=max_queries,
        rate=rate,
        timeout=timeout,
        patience=patience,
        connections=connections,
        key_header=key_header,
        **{"output_name" if name == "output" else name: value for name, value in interface.items()},
    )
    address = Address.parse(url)
    key = os.environ.get(KEY) or None
    withheld = [*([f"the key, in {KEY}"] if key else []), *(["the query of the URL"] if address.query else [])]
    server = Server(address, key=key, key_header=key_header, timeout=timeout, patience=patience)
    limits = Limits(most=max_queries, rate=rate)
    given = {name: value for name, value in interface.items() if value is not None}
    found = find_interface(server, size=size or data.size, **given)
    preparation = _preparation(found, size or data.size, fit, interpolation)
    if found.classes is not None and classes is not None and tuple(classes) != found.classes:
        raise ValueError(f"classes must be those of the endpoint, {', '.join(found.classes)}, or be left out")
    asking = Asking(server, found.interface, limits, connections=connections)
    answers = asking(data.prepared(preparation).read(range(min(_ASKED, len(data)))))
    by_name = not isinstance(answers[0], np.ndarray)
    classes = found.classes or classes or (data.names if by_name else None)
    reading = find_reading(answers, classes=classes, scores=scores)
    return Model(
        EndpointTarget(asking, reading),
        reading.classes,
        preparation,
        {
            "url": str(address),
            "protocol": found.protocol,
            "scores": reading.describe(),
            **(found.subject or {}),
            "preprocessing": None if found.entry is None else asdict(found.entry),
        },
        {},
        Origin(model=str(address), options=options, withheld=tuple(withheld)),
        named=classes is not None,
    )


def _preparation(found: Found, size: tuple[int, int] | None, fit: str | None, interpolation: str | None) -> Preparation:
    """How pictures are made to fit: as the endpoint says, unless it says nothing."""
    if found.preparation is not None:
        if fit or interpolation:
            raise ValueError("fit and interpolation must be left out for a service that says them itself")
        return found.preparation
    size = found.size or size
    if size is None:
        raise ValueError("size must be given, (H, W), for an endpoint that takes pictures of any size")
    return Preparation(size, fit or "crop", interpolation or "bilinear")
