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
_WHAT = "a bundle's folder, or a report (.json)"


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
    path: Path = options.path
    if path.is_dir():
        print(f"verified  {path / verify_bundle(load_bundle(path), keys)}")
        return 0
    stated = path.name.endswith(in_toto.SUFFIX)
    report = path.with_name(path.name.removesuffix(in_toto.SUFFIX) + ".json") if stated else path
    _verify_report(report, keys, options.model, only_statement=stated)
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
    try:
        statement = in_toto.statement(parse_report(content, path), content)
    except ValueError as error:
        print(f"no in-toto statement: {error}")
    else:
        signatures[path.with_suffix(in_toto.SUFFIX)] = in_toto.sign_statement(statement, key)
    return signatures


def _verify_report(path: Path, keys: Sequence[PublicKey], model: Path | None, *, only_statement: bool) -> None:
    """Check every signature that there is of a report or another file; at least one there must be."""
    content = path.read_bytes()
    signature, statement = path.with_name(path.name + SUFFIX), path.with_suffix(in_toto.SUFFIX)
    there = [file for file in (signature, statement) if file.exists() and (file == statement or not only_statement)]
    if not there:
        raise SignatureError(f"{path}: it is not signed (there is no {signature.name}): f2at sign")
    if model is not None and statement not in there:
        raise SignatureError(f"{path}: there is no {statement.name}, which would say of what model it is: f2at sign")
    verified = []
    for file in there:
        try:
            if file == signature:
                verify(content, file.read_bytes(), keys)
                verified.append(str(file))
                continue
            found = in_toto.verify_statement(file.read_bytes(), keys)
            in_toto.check_report(found, content)
            if model is not None:
                in_toto.check_model(found, load_bundle(model).digest)
            verified.append(f"{file}: {in_toto.result_of(found).result}")
        except SignatureError as error:
            raise SignatureError(f"{file}: {error}") from error
    print("\n".join(f"verified  {line}" for line in verified))
