"""The report as a page: one self-contained HTML file, readable on a phone, on paper and in the dark."""

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from attacks.audit.plot import curve_svg
from attacks.bitplanes import natural_pattern, perturbed_pattern
from attacks.threat import LEVELS

_PLANES = 2  # K of the patterns shown, the paper's
_SHOWN_SIDE = 128  # small images are enlarged to at least this many pixels


def render(report: Mapping[str, Any]) -> str:
    """The page of a report (`attacks.audit.Audit.report`); everything in it is escaped, nothing is fetched."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "parameters": _parameters}
    return environment.get_template("report.html").render(
        report=report,
        manifest=report["model"].get("manifest", {}),
        headline=_headline(report),
        sentence=_sentence(report),
        curve=Markup(curve_svg(report)),  # drawn here, from numbers alone
        median=_median(report),
        gallery=[_pictures(example, report["model"]["classes"]) for example in report["examples"]],
        planes=_PLANES,
        provenance=_provenance(report),
    )


def percent(value: float | None) -> str:
    """A share as people read it; the space does not break."""
    return "no samples" if value is None else f"{100 * value:.1f}\u00a0%"


def _parameters(parameters: Mapping[str, Any]) -> str:
    words = {"None": "automatic", "True": "yes", "False": "no"}
    return ", ".join(f"{key}: {words.get(str(value), value)}" for key, value in parameters.items()).replace("_", " ")


def _headline(report: Mapping[str, Any]) -> dict[str, str]:
    outcome, threshold = report["verdict"]["outcome"], report["verdict"]["threshold"]
    if outcome is None:
        return {"kind": "none", "word": "Measured", "text": "No threshold was stated before this audit."}
    bar = percent(threshold)
    return {
        "pass": {
            "kind": "pass",
            "word": "Pass",
            "text": f"Even the lower end of the interval reaches the threshold of {bar}.",
        },
        "fail": {
            "kind": "fail",
            "word": "Fail",
            "text": f"Even the upper end of the interval is below the threshold of {bar}.",
        },
        "inconclusive": {
            "kind": "inconclusive",
            "word": "Inconclusive",
            "text": f"The threshold of {bar} lies inside the interval: more samples are needed to tell.",
        },
    }[outcome]


def _sentence(report: Mapping[str, Any]) -> str:
    clean, robust, threat = report["clean"], report["robust"], report["threat_model"]
    if threat["norm"] == "linf":
        power = f"change every pixel by up to {threat['levels']:g} of {LEVELS} levels"
    else:
        power = f"move the image by up to {threat['levels']:g} levels (root of the summed squares over all pixels)"
    return (
        f"Of {clean['n']} test images the model gets {clean['k']} right; when an attacker may {power}, "
        f"it still gets {robust['k']} right."
    )


def _median(report: Mapping[str, Any]) -> str:
    median = report["curve"]["median_minimal_perturbation"]
    if median["n"] == 0:
        return "No image was classified correctly, so there is no distance to measure."
    if median["levels"] is None:
        return f"More than half of {median['n']} images withstood every radius tried."
    return (
        f"Half of {median['n']} correctly classified images fall to a change of {median['levels']:g} levels or less "
        f"({median['norm']} norm)."
    )


def _pictures(example: Mapping[str, Any], classes: list[str]) -> dict[str, Any]:
    clean, adversarial = _decode(example["clean"]), _decode(example["adversarial"])
    change = adversarial.astype(int) - clean.astype(int)
    gain = max(1, 127 // max(1, int(np.abs(change).max())))
    lift = 255 // (2 ** (8 - _PLANES) - 1)
    views = [
        ("Clean", clean),
        (f"Perturbation, \u00d7{gain}" if gain > 1 else "Perturbation", np.clip(128 + gain * change, 0, 255)),
        ("Adversarial", adversarial),
        ("Natural pattern", natural_pattern(adversarial, planes=_PLANES)),
        (f"Perturbed pattern, \u00d7{lift}", lift * perturbed_pattern(adversarial, planes=_PLANES)),
    ]
    return {
        **example,
        "name": classes[example["label"]],
        "mistaken_for": classes[example["adversarial_prediction"]],
        "views": [{"title": title, "src": _data_uri(pixels.astype(np.uint8))} for title, pixels in views],
    }


def _provenance(report: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups of names and values; nested values one level deep, deeper ones as JSON."""
    model, run = report["model"], report["run"]
    description = {k: v for k, v in model.items() if k not in ("manifest", "classes")}
    data = {k: v for k, v in report["data"].items() if k != "indices"}
    return [
        ("Model", _rows(description)),
        ("Manifest", _rows({k: v for k, v in model.get("manifest", {}).items() if k != "classes"})),
        ("Data", _rows({**data, "indices": f"{len(report['data']['indices'])} places, listed in the JSON report"})),
        ("Request", _rows(report["request"])),
        ("Threat model", _rows(report["threat_model"])),
        ("Run", _rows({**run, "report schema": report["schema_version"]})),
    ]


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += [(f"{key}.{inner}", _text(inner_value)) for inner, inner_value in value.items()]
        else:
            rows.append((key, _text(value)))
    return rows


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _decode(picture: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(picture)), formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"))


def _data_uri(pixels: np.ndarray) -> str:
    """A PNG of whole enlarged pixels, so that no viewer blurs them."""
    image = Image.fromarray(pixels)
    factor = max(1, -(-_SHOWN_SIDE // min(image.size)))
    buffer = io.BytesIO()
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(
        buffer, "PNG", optimize=True
    )
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
