"""Reproduce a table or figure of the paper at one of three sizes: train, evaluate and draw.

    python -m benchmarks.paper list
    python -m benchmarks.paper table-I --scale small
    python -m benchmarks.paper table-I --scale full --data DIR --yes

Models and evaluations that this or another table already produced are reused; an interrupted command resumes.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.common import RESULTS, environment
from benchmarks.paper.experiments import EXPERIMENTS
from benchmarks.paper.render import Result, markdown, write
from benchmarks.paper.runner import Runner, estimate
from benchmarks.paper.scales import SCALES, scale_for, with_settings
from benchmarks.paper.terms import Experiment, with_rows
from f2at.training.configuration.options import ConfigError
from f2at.training.divergence import DivergenceError

_NAMES = {name.lower(): name for name in EXPERIMENTS}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` without the program's name."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(arguments)
    if options.name.lower() == "list":
        print("\n".join(f"{name:<11} {experiment.title}" for name, experiment in EXPERIMENTS.items()))
        return
    name = _NAMES[options.name.lower()]
    try:
        experiment = with_rows(EXPERIMENTS[name], options.row)
        scale = with_settings(scale_for(options.scale, options.data, options.seeds), options.set)
        runner = Runner(scale, options.runs / options.scale)
        if options.plan:
            print(plan(runner, experiment))
            return
        if options.scale == "full" and not _agreed(runner, experiment, yes=options.yes):
            sys.exit("python -m benchmarks.paper: nothing was started; pass --yes to start")
        outcomes = runner.run(experiment)
    except (ValueError, DivergenceError) as error:
        sys.exit(f"python -m benchmarks.paper: error: {error}")
    seen = [len(outcome.records[0][0]["labels"]) for outcome in outcomes if outcome.records]
    command = f"Again: `python -m benchmarks.paper {shlex.join(arguments)}`"
    setting = (
        runner.scale.note,
        f"Attacks: Linf, eps {runner.scale.eps}, on the 8-bit grid; an image counts if it is right clean and attacked.",
        *(
            ["The seed with the best validation accuracy is evaluated, as in the paper."]
            if experiment.best_seed
            else []
        ),
        *([f"Epochs: {epochs(runner, experiment)}."] if runner.scale.passes else []),
        _machine(),
        command,
    )
    result = Result(
        name=name, experiment=experiment, outcomes=outcomes, images=max(seen, default=0) or 1, setting=setting
    )
    print(markdown(result))
    print("\n".join(str(path) for path in write(result, options.output / options.scale)))
    if not seen:
        sys.exit("python -m benchmarks.paper: every row was refused")


def plan(runner: Runner, experiment: Experiment) -> str:
    """What would be trained and evaluated, without doing it."""
    missing = {runner.path(config) for config in runner.missing(experiment)}
    lines = [experiment.title, runner.scale.note, ""]
    for row in runner.rows(experiment):
        try:
            paths = [runner.path(runner.config(row.run, seed)) for seed in range(runner.scale.seeds)]
        except ConfigError as error:
            lines.append(f"row    {row.name}: refused: {error}")
            continue
        left = sum(path in missing for path in paths)
        lines.append(f"row    {row.name}: {paths[0].name} and {len(paths) - 1} more seeds, {left} to train")
    for column in experiment.columns:
        attacks = " then ".join(
            f"{attack.name} ({', '.join(f'{key}={value}' for key, value in attack.parameters.items())})"
            for attack in runner.scale.evaluation(column.evaluation).attacks
        )
        lines.append(
            f"column {column.name}: {attacks or 'no attack'}, eps {runner.scale.eps} x {column.evaluation.eps}"
        )
    return "\n".join(lines)


def epochs(runner: Runner, experiment: Experiment) -> str:
    """How many epochs each row trains for, if the scale fixes the cost of a run."""
    counts: dict[int, list[str]] = {}
    for row in runner.rows(experiment):
        counts.setdefault(runner.config(row.run, 0).optimizer.epochs, []).append(row.name)
    return "; ".join(f"{count} ({', '.join(names)})" for count, names in sorted(counts.items()))


def _agreed(runner: Runner, experiment: Experiment, *, yes: bool) -> bool:
    seconds, lines = estimate(runner, experiment)
    print("\n".join([*lines, f"{experiment.title}: about {seconds / 3600:.1f} hours on {_machine()}"]), file=sys.stderr)
    return yes


def _machine() -> str:
    card = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([environment(["f2at", "torch", "numpy"]), *card])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.paper", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", type=_name, metavar="NAME", help=f"list, or one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--scale", choices=list(SCALES), default="smoke", help="(default: %(default)s)")
    parser.add_argument(
        "--data", metavar="DIR", help="full: folder of the data sets; small: images, one folder per class"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="runs of each row (default: the scale's)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="another value of a training configuration, as optimizer.epochs=30 or awp.gamma=0.005; may be repeated",
    )
    parser.add_argument(
        "--row", action="append", default=[], metavar="NAME", help="only this row (default: all); may be repeated"
    )
    parser.add_argument("--plan", action="store_true", help="show what would be done, and exit")
    parser.add_argument("--yes", action="store_true", help="start at scale full, after saying how long it will take")
    parser.add_argument("--runs", type=Path, default=Path("runs/paper"), help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS / "paper", help="(default: %(default)s)")
    return parser


def _name(text: str) -> str:
    if text.lower() not in ("list", *_NAMES):
        raise argparse.ArgumentTypeError(f"must be list or one of {', '.join(EXPERIMENTS)}; got {text!r}")
    return text


if __name__ == "__main__":
    main()
