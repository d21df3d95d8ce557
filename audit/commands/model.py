"""The model and the images that the options of `f2at audit` name."""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from f2at.audit import Audit, AuditRequest
from f2at.audit.commands import endpoint
from f2at.audit.commands.endpoint import endpoint_options
from f2at.audit.commands.foreign import OPTIONS, fitting, reading
from f2at.audit.opening.bundle import open_bundle
from f2at.audit.opening.endpoint import open_endpoint, usual_suite
from f2at.audit.opening.model import Model
from f2at.audit.opening.onnx import open_onnx
from f2at.files import is_url
from f2at.images.sets.base import LabelledSet
from f2at.images.sets.opening import ACCEPTED, open_labelled

_SHOWN = 5  # names of classes


def is_onnx(model: Path) -> bool:
    """Whether a model is an ONNX file: any file is, and what is named like one; bundles are folders."""
    return model.is_file() or (model.suffix == ".onnx" and not model.is_dir())


class Opened(NamedTuple):
    """What the options name, ready to be audited."""

    model: Model
    data: LabelledSet | None
    surrogate: Model | None

    def audit(self, request: AuditRequest) -> Audit:
        """The audit that a request asks for."""
        return self.model.audit(self.data, request, surrogate=self.surrogate)


def open_all(options: argparse.Namespace) -> Opened:
    """The model, the images and the surrogate."""
    model, data = open_subject(options)
    for note in data.notes if data else ():
        print(f"f2at audit: {note}", file=sys.stderr)
    if data and not model.named and data.names:
        names = ", ".join(data.names[:_SHOWN]) + (", ..." if len(data.names) > _SHOWN else "")
        print(f"f2at audit: the outputs are taken for {names}, in this order; --classes gives another", file=sys.stderr)
    surrogate = None
    if options.surrogate is not None:
        surrogate = open_bundle(options.surrogate, threads=options.threads)
    return Opened(model, data, surrogate)


def suited(request: AuditRequest, options: argparse.Namespace, model: Model) -> AuditRequest:
    """The request with the suite that an endpoint takes, where none was named."""
    if is_url(options.model) and options.suite is None and request.attacks is None:
        return AuditRequest(**{**request.model_dump(), "suite": usual_suite(model)})
    return request


def open_subject(options: argparse.Namespace) -> tuple[Model, LabelledSet | None]:
    """The model to audit, and labelled images for it; None: those that come with it."""
    if is_url(options.model):
        return _endpoint(options)
    for name in endpoint.OPTIONS:
        if getattr(options, name) is not None:
            raise ValueError(f"{name.replace('_', '-')} goes with a model behind HTTP only")
    if not is_onnx(options.model):
        for name in (*OPTIONS, "black_box"):
            if getattr(options, name):
                raise ValueError(f"{name.replace('_', '-')} goes with an ONNX file only; a bundle knows its own")
        bundle = open_bundle(options.model, threads=options.threads)
        return bundle, None if options.data is None else open_labelled(options.data)
    if options.data is None:
        raise ValueError(f"data must be given for an ONNX file: {ACCEPTED}")
    data = open_labelled(options.data)
    model = open_onnx(
        options.model,
        classes=options.classes,
        size=options.size or data.size,
        threads=options.threads,
        black_box=options.black_box,
        straight_through=bool(options.straight_through),
        tell=(lambda _: None) if options.quiet else (lambda line: print(f"f2at audit: {line}", file=sys.stderr)),
        **fitting(options),
        **reading(options),
    )
    return model, data


def _endpoint(options: argparse.Namespace) -> tuple[Model, LabelledSet]:
    if options.straight_through:
        raise ValueError("straight-through goes with an ONNX file only; a model behind HTTP shows no gradients")
    if options.data is None:
        raise ValueError(f"data must be given for a model behind HTTP: {ACCEPTED}")
    data = open_labelled(options.data)
    model = open_endpoint(
        options.model,
        data=data,
        classes=options.classes,
        size=options.size,
        **fitting(options),
        **reading(options),
        **endpoint_options(options),
    )
    return model, data
