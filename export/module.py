"""From anybody's PyTorch module and labelled images to a verified bundle, by way of ONNX."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from f2at.audit.module import Logits, OutputError, module_digest
from f2at.bundle.format import Bundle
from f2at.bundle.runtime import CPU, create_session
from f2at.command_line import first_line
from f2at.export.foreign import export_graph
from f2at.export.graphs import EXAMPLES, to_onnx
from f2at.export.parity import TOLERANCE, ParityError, check_parity
from f2at.export.writing import check_request
from f2at.gradient.classifier import Classifier
from f2at.gradient.entry import LUMA, Entry
from f2at.gradient.scores import Reading
from f2at.images.pixels import Images, Labels, to_inputs
from f2at.images.sets.base import LabelledSet
from f2at.images.sets.opening import open_labelled

_COMPARED = 16  # images


def export_module(
    model: nn.Module,
    data: str | Path | LabelledSet,
    output: str | Path,
    *,
    name: str = "model",
    classes: Sequence[str] | None = None,
    samples: int | None = None,
    size: tuple[int, int] | None = None,
    fit: str = "crop",
    interpolation: str = "bilinear",
    channels: str | None = None,
    precision: str = "float32",
    overwrite: bool = False,
    **reading: Any,
) -> Bundle:
    """Make a bundle of any PyTorch classifier: served, signed, swapped and audited like a model trained here.

    Its graph is exported by `torch.onnx.export`, in float32 whatever the type of its weights. Both graphs of the bundle
    are compared with the module: the logits of images, and gradients with those of autograd.

    Args:
        model: maps images (N, 3, H, W) to logits (N, C) or to the one score of two classes, in eval mode. Logits may
            come alone, as `.logits`, as `["logits"]`, or in a tuple or mapping in which nothing else has their shape.
        data: labelled test images: where they are, as `f2at.images.sets.opening.open_labelled` takes it, or
            `f2at.images.sets.base.in_memory(images, labels)`.
        output: the folder to write.
        name: what messages and the manifest call the model.
        classes: a name for each output, in their order; None takes those of the data, or numbers them.
        samples, fit, interpolation, precision, overwrite: see `f2at.export.foreign.export_onnx`.
        size: (H, W) of its images; may be left out where the data are arrays.
        channels: "rgb" (usual), "bgr" or "grey", for a module that takes (N, 1, H, W).
        reading: `mean`, `std`, `scale` of its inputs, (scale x - mean) / std for x in [0, 1], and `scores`, as
            `f2at.gradient.classifier.read_classifier` takes them.

    Raises:
        OSError: a file cannot be read.
        ValueError: the module is in training mode, returns no logits, cannot be exported or has operations without a
            gradient here; the graphs differ from it (`ParityError`); or the arguments do not fit together. Nothing is
            written.
    """
    check_request(Path(output), precision=precision, overwrite=overwrite)
    if any(part.training for part in model.modules()):
        raise ValueError(f"{name} must be in eval mode; call its eval() first")
    labelled = data if isinstance(data, LabelledSet) else open_labelled(data)
    size = size or labelled.size
    if size is None:
        raise ValueError("size must be given, (H, W), for pictures of any size: a module does not say its own")
    with torch.inference_mode(False):  # in which a caller may be, and gradients could not be had
        single = Logits(copy.deepcopy(model).cpu().float(), len(classes or ()), name, least=1).eval()
        source = _exported(single, (1 if channels == "grey" else 3, *size), name)

        def compare(
            deployed: bytes, gradient: bytes, classifier: Classifier, images: Images, labels: Labels
        ) -> Mapping[str, Any]:
            entered, reading = _Entered(single, classifier.entry).eval(), classifier.reading
            if reading.last or reading.inverted:
                return {"module": _check_scores(entered, deployed, reading, images)}
            whole = _TwoClasses(entered) if reading.binary else entered
            found = check_parity(whole, deployed, gradient, images, labels)
            worst = max(entry["error"] for entry in found["gradient"].values())
            gradient_found = {"error": worst, "tolerance": TOLERANCE, "reference": "autograd"}
            return {"module": found, "gradient": gradient_found}

        return export_graph(
            source,
            labelled,
            Path(output),
            name=name,
            described={
                "dataset": labelled.source or "arrays",
                "source": {"module": name, "digest": module_digest(model), "dtype": _dtype(model)},
                "versions": {"export": {"torch": torch.__version__}},
            },
            classes=classes,
            samples=samples,
            size=size,
            fit=fit,
            interpolation=interpolation,
            channels=channels,
            precision=precision,
            overwrite=overwrite,
            compare=compare,
            **reading,
        )


class _Entered(nn.Module):
    """A module behind its preprocessing: float32 (N, 3, H, W) in [0, 1] -> scores (N, C)."""

    def __init__(self, model: nn.Module, entry: Entry) -> None:
        super().__init__()
        self.model, self.entry = model, entry

    def forward(self, images: Tensor) -> Tensor:
        entry = self.entry
        if entry.channels == "grey":
            images = (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        mean, std = (images.new_tensor(values).view(1, -1, 1, 1) for values in (entry.mean, entry.std))
        inputs = (entry.scale * images - mean) / std
        scores: Tensor = self.model(inputs.flip(1) if entry.channels == "bgr" else inputs)
        return scores


class _TwoClasses(nn.Module):
    """The score of the second of two classes as logits of both."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        score = self.model(images)
        return torch.cat([torch.zeros_like(score), score], dim=1)


def _check_scores(model: nn.Module, deployed: bytes, reading: Reading, images: Images) -> dict[str, Any]:
    """Compare probabilities, of a module whose last operation is taken off: its logits are nowhere to be had.

    Its gradients are the graph's, of which `f2at.gradient.proof.prove` says whether they are slopes.

    Raises:
        ParityError: they differ by more than rounding errors.
    """
    few = images[:_COMPARED]
    with torch.no_grad():
        expected = model(torch.from_numpy(to_inputs(few))).numpy()
    logits = create_session(deployed, providers=[CPU]).run(["logits"], {"images": few})[0]
    error = float(np.abs(reading.probabilities(logits) - expected).max())
    if not error <= TOLERANCE:
        raise ParityError(f"the scores differ from the module's: by {error:.2g}, limit {TOLERANCE:.0e}")
    return {"tolerance": TOLERANCE, "samples": len(few), "scores": {"error": error}}


def _exported(model: nn.Module, shape: Sequence[int], name: str) -> onnx.ModelProto:
    """The graph of a module, for any number of images of this shape."""
    example = torch.rand(EXAMPLES, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            model(example)
    except OutputError:
        raise
    except Exception as error:  # somebody's code
        raise ValueError(f"{name} must take images {tuple(example.shape)}, float32: {first_line(error)}") from error
    try:
        return to_onnx(model, example)
    except Exception as error:
        raise ValueError(f"{name} cannot be exported by torch.onnx.export: {first_line(error)}") from error


def _dtype(model: nn.Module) -> str:
    """Of the weights."""
    return str(next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)).removeprefix(
        "torch."
    )
