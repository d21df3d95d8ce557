"""`f2at log-mlflow REPORT.json`: an audit among the runs of an MLflow server."""

import os
from collections.abc import Sequence
from pathlib import Path

from f2at.audit.reports.files import read_report
from f2at.command_line import Parser
from f2at.evidence.tracking import log_report


def run(arguments: Sequence[str]) -> int:
    """Log the report and print the id of the run."""
    options = _parser().parse_args(arguments)
    if options.run_id is not None and not options.run_name is options.experiment is None:
        raise ValueError("run-id must be left out where run-name or experiment are given: they are a new run's")
    identifier = log_report(
        read_report(options.report),
        options.report,
        tracking_uri=options.tracking_uri,
        experiment=options.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default"),
        run_name=options.run_name,
        run_id=options.run_id,
        prefix=options.prefix,
    )
    print(f"logged  {options.report} to run {identifier}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="f2at log-mlflow",
        description="Log a report to MLflow: figures as metrics, the request as parameters, digests as tags, the "
        "report and its page as artifacts. MLflow's own variables, such as MLFLOW_TRACKING_TOKEN, hold here, too.",
    )
    parser.add_argument("report", type=Path, metavar="REPORT", help="of the audit, .json")
    parser.add_argument("--tracking-uri", metavar="URI", help="of the server (default MLFLOW_TRACKING_URI)")
    parser.add_argument(
        "--experiment", metavar="NAME", help="of a new run (default MLFLOW_EXPERIMENT_NAME, or Default)"
    )
    parser.add_argument("--run-name", metavar="NAME", help="of a new run (default one that MLflow makes up)")
    parser.add_argument("--run-id", metavar="ID", help="log to this run, that of the training for example")
    parser.add_argument(
        "--prefix",
        default="audit",
        help="of the names of all that is logged, so that a run can have several reports (default audit)",
    )
    return parser
