"""`f2at train --config FILE --output FOLDER`."""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path

from f2at.command_line import Parser, next_step

_IN_PACKAGES = ("digits",)  # data sets that no folder holds


def run(arguments: Sequence[str]) -> int:
    """Train a classifier as a TOML file says, with any of its values overridden by flags."""
    _check_paths(arguments)
    from f2at.training.configuration.files import add_config_flags, load_config  # brings PyTorch: seconds

    parser = _parser()
    add_config_flags(parser)
    options = vars(parser.parse_args(arguments))
    path, output, overwrite = (options.pop(name) for name in ("config", "output", "overwrite"))
    overrides = {name: text for name, text in options.items() if text is not None}
    config = load_config(path, overrides)

    from f2at.training.divergence import DivergenceError  # and these twice as many again
    from f2at.training.loop import train

    try:
        metrics = train(config, output, overwrite=overwrite)
    except DivergenceError as error:
        raise ValueError(str(error)) from error
    if metrics:
        test = metrics["test"]
        print(
            f"best checkpoint: epoch {metrics['epoch']}; on {test['images']} test images clean {test['clean']:.1%}, "
            f"{test['attack']} at eps {config.attack.eps} {test['robust']:.1%}"
        )
        print(next_step("export", output, "--output", f"bundles/{output.resolve().name}"))
    return 0


def _parser(**settings: bool) -> Parser:
    parser = Parser(
        prog="f2at train",
        usage="%(prog)s --config FILE --output FOLDER [--overwrite] [--SECTION.KEY VALUE ...]",
        description="Train a robust image classifier. The result is a folder with its checkpoints, metrics and "
        "curves, which `f2at export` turns into a bundle for serving. The same command again resumes a run that was "
        "interrupted.",
        **settings,
    )
    parser.add_argument("--config", type=Path, required=True, help="a TOML file, as in configs/")
    parser.add_argument("--output", type=Path, required=True, help="the run folder to write")
    parser.add_argument("--overwrite", action="store_true", help="start again where the folder holds a run")
    return parser


def _check_paths(arguments: Sequence[str]) -> None:
    """Refuse paths that lead nowhere before PyTorch is imported, so that the answer takes no seconds.

    Raises:
        ValueError: there is no configuration, or no folder of data, where one is said to be.
    """
    if {"-h", "--help"} & set(arguments):
        return
    parser = _parser(add_help=False)
    for flag in ("--data.name", "--data.root"):
        parser.add_argument(flag)
    options: argparse.Namespace
    options, _ = parser.parse_known_args(arguments)
    if not options.config.is_file():
        raise ValueError(f"no configuration at {options.config}; see configs/ for examples")
    try:
        data = tomllib.loads(options.config.read_text(encoding="utf-8")).get("data", {})
    except ValueError:
        return  # what is wrong with the file is said where it is read
    given = {key: getattr(options, f"data.{key}") or data.get(key) for key in ("name", "root")}
    root = given["root"]
    if given["name"] not in (None, *_IN_PACKAGES) and isinstance(root, str) and not Path(root).is_dir():
        raise ValueError(f"data.root = {root}: there is no such folder; put the data set {given['name']!r} there")
