"""`python -m f2at.training --config FILE --output FOLDER`."""

import argparse
import sys
from pathlib import Path

from f2at.training.config_file import add_config_flags, load_config
from f2at.training.loop import DivergenceError, train


def main() -> None:
    """Train a classifier as a TOML file says, with any of its values overridden by flags."""
    parser = argparse.ArgumentParser(
        prog="python -m f2at.training",
        usage="%(prog)s --config FILE --output FOLDER [--overwrite] [--SECTION.KEY VALUE ...]",
        description="Train a robust image classifier. The result is a folder with its checkpoints, metrics and "
        "curves, which `python -m f2at.export` turns into a bundle for serving. The same command again resumes a run "
        "that was interrupted.",
    )
    parser.add_argument("--config", type=Path, required=True, help="a TOML file, as in configs/")
    parser.add_argument("--output", type=Path, required=True, help="the run folder to write")
    parser.add_argument("--overwrite", action="store_true", help="start again where the folder holds a run")
    add_config_flags(parser)
    arguments = vars(parser.parse_args())
    path, output, overwrite = (arguments.pop(name) for name in ("config", "output", "overwrite"))
    overrides = {name: text for name, text in arguments.items() if text is not None}
    try:
        config = load_config(path, overrides)
        metrics = train(config, output, overwrite=overwrite)
    except (ValueError, DivergenceError) as error:
        sys.exit(f"python -m f2at.training: error: {error}")
    if metrics:
        test = metrics["test"]
        print(
            f"best checkpoint: epoch {metrics['epoch']}; on {test['images']} test images clean {test['clean']:.1%}, "
            f"{test['attack']} at eps {config.attack.eps} {test['robust']:.1%}\nnext: python -m f2at.export {output} "
            f"--output bundles/{output.name}"
        )


if __name__ == "__main__":
    main()
