"""A Hugging Face model card of a report: the figures as a `model-index`, and what they mean in words."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from f2at.audit.page import words
from f2at.audit.provenance.repetition import model_name
from f2at.bundle.format import Bundle
from f2at.command_line import shortened
from f2at.evidence.findings import LABELS, Findings, Report, of_report, plain
from f2at.evidence.summary import attack_table, escaped, sanity_list, table, threat_table

_NAMED = 20  # classes
_UNNAMED_DATA = ("folder", "arrays")  # what manifests call images of somebody's own


def model_card(
    report: Report,
    *,
    bundle: Bundle | None = None,
    name: str | None = None,
    license_id: str | None = None,
    dataset: str | None = None,
    dataset_name: str | None = None,
) -> ModelCard:
    """The card of the audited model.

    Args:
        report: of the audit.
        bundle: the audited bundle; a report has most of what that says of itself.
        name: of the model; None takes the bundle's folder, or what the report calls it.
        license_id: its identifier on the hub, such as apache-2.0.
        dataset: identifier of the data set of the labelled images on the hub; None makes one of its name.
        dataset_name: as people call it; None takes what the manifest says.

    Raises:
        ValueError: the bundle is not the one that was audited.
    """
    model = report["model"]
    if bundle is not None and bundle.digest != model.get("digest"):
        raise ValueError(f"bundle must be the audited one, {model.get('digest')}; got {bundle.digest}")
    manifest = model.get("manifest", {}) if bundle is None else bundle.manifest
    name = name or _name(report, bundle)
    data = dataset_name or _data_name(report, manifest)
    found = of_report(report, Path())
    facts = ModelCardData(
        license=license_id,
        library_name="onnx",
        pipeline_tag="image-classification",
        tags=["image-classification", "adversarial-robustness", "f2at"],
        datasets=None if dataset is None else [dataset],
        metrics=["accuracy"],
        model_name=name,
        eval_results=_results(report, dataset or re.sub(r"\W+", "-", data.lower()).strip("-"), data),
    )
    return ModelCard(f"---\n{facts.to_yaml()}\n---\n\n{_text(found, manifest, name, data, bundle)}")


def _results(report: Report, dataset: str, dataset_name: str) -> list[EvalResult]:
    """Both accuracies; the one under attack is of its threat model alone, which is among its arguments."""
    threat = report["threat_model"]
    under = {name: threat[name] for name in ("norm", "eps", "knowledge")} | {"suite": report["request"]["suite"]}
    metrics = {
        "clean": ("accuracy", LABELS["clean"], {}),
        "robust": (
            "accuracy_under_attack",
            f"{LABELS['robust']} ({threat['norm']}, eps {threat['effective_eps']}, suite {report['request']['suite']})",
            under,
        ),
    }
    return [
        EvalResult(
            task_type="image-classification",
            dataset_type=dataset,
            dataset_name=dataset_name,
            dataset_args={"sha256": report["data"]["sha256"], "images": report["data"]["n"]},
            metric_type=kind,
            metric_name=title,
            metric_value=report[key]["value"],
            metric_args={**arguments, **{end: report[key][end] for end in ("low", "high", "confidence")}},
        )
        for key, (kind, title, arguments) in metrics.items()
    ]


def _text(found: Findings, manifest: Mapping[str, Any], name: str, data: str, bundle: Bundle | None) -> str:
    report, threat = found.report, found.report["threat_model"]
    classes = report["model"]["classes"]
    knowledge = " and ".join(threat["knowledge"])
    parts = [
        f"# {escaped(name)}",
        f"Says which of {len(classes)} classes a picture shows. {escaped(plain(words.sentence(report)))}",
        "## Robustness",
        table(found.accuracies),
        escaped(
            f"Images: {data}. Threat model: {threat['norm']}, eps {threat['effective_eps']}, {threat['goal']}; "
            f"{knowledge} attacks of the suite {report['request']['suite']}. {plain(words.nearest(report))} "
            f"{found.reason}"
        ),
        attack_table(report),
        *([threat_table(report)] if report["threats"] else []),
        sanity_list(found.flags),
        "An attack finds errors and cannot prove that there are none: the accuracy under attack is an upper bound.",
        "## Model",
        table([["", ""], *([key, value] for key, value in _described(report, manifest).items())]),
        *([_use(bundle)] if bundle is not None else []),
        "## What the figures do not say",
        "\n".join(f"- {escaped(limit)}" for limit in report["limitations"]),
    ]
    return "\n\n".join(parts) + "\n"


def _described(report: Report, manifest: Mapping[str, Any]) -> dict[str, str]:
    """What is known of the model, by name."""
    model, recipe = report["model"], manifest.get("recipe", {})
    method = recipe.get("method", {})
    known = {
        "Architecture": words.parameters(_without(manifest.get("architecture", {}), "mean", "std", "classes")),
        "Method": method.get("name", ""),
        "Method's parameters": words.parameters(_without(method, "name")),
        "Trained on": _known_data(manifest),
        "Precision": manifest.get("precision", ""),
        "Input": f"8-bit RGB, {' x '.join(map(str, model['input_size']))} pixels",
        "Preprocessing": words.parameters(manifest.get("preprocessing") or model.get("preprocessing", {})),
        "Classes": shortened(model["classes"], _NAMED),
        "File": model.get("file", ""),
        "Digest": model.get("digest", ""),
    }
    return {key: str(value) for key, value in known.items() if value}


def _use(bundle: Bundle) -> str:
    folder = bundle.path.resolve().name
    return (
        "## Use\n\n`classifier.onnx` takes uint8 images (N, height, width, 3) and gives logits; f2at serves and audits "
        f"the folder:\n\n```sh\nf2at serve {folder}\nf2at audit {folder} --suite adaptive --output report.json\n```"
    )


def _name(report: Report, bundle: Bundle | None) -> str:
    if bundle is not None:
        return bundle.path.resolve().name
    return (model_name(report) or "classifier").removesuffix(".onnx")


def _known_data(manifest: Mapping[str, Any]) -> str:
    """What the manifest calls the data, if that is a name."""
    name = str(manifest.get("dataset", ""))
    return "" if name in _UNNAMED_DATA else name


def _data_name(report: Report, manifest: Mapping[str, Any]) -> str:
    return _known_data(manifest) or f"labelled images {report['data']['sha256'][:12]}"


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names and value is not None}
