"""Command line: audit a model, compare two reports, list what there is. No server and no PyTorch needed."""

import os
import sys
from collections.abc import Sequence

from f2at.audit.commands import audit, compare, listing

COMMANDS = {"compare": compare.run, "list": listing.run_list, "schema": listing.run_schema}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code. What is no command is a bundle to audit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = COMMANDS.get(arguments[0]) if arguments else None
    try:
        return audit.run(arguments) if command is None else command(arguments[1:])
    except BrokenPipeError:  # whoever reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        reason = str(error) if error.filename is None else f"{error.filename}: {error.strerror}"
    except ValueError as error:
        reason = str(error)
    print(f"error: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
