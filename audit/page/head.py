"""The head of the page: what was audited, by what and for which attacker, and what stands out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from f2at.audit.page.words import count, percent, power
from f2at.audit.provenance.repetition import model_name
from f2at.command_line import shortened

_NAMED = 3  # classes
_KNOWING = {
    "white-box": "knows the model and follows its gradients",
    "black-box": "sees only what the model answers",
    "transfer": "has another model of the same classes, and follows its gradients",
}


class Fact(NamedTuple):
    """A line of the head."""

    name: str
    text: str
    code: str = ""  # set in type of equal widths, after the text


def title(report: Mapping[str, Any]) -> str:
    """What people may call the model."""
    return model_name(report) or "A classifier without a name"


def subject(report: Mapping[str, Any]) -> list[Fact]:
    """What was audited, on what, and against whom."""
    model, data = report["model"], report["data"]
    facts = [Fact("Model", "", model["digest"])] if "digest" in model else []
    if "url" in model:
        facts.append(Fact("Asked at", model["url"]))
    images = f"{count(data['n'], 'image')} of {data['set_size']:,}{_source(report)}, {len(model['classes'])} classes"
    facts.append(Fact("Data set", images, f"sha256:{data['sha256']}"))
    facts.append(Fact("Method", _method(model)))
    facts.append(Fact("Attacker", attacker(report["threat_model"])))
    return facts


def findings(report: Mapping[str, Any]) -> list[Fact]:
    """How strong the attacks were, and where the model does worst."""
    suite = report["suite"]
    strength = f", {suite['strength']}. {suite['claims']}." if suite["strength"] else ""
    facts = [Fact("Suite", f"{suite['name']}{strength}")]
    if report["clean"]["k"] == report["robust"]["k"] > 0:
        facts.append(
            Fact("Broken", "nothing: no attack of this suite changed a right answer. It may be too weak to tell.")
        )
    if (worst := worst_class(report)) is not None:
        facts.append(Fact("Worst class", worst))
    if (corruption := worst_corruption(report)) is not None:
        facts.append(Fact("Worst natural corruption", _below(corruption, report["robust"])))
    return facts


def attacker(threat: Mapping[str, Any]) -> str:
    """The threat model in a sentence."""
    known = ["white-box"] if "white-box" in threat["knowledge"] else threat["knowledge"]
    eps = f"eps {threat['eps']}"
    if threat["effective_eps"] != threat["eps"]:
        eps += f", {threat['effective_eps']} on 8-bit images"
    knowing = ", or who ".join(_KNOWING[knowledge] for knowledge in known)
    return f"Whoever {knowing} may {power(threat)} ({threat['norm']}, {eps}) to get {threat['goal']}."


def worst_classes(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The rows of the classes with the lowest accuracy under attack; none where no image was drawn."""
    rows = [row for row in report["classes"] if row["n"]]
    least = min((row["robust"]["value"] for row in rows), default=None)
    return [row for row in rows if row["robust"]["value"] == least]


def worst_class(report: Mapping[str, Any]) -> str | None:
    """The same in words."""
    if not (worst := worst_classes(report)):
        return None
    least = worst[0]["robust"]["value"]
    counts = f", {worst[0]['robust']['k']} of {worst[0]['n']}" if len(worst) == 1 else " each"
    return f"{shortened([row['name'] for row in worst], _NAMED)}: {percent(least)} right under attack{counts}"


def worst_corruption(report: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The natural corruption that leaves the fewest images right, if those are fewer than the attacks leave."""
    rows: list[Mapping[str, Any]] = report["corruptions"]
    worst = min(rows, key=lambda row: row["k"], default=None)
    return worst if worst is not None and worst["k"] < report["robust"]["k"] else None


def _source(report: Mapping[str, Any]) -> str:
    """Where the images are from, as far as is known."""
    if report["repeat"] is None:
        return ""
    names = [file["name"] for file in report["repeat"]["files"] if file["what"] == "data"]
    return f" in {names[0]}" if names else " that come with the model"


def _below(corruption: Mapping[str, Any], robust: Mapping[str, Any]) -> str:
    severity = "" if corruption["severity"] is None else f", severity {corruption['severity']} of 5,"
    left = f"{percent(corruption['value'])} right, fewer than the attacks do ({percent(robust['value'])})."
    return f"{corruption['title']}{severity} leaves {left}"


def _method(model: Mapping[str, Any]) -> str:
    """How the model was trained, as far as its manifest says."""
    manifest = model.get("manifest", {})
    recipe = manifest.get("recipe") or {}
    attack = recipe.get("attack") or {}
    ball = f" in {attack['norm']}" if attack.get("norm", "linf") != "linf" else ""
    parts = [
        (recipe.get("method") or {}).get("name"),
        f"trained against {attack['kind']}{ball} at eps {attack['eps']}" if {"kind", "eps"} <= attack.keys() else None,
        f"on the data set {manifest['dataset']}" if manifest.get("dataset") else None,
    ]
    return ", ".join(part for part in parts if part) or "not stated"
