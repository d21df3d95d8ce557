"""`f2at card REPORT.json`: a Hugging Face model card of an audited model."""

from collections.abc import Sequence
from pathlib import Path

from f2at.audit.commands.outputs import check_outputs
from f2at.audit.reports.files import read_report
from f2at.bundle.format import load_bundle
from f2at.command_line import Parser
from f2at.evidence.card import model_card
from f2at.files import replacing


def run(arguments: Sequence[str]) -> int:
    """Print the card, or write it to a file."""
    options = _parser().parse_args(arguments)
    output: Path | None = options.output
    if output is not None:
        check_outputs([("output", output)], [options.report, options.bundle], overwrite=options.overwrite)
    card = model_card(
        read_report(options.report),
        bundle=None if options.bundle is None else load_bundle(options.bundle),
        name=options.name,
        license_id=options.license,
        dataset=options.dataset,
        dataset_name=options.dataset_name,
    )
    if output is None:
        print(card, end="")
        return 0
    with replacing(output) as draft:
        card.save(draft)
    print(output)
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="f2at card",
        description="Write a Hugging Face model card: both accuracies as a model-index, with their intervals, the "
        "threat model and the limits in words.",
    )
    parser.add_argument("report", type=Path, metavar="REPORT", help="of the audit, .json")
    parser.add_argument("--bundle", type=Path, metavar="FOLDER", help="the audited bundle, for its name and its use")
    parser.add_argument("--name", help="of the model (default that of the bundle or the file)")
    parser.add_argument("--license", metavar="ID", help="of the model, as the hub spells it: apache-2.0")
    parser.add_argument("--dataset", metavar="ID", help="of the labelled images, as the hub spells it: uoft-cs/cifar10")
    parser.add_argument("--dataset-name", metavar="NAME", help="as people call it (default what the manifest says)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="usually README.md (default: print it)")
    parser.add_argument("--overwrite", action="store_true", help="replace a card that is there")
    return parser
