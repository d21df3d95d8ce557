"""The command line: `python -m f2at.serving serve|worker|pin|keys`."""

import argparse
import os
import socket
import sys
from pathlib import Path

from f2at.bundle.format import load_bundle
from f2at.serving.access import commands as key_commands
from f2at.serving.settings import Settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def _serve(options: argparse.Namespace) -> int:
    from f2at.serving.model.store import load_trusted  # brings BentoML, which --help need not wait for

    settings = Settings.from_env()
    load_trusted(options.bundle, settings)
    host: str = options.host
    port: int = options.port
    _check_free(host, port)
    os.environ |= {**settings.paths(), "F2AT_BUNDLE": str(options.bundle.absolute())}
    command = [sys.executable, "-m", "bentoml", "serve", "f2at.serving.service:RobustClassifier"]
    command += ["--host", host, "--port", str(port)]
    os.execv(sys.executable, command)


def _check_free(host: str, port: int) -> None:
    """BentoML would show a traceback for a port that is taken."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen on {host} port {port} ({error}); choose another --port") from error


def _worker(options: argparse.Namespace) -> int:
    from f2at.serving.jobs.supervisor import worker_lock
    from f2at.serving.jobs.worker import run_worker
    from f2at.serving.model.store import load_surrogate, load_trusted, pinned_bundle
    from f2at.serving.process.files import acquire_lock

    settings = Settings.from_env()
    bundle = load_trusted(settings.bundle or pinned_bundle(None), settings)
    if options.lock is None and acquire_lock(worker_lock(settings.state, bundle.digest)) is None:
        raise ValueError(f"another worker is at work on {settings.state}; stop it, or set F2AT_STATE")
    run_worker(bundle, load_surrogate(settings, bundle), settings, supervised=options.lock is not None)
    return 0


def _pin(options: argparse.Namespace) -> int:
    from f2at.serving.model.store import pin

    model = pin(options.bundle)
    print(f"{model.tag!s} holds {load_bundle(options.bundle).digest}; `bentoml build` puts it into the next Bento")
    return 0


def _purge(options: argparse.Namespace) -> int:
    from f2at.serving.jobs.audits import connect
    from f2at.serving.jobs.retention import purge

    with connect(Settings.from_env().database_url) as jobs:
        count = purge(jobs, options.days)
    print(f"deleted {count} audit{'' if count == 1 else 's'} that ended more than {options.days} days ago")
    return 0


def _days(text: str) -> int:
    days = int(text)
    if days < 0:
        raise ValueError
    return days


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m f2at.serving",
        description="Serve the model of a bundle, and audit it on demand.",
        epilog="Settings are environment variables (F2AT_...); serving/settings.py lists them.",
    )
    commands = parser.add_subparsers(title="commands", required=True)

    serve = commands.add_parser("serve", help="serve a bundle; the page is at http://127.0.0.1:3000/")
    serve.add_argument("bundle", type=Path, help="folder of the bundle, such as bundles/digits")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=int, default=3000, help="port to listen on (default: %(default)s)")
    serve.set_defaults(run=_serve)

    worker = commands.add_parser(
        "worker", help="run audits of the bundle in F2AT_BUNDLE (a server starts one itself unless F2AT_WORKER=off)"
    )
    worker.add_argument("--lock", type=int, help=argparse.SUPPRESS)  # descriptor of the lock a server holds for it
    worker.set_defaults(run=_worker)

    pin = commands.add_parser("pin", help="put a bundle into BentoML's model store, for `bentoml build`")
    pin.add_argument("bundle", type=Path, help="folder of the bundle")
    pin.set_defaults(run=_pin)

    purge = commands.add_parser("purge", help="delete audits that ended long ago, as F2AT_KEEP_DAYS makes workers do")
    purge.add_argument("--days", type=_days, required=True, help="keep those of the last DAYS days")
    purge.set_defaults(run=_purge)

    key_commands.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
