"""The command `f2at`, also `python -m f2at`: one door to every stage. What is asked for is imported, and no more."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from f2at import __version__
from f2at.command_line import suggestion

_EXIT_CODES = "exit codes: 0 done; 2 bad input; 3 a threshold is not met; 4 undecided; 130 interrupted"


class Command(NamedTuple):
    """Where a command is, as module:function; what it needs beside the base installation; what it does."""

    place: str
    extra: str | None
    summary: str


COMMANDS = {
    "train": Command("f2at.training.command:run", "train", "train a robust classifier as a TOML file says"),
    "critic": Command("f2at.training.critic:run", "train", "learn the critics of F2AT's Donsker-Varadhan estimator"),
    "export": Command("f2at.export.command:run", "train", "turn a training run or an ONNX file into a bundle"),
    "audit": Command(
        "f2at.evidence.commands.shapes:run_audit", None, "attack a bundle or an ONNX file, and write a report"
    ),
    "replay": Command("f2at.audit.commands.replay:run", None, "repeat a report's audit, and say what differs"),
    "compare": Command(
        "f2at.evidence.commands.shapes:run_compare", None, "say whether one report is worse than another"
    ),
    "card": Command("f2at.evidence.commands.card:run", "card", "write a Hugging Face model card of a report"),
    "log-mlflow": Command("f2at.evidence.commands.tracking:run", "mlflow", "log a report to an MLflow server"),
    "list": Command("f2at.audit.commands.listing:run_list", None, "print the suites and the attacks"),
    "schema": Command("f2at.audit.commands.listing:run_schema", None, "print the JSON Schema of reports"),
    "sign": Command("f2at.evidence.commands.signing:run_sign", None, "sign a bundle or a report"),
    "verify": Command("f2at.evidence.commands.signing:run_verify", None, "check the signature of a bundle or a report"),
    "serve": Command("f2at.serving.commands:run_serve", "serve", "serve a bundle over HTTP, and audit it on demand"),
    "worker": Command("f2at.serving.commands:run_worker", "serve", "run the audits that servers queue"),
    "webhooks": Command("f2at.serving.commands:run_webhooks", "serve", "tell others of audits that have ended"),
    "keys": Command("f2at.serving.access.commands:run", "serve", "make, list and revoke API keys"),
    "pin": Command("f2at.serving.commands:run_pin", "serve", "put a bundle into BentoML's model store"),
    "purge": Command("f2at.serving.commands:run_purge", "serve", "delete audits that ended long ago"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    # OpenMP's threads sleep while they wait: where they spin, training beside other work takes several times as long
    # (benchmarks/results/waiting.md). Read once, when PyTorch is loaded; a value of the user's own stays.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"f2at {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        return _refuse("f2at", f"there is no command {name!r}{suggestion(name, COMMANDS)} (f2at --help)")
    module, _, function = COMMANDS[name].place.partition(":")
    try:
        status: int = getattr(import_module(module), function)(arguments[1:])
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        _refuse(f"f2at {name}", "interrupted")
        return 130
    except ModuleNotFoundError as error:
        extra = COMMANDS[name].extra
        if extra is None or (error.name or "").partition(".")[0] == "f2at":
            raise
        return _refuse(f"f2at {name}", f"{error.name} is not installed; pip install 'f2at[{extra}]'")
    except OSError as error:
        reason = str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
        return _refuse(f"f2at {name}", reason)
    except (ValueError, NotImplementedError) as error:
        return _refuse(f"f2at {name}", str(error))
    return status


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{command.summary}" for name, command in COMMANDS.items()]
    purpose = "Train a robust image classifier, export it, serve it, and audit what is deployed."
    return "\n".join(
        [
            "usage: f2at COMMAND [options]",
            "",
            purpose,
            "",
            *lines,
            "",
            "f2at COMMAND --help says more of each.",
            _EXIT_CODES,
        ]
    )


def _refuse(who: str, reason: str) -> int:
    print(f"{who}: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
