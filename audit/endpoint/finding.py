"""Which protocol an endpoint speaks: what its URL says, what it says of itself, or what the caller says."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from f2at.audit.endpoint.address import Address, EndpointError
from f2at.audit.endpoint.connection import Reply, Server
from f2at.audit.endpoint.inference import Inference, model_path
from f2at.audit.endpoint.protocols import Base64, Form, Interface, Picture, Tensor
from f2at.audit.endpoint.service import Service, is_service
from f2at.bundle.runtime import create_session
from f2at.gradient.classifier import entry_graph
from f2at.gradient.entry import Entry, entry_of
from f2at.images.pixels import Images
from f2at.images.preparation import Preparation

PROTOCOLS = ("f2at", "v2", "form", "picture", "base64", "tensor")
_WITH_FIELD = ("form", "base64", "tensor")
_ROUTES = ("/predict", "/predict_batch", "/model")
_PATIENCE = 5.0  # seconds; who starts an audit waits for a mistake in the URL no longer


@dataclass(frozen=True)
class Found:
    """An endpoint, understood.

    Attributes:
        interface: how to ask it.
        protocol: one of PROTOCOLS.
        classes: their names, if it says them.
        size: (H, W) of its images, if it says that.
        preparation: how pictures become of that size, if it says that, too.
        subject: what identifies its model: a digest and a version, if it says them.
        entry: how pixels become what it takes; None: pictures are sent as they are.
    """

    interface: Interface
    protocol: str
    classes: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    preparation: Preparation | None = None
    subject: Mapping[str, str] | None = None
    entry: Entry | None = None


def find_interface(
    server: Server,
    *,
    size: tuple[int, int] | None,
    protocol: str | None = None,
    field: str | None = None,
    output: str | None = None,
    **preprocessing: Any,
) -> Found:
    """Find out how to ask an endpoint.

    Args:
        server: at the URL's address.
        size: (H, W) of the images at hand; None: they may be of any.
        protocol: one of PROTOCOLS; None finds out: the path of the Open Inference Protocol, the routes of our own
            service, what a BentoML service says of its routes, and else a form.
        field: of the form or the JSON object that holds the images.
        output: of the Open Inference Protocol, the output with the scores.
        preprocessing: layout, channels, mean, std and scale of tensors, as `f2at.gradient.entry.entry_of` takes them.

    Raises:
        ValueError: the arguments contradict each other, or what the endpoint says.
        EndpointError: it cannot be reached, or says nothing that can be understood.
    """
    if protocol not in (None, *PROTOCOLS):
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    found = _find(server, protocol, field, size, output, preprocessing)
    if found.protocol != "v2" and output is not None:
        raise ValueError("output-name goes with the Open Inference Protocol only")
    if found.entry is None and preprocessing:
        names = ", ".join(preprocessing)
        raise ValueError(f"{names} must be left out for an endpoint that takes pictures: they are sent as they are")
    if found.protocol not in _WITH_FIELD and field is not None:
        raise ValueError(f"field must be left out for protocol {found.protocol}")
    return found


def _find(
    server: Server,
    protocol: str | None,
    field: str | None,
    size: tuple[int, int] | None,
    output: str | None,
    preprocessing: dict[str, Any],
) -> Found:
    path = model_path(server.address.path)
    if protocol == "v2" or (protocol is None and path is not None):
        return _inference(server, path, size, output, preprocessing)
    if protocol in (None, "f2at"):
        found = _service(server, required=protocol == "f2at")
        if found is not None:
            return found
    said = _said_by_bentoml(server) if protocol is None else None
    return _route(server.address, protocol, field, size, said, preprocessing)


def _service(server: Server, *, required: bool) -> Found | None:
    """Our own service, if there is one: its routes are at the address, or beside it."""
    address = server.address
    base = next((address.path.removesuffix(route) for route in _ROUTES if address.path.endswith(route)), address.path)
    base = base.rstrip("/")
    answered, reply = _get(server, address.at(f"{base}/model"))
    if not is_service(answered):
        if required or reply.status in (401, 403):
            raise server.refusal(address.at(f"{base}/model"), reply)
        return None
    service = Service(address.at(base or "/"), answered)
    return Found(
        service, "f2at", service.classes, service.preparation.size, service.preparation, {"digest": service.digest}
    )


def _inference(
    server: Server, path: str | None, size: tuple[int, int] | None, output: str | None, preprocessing: dict[str, Any]
) -> Found:
    """A model of the Open Inference Protocol."""
    if path is None:
        raise ValueError(f"url must name a model, /v2/models/NAME, for protocol v2; got {server.address}")
    base = server.address.at(path)
    metadata, reply = _get(server, base)
    if not 200 <= reply.status < 300 or metadata is None:
        raise server.refusal(base, reply)
    found = Inference(base, metadata, _entering, output=output, size=size, **preprocessing)
    about = {"version": found.version} if found.version else {}
    return Found(found, "v2", None, found.entry.size, None, about, found.entry)


def _route(
    address: Address,
    protocol: str | None,
    field: str | None,
    size: tuple[int, int] | None,
    said: Mapping[str, Any] | None,
    preprocessing: dict[str, Any],
) -> Found:
    """A route that takes a picture, or a tensor."""
    if said is not None:
        protocol, field = said["protocol"], field or said["field"]
    elif protocol is None and address.path == "/":
        raise EndpointError(
            f"{address} is not a service that says what it takes: give the URL of its route, and protocol"
        )
    if protocol == "picture":
        return Found(Picture(address), "picture")
    if protocol == "base64":
        return Found(Base64(address, field or "image"), "base64")
    if protocol != "tensor":
        return Found(Form(address, field or "image"), "form")
    if size is None:
        raise ValueError("size must be given, (H, W), for an endpoint that takes tensors")
    floats = any(name in preprocessing for name in ("mean", "std", "scale"))
    dtype = (said or {}).get("dtype") or ("float32" if floats else "uint8")
    layout = preprocessing.pop("layout", None) or "NHWC"
    sides = {"N": None, "C": 1 if preprocessing.get("channels") == "grey" else 3, "H": size[0], "W": size[1]}
    entry = entry_of(field or "instances", dtype, [sides[axis] for axis in layout], layout=layout, **preprocessing)
    return Found(Tensor(address, _entering(entry), field or "instances"), "tensor", entry=entry)


def _said_by_bentoml(server: Server) -> dict[str, Any] | None:
    """What a BentoML service says of the route: a file of a form, or an array of images."""
    described, _ = _get(server, server.address.at("/schema.json"))
    try:
        (taken,) = [route["input"] for route in described["routes"] if route["route"] == server.address.path]
        fields: dict[str, dict[str, Any]] = taken["properties"]
        needed: Sequence[str] = taken.get("required", ())
        kinds = {name: fields[name]["type"] for name in needed}
    except (KeyError, TypeError, ValueError):
        return None
    if len(needed) != 1 or kinds[needed[0]] not in ("file", "tensor"):
        raise EndpointError(f"{server.address} must take one picture or one array; it takes {', '.join(needed)}")
    dtype = fields[needed[0]].get("dtype")
    return {"protocol": "form" if kinds[needed[0]] == "file" else "tensor", "field": needed[0], "dtype": dtype}


def _get(server: Server, address: Address) -> tuple[Any, Reply]:
    """The JSON value at an address, or None, and the reply."""
    reply = server.send("GET", address, patience=_PATIENCE)
    try:
        return json.loads(reply.body) if 200 <= reply.status < 300 else None, reply
    except (ValueError, RecursionError):
        return None, reply


def _entering(entry: Entry) -> Callable[[Images], NDArray[Any]]:
    """What brings images uint8 (N, H, W, 3) into the form that an entry describes."""
    graph = entry_graph(entry)
    if graph is None:
        return lambda images: images
    session = create_session(graph.SerializeToString(), threads=1, providers=["CPUExecutionProvider"])

    def enter(images: Images) -> NDArray[Any]:
        return np.asarray(session.run(None, {"images": images})[0])

    return enter
