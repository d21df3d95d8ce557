"""`f2at serve`, `worker`, `webhooks`, `pin` and `purge`."""

import argparse
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from f2at.bundle.format import check_folder
from f2at.command_line import Parser
from f2at.serving.settings import Settings

_VARIABLES = ", ".join(f"F2AT_{name.upper()}" for name in Settings.model_fields)
_SETTINGS = f"Settings are environment variables: {_VARIABLES}."


def run_serve(arguments: Sequence[str]) -> int:
    """Serve the model of a bundle, and audit it on demand."""
    parser = Parser(
        prog="f2at serve", description="Serve the model of a bundle, and audit it on demand.", epilog=_SETTINGS
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle, such as bundles/digits")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=3000, help="port to listen on (default: %(default)s)")
    options = parser.parse_args(arguments)
    from f2at.serving.bento.environment import run_server

    settings = Settings()
    check_folder(options.bundle)  # to fail early; the server verifies the contents
    host: str = options.host
    port: int = options.port
    _check_free(host, port)
    os.environ |= {**settings.paths(), "F2AT_BUNDLE": str(options.bundle.absolute())}
    run_server(host, port)


def _check_free(host: str, port: int) -> None:
    """Refuse a port that is taken, for which BentoML would show a traceback."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen on {host} port {port} ({error}); choose another --port") from error


def run_worker(arguments: Sequence[str]) -> int:
    """Run audits of the bundle in F2AT_BUNDLE."""
    parser = Parser(
        prog="f2at worker",
        description="Run audits of the bundle in F2AT_BUNDLE. A server starts a worker itself unless F2AT_WORKER=off.",
        epilog=_SETTINGS,
    )
    parser.add_argument("--lock", type=int, help=argparse.SUPPRESS)  # file descriptor of the lock that a server holds
    options = parser.parse_args(arguments)
    from f2at.serving.bento.models import pinned_bundle
    from f2at.serving.jobs.supervisor import worker_lock
    from f2at.serving.jobs.worker import run_worker as work
    from f2at.serving.model.store import load_surrogate, load_trusted
    from f2at.serving.process.files import acquire_lock

    settings = Settings()
    bundle = load_trusted(settings.bundle or pinned_bundle(None), settings)
    if options.lock is None and acquire_lock(worker_lock(settings.state, bundle.digest)) is None:
        raise ValueError(f"another worker is running on {settings.state}; stop it, or set F2AT_STATE")
    work(bundle, load_surrogate(settings, bundle), settings, supervised=options.lock is not None)


def run_webhooks(arguments: Sequence[str]) -> int:
    """Tell the URLs in F2AT_WEBHOOK_URLS of audits that have ended."""
    parser = Parser(
        prog="f2at webhooks",
        description="Tell the URLs in F2AT_WEBHOOK_URLS of audits that have ended. "
        "A server that has this variable starts this itself.",
        epilog=_SETTINGS,
    )
    parser.add_argument("--lock", type=int, help=argparse.SUPPRESS)  # file descriptor of the lock that a server holds
    options = parser.parse_args(arguments)
    from f2at.serving.jobs.supervisor import webhooks_lock
    from f2at.serving.process.files import acquire_lock
    from f2at.serving.webhooks.process import run_webhooks as send

    settings = Settings()
    if options.lock is None and acquire_lock(webhooks_lock(settings.state)) is None:
        raise ValueError(f"webhooks are being sent from {settings.state} already; stop that, or set F2AT_STATE")
    send(settings, supervised=options.lock is not None)


def run_pin(arguments: Sequence[str]) -> int:
    """Put a bundle into BentoML's model store, for `bentoml build`."""
    parser = Parser(prog="f2at pin", description="Put a bundle into BentoML's model store, for `bentoml build`.")
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    options = parser.parse_args(arguments)
    from f2at.serving.bento.models import pin

    model = pin(options.bundle)
    digest = str(model.info.metadata["digest"])
    print(f"{model.tag!s} contains {digest}; the next `bentoml build` puts it into the Bento")
    return 0


def run_purge(arguments: Sequence[str]) -> int:
    """Delete audits that ended long ago, as F2AT_KEEP_DAYS makes workers do."""
    parser = Parser(
        prog="f2at purge", description="Delete audits that ended long ago, as F2AT_KEEP_DAYS makes workers do."
    )
    parser.add_argument("--days", type=_days, required=True, help="keep audits that ended in the last DAYS days")
    options = parser.parse_args(arguments)
    from f2at.serving.jobs.records import connect
    from f2at.serving.jobs.retention import purge

    with connect(Settings().database_url) as jobs:
        count = purge(jobs, options.days)
    print(f"deleted {count} audit{'' if count == 1 else 's'} that ended more than {options.days} days ago")
    return 0


def _days(text: str) -> int:
    days = int(text)
    if days < 0:
        raise ValueError
    return days
