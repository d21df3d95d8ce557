"""`f2at sign` and `f2at verify`: signatures of bundles, and of reports or any other file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from f2at.audit.reports.files import parse_report
from f2at.bundle.format import load_bundle
from f2at.bundle.keys import PublicKey, SignatureError, read_private_key, read_public_keys, sign, verify
from f2at.bundle.signatures import FORMATS, sign_bundle, verify_bundle
from f2at.command_line import Parser
from f2at.evidence import in_toto
from f2at.files import replacing

SUFFIX = ".sig"
_WHAT = "a bundle's folder, a report (.json) or another file"


def run_sign(arguments: Sequence[str]) -> int:
    """Write the signatures beside what they sign."""
    parser = Parser(
        prog="f2at sign",
        description="Sign a bundle or a report with a key of your own; the signature goes beside it, and for a report "
        f"an in-toto statement of its result (REPORT{in_toto.SUFFIX}).",
        epilog="a pair of keys: openssl genpkey -algorithm ed25519 -out key.pem; "
        "openssl pkey -in key.pem -pubout -out key.pub.pem; "
        "for oms: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem",
    )
    parser.add_argument("path", type=Path, help=_WHAT)
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key, Ed25519 or EC, PEM")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="f2at",
        help=f"of a bundle's signature: f2at ({FORMATS['f2at']}, default), or oms ({FORMATS['oms']}), which is that of "
        "OpenSSF Model Signing and takes an EC key",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a signature that is there")
    options = parser.parse_args(arguments)
    signatures = _sign(options)
    for file in signatures:
        if file.exists() and not options.overwrite:
            raise ValueError(f"{file} exists; give --overwrite to replace it")
    for file, content in signatures.items():
        with replacing(file) as draft:
            draft.write_bytes(content)
        print(f"signed    {file}")
    return 0


def run_verify(arguments: Sequence[str]) -> int:
    """Hold a bundle or a report against its signatures."""
    parser = Parser(
        prog="f2at verify",
        description="Check the signature of a bundle, and the bundle itself, or the signatures of a report.",
    )
    parser.add_argument("path", type=Path, help=f"{_WHAT}, or its statement ({in_toto.SUFFIX})")
    parser.add_argument(
        "--public-key", type=Path, required=True, metavar="FILE", help="public key, PEM; several are accepted"
    )
    parser.add_argument("--model", type=Path, metavar="BUNDLE", help="the bundle that a report's statement must be of")
    options = parser.parse_args(arguments)
    keys = read_public_keys(options.public_key)
    for line in _verify(options.path, keys, options.model):
        print(f"verified  {line}")
    return 0


def _sign(options: argparse.Namespace) -> dict[Path, bytes]:
    """The files to write, and their contents."""
    path: Path = options.path
    key = read_private_key(options.key)
    if path.is_dir():
        return {path / FORMATS[options.format]: sign_bundle(load_bundle(path), options.key, options.format)}
    if options.format != "f2at":
        raise ValueError(f"format {options.format} is of bundles; got {path}, which is a file")
    content = path.read_bytes()
    signatures = {path.with_name(path.name + SUFFIX): sign(content, key)}
    if statement := _statement_path(path):
        report = parse_report(content, path)  # what is no whole report, or contradicts itself, is refused
        try:
            made = in_toto.statement(report, content)
        except ValueError as error:
            print(f"no in-toto statement: {error}")
        else:
            signatures[statement] = in_toto.sign_statement(made, key)
    return signatures


def _verify(path: Path, keys: Sequence[PublicKey], model: Path | None) -> list[str]:
    """Check every signature of a report or another file, or one of a bundle; return what was found.

    Raises:
        SignatureError: there is none, or a wrong one.
    """
    if path.is_dir():
        if model is not None:
            raise ValueError(f"model is for reports; got {path}, which is a folder")
        return [str(path / verify_bundle(load_bundle(path), keys))]
    if path.name.endswith(in_toto.SUFFIX):
        report = path.with_name(path.name.removesuffix(in_toto.SUFFIX) + ".json")
        return [_verify_statement(path, keys, report.read_bytes() if report.exists() else None, model)]
    content, found = path.read_bytes(), []
    signature, statement = path.with_name(path.name + SUFFIX), _statement_path(path)
    if signature.exists():
        try:
            verify(content, signature.read_bytes(), keys)
        except SignatureError as error:
            raise SignatureError(f"{signature}: {error}") from error
        found.append(str(signature))
    if statement and statement.exists():
        found.append(_verify_statement(statement, keys, content, model))
    elif model is not None:
        raise SignatureError(f"{path}: there is no statement beside it that says of which model it is: f2at sign")
    if not found:
        raise SignatureError(f"{path}: it is not signed (there is no {signature.name}): f2at sign")
    return found


def _verify_statement(file: Path, keys: Sequence[PublicKey], report: bytes | None, model: Path | None) -> str:
    """Check a statement, against the report and the model where they are given."""
    try:
        found = in_toto.verify_statement(file.read_bytes(), keys)
        if report is not None:
            in_toto.check_report(found, report)
        if model is not None:
            in_toto.check_model(found, load_bundle(model).digest)
    except SignatureError as error:
        raise SignatureError(f"{file}: {error}") from error
    return f"{file}: {in_toto.result_of(found).result}"


def _statement_path(report: Path) -> Path | None:
    """Where the statement of a report lies; None if the name is not that of a report."""
    return report.with_suffix(in_toto.SUFFIX) if report.suffix == ".json" else None
