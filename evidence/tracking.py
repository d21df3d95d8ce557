"""A report in MLflow: its figures as metrics, what was asked as parameters, what was attacked as tags; its files."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient, MlflowException
from mlflow.entities import Metric, Param, RunTag

from f2at.audit.page.html import beside_file, render_report
from f2at.audit.reports.files import page_path
from f2at.command_line import first_line
from f2at.evidence.findings import Report, facts, worst_class
from f2at.evidence.in_toto import SUFFIX


def log_report(
    report: Report,
    path: Path,
    *,
    tracking_uri: str | None = None,
    experiment: str = "Default",
    run_name: str | None = None,
    run_id: str | None = None,
    prefix: str = "audit",
) -> str:
    """Log a report to a new run, or to one that is there, and return the run's id.

    Args:
        report: of the audit.
        path: of its file, which becomes an artifact as it is, with its signature and its statement if those are there.
        tracking_uri: of the server; None takes MLFLOW_TRACKING_URI, or what MLflow does without.
        experiment: of a new run; made if it is not there.
        run_name: of a new run; None leaves it to MLflow.
        run_id: of a run that is there, that of the training for example; it goes on as it was.
        prefix: of all their names, so that a run can have several reports.

    Raises:
        ValueError: MLflow refuses; in its words.
    """
    try:
        client = MlflowClient(tracking_uri)
        if run_id is not None:
            _log(client, run_id, report, path, prefix)
            return run_id
        found = client.get_experiment_by_name(experiment)
        identifier = client.create_experiment(experiment) if found is None else found.experiment_id
        run = client.create_run(identifier, run_name=run_name).info.run_id
        try:
            _log(client, run, report, path, prefix)
        except BaseException:
            client.set_terminated(run, "FAILED")
            raise
        client.set_terminated(run)
    except MlflowException as error:
        raise ValueError(f"MLflow: {first_line(error)}") from error
    return str(run)


def metrics(report: Report) -> dict[str, float]:
    """Every figure that audits may be compared by; those that this one lacks are left out."""
    worst, curve = worst_class(report), report["curve"]
    found = {
        **_ends("clean_accuracy", report["clean"]),
        **_ends("accuracy_under_attack", report["robust"]),
        "worst_class_accuracy_under_attack": worst and worst["robust"]["value"],
        "median_minimal_perturbation": curve and curve["median_minimal_perturbation"]["levels"],
        "flags_raised": sum(bool(flag["raised"]) for flag in report["flags"]),
        "gradient_evaluations": sum(attack["gradient_evaluations"] for attack in report["attacks"]),
        "forward_evaluations": sum(attack["forward_evaluations"] for attack in report["attacks"]),
        "seconds": report["run"]["total_seconds"],
        **{f"attacks/{row['name']}": row["robust"]["value"] for row in report["attacks"]},
        **{f"threats/{_key(row['threat'])}": row["robust"]["value"] for row in report["threats"]},
        "worst_case_accuracy": report["worst_case"] and report["worst_case"]["value"],
        **{f"corruptions/{row['name']}": row["value"] for row in report["corruptions"]},
    }
    return {name: float(value) for name, value in found.items() if value is not None}


def _key(threat: str) -> str:
    """A threat's text in the letters that MLflow takes in names of metrics."""
    return threat.replace("%", " percent").replace("=", " ").replace(",", " ").replace(":", "/").replace("+", "")


def _ends(name: str, accuracy: Mapping[str, Any]) -> dict[str, Any]:
    return {name: accuracy["value"], f"{name}_low": accuracy["low"], f"{name}_high": accuracy["high"]}


def _log(client: MlflowClient, run: str, report: Report, path: Path, prefix: str) -> None:
    now = int(1000 * time.time())
    worst = worst_class(report)
    raised = [flag["name"] for flag in report["flags"] if flag["raised"]]
    identity = {name: value for name, value in facts(report).items() if name.startswith(("model_", "data_"))}
    tags = {
        **identity,
        "outcome": report["verdict"]["outcome"] or "measured",
        "flags": ", ".join(raised) or "none",
        "worst_class": worst["name"] if worst else "none",
    }
    asked = {name: value for name, value in report["request"].items() if value is not None}
    client.log_batch(
        run,
        metrics=[Metric(f"{prefix}/{name}", value, now, 0) for name, value in metrics(report).items()],
        params=[Param(f"{prefix}/{name}", str(value)) for name, value in asked.items()],
        tags=[RunTag(f"{prefix}.{name}", value) for name, value in tags.items()],
    )
    for file in (path, path.with_name(f"{path.name}.sig"), path.with_suffix(SUFFIX)):
        if file.exists():
            client.log_artifact(run, str(file), prefix)
    page = render_report(report, beside_file(path.name))
    client.log_text(run, page, f"{prefix}/{page_path(path, name='report').name}")
