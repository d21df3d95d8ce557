"""`f2at keys add|list|revoke`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from f2at.command_line import Parser
from f2at.serving.access.keys import SCOPES, Key, KeysError, add_key, read_keys, revoke_key
from f2at.serving.settings import Settings


def run(arguments: Sequence[str]) -> int:
    """Create, list and revoke API keys in the file named by F2AT_KEYS."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> Parser:
    scopes = "; ".join(f"{name}: {meaning}" for name, meaning in SCOPES.items())
    keys = Parser(prog="f2at keys", description="Create, list and revoke API keys in the file named by F2AT_KEYS.")
    actions = keys.add_subparsers(title="commands", required=True)

    add = actions.add_parser(
        "add",
        help="create a key and print it, once",
        description="Create a key and print it, once. Without F2AT_KEYS, also print the value for F2AT_KEY_DIGEST.",
        epilog=f"Scopes: {scopes}.",
    )
    add.add_argument("--name", required=True, help="the owner, as shown in lists and logs")
    add.add_argument("--scope", action="append", required=True, choices=SCOPES, help="what the key may do; repeatable")
    _set(add, _add)
    _set(actions.add_parser("list", help="list the keys: name, scopes, creation time"), _list)
    revoke = actions.add_parser("revoke", help="revoke a key; running servers refuse it at once")
    revoke.add_argument("name", help="name of the key")
    _set(revoke, _revoke)
    return keys


def _set(parser: argparse.ArgumentParser, command: Callable[[argparse.Namespace, Path | None], None]) -> None:
    def run(options: argparse.Namespace) -> int:
        try:
            command(options, Settings().keys)
        except OSError as error:  # the folder is missing or not accessible
            raise KeysError(f"{error.filename}: {error.strerror}") from error
        return 0

    parser.set_defaults(run=run)


def _add(options: argparse.Namespace, path: Path | None) -> None:
    if path is None:
        key, token = Key.create(options.name, options.scope)
        advice = f"A server started with this variable accepts it:\nF2AT_KEY_DIGEST={key.to_text()}"
    else:
        token = add_key(path, options.name, options.scope)
        advice = f"Servers with F2AT_KEYS={path} accept it from now on."
    print(f"This key is shown only once. {advice}", file=sys.stderr)
    print(token)


def _list(_: argparse.Namespace, path: Path | None) -> None:
    for key in read_keys(_named(path)):
        print(f"{key.name:<24} {','.join(key.scopes):<32} {key.created}")


def _revoke(options: argparse.Namespace, path: Path | None) -> None:
    revoke_key(_named(path), options.name)
    print(f"revoked {options.name}", file=sys.stderr)


def _named(path: Path | None) -> Path:
    if path is None:
        raise KeysError("F2AT_KEYS must name the key file; it is not set")
    return path
