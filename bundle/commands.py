"""`f2at sign` and `f2at verify`: signatures of bundles, and of reports or any other file."""

from collections.abc import Sequence
from pathlib import Path

from f2at.bundle.format import SIGNATURE, load_bundle
from f2at.bundle.signatures import SUFFIX, SignatureError, read_private_key, read_public_keys, read_signature, verify
from f2at.command_line import Parser

_WHAT = "a bundle's folder, or a report (.json)"


def run_sign(arguments: Sequence[str]) -> int:
    """Write the signature beside what it signs."""
    parser = Parser(
        prog="f2at sign",
        description="Sign a bundle or a report with a key of your own; the signature goes beside it.",
        epilog="a pair of keys: openssl genpkey -algorithm ed25519 -out key.pem; "
        "openssl pkey -in key.pem -pubout -out key.pub.pem",
    )
    parser.add_argument("path", type=Path, help=_WHAT)
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="Ed25519 private key, PEM")
    parser.add_argument("--overwrite", action="store_true", help="replace a signature that is there")
    options = parser.parse_args(arguments)
    key = read_private_key(options.key)
    data, signature = _content(options.path)
    if signature.exists() and not options.overwrite:
        raise ValueError(f"{signature} exists; give --overwrite to replace it")
    signature.write_bytes(key.sign(data))
    print(f"signed    {signature}")
    return 0


def run_verify(arguments: Sequence[str]) -> int:
    """Hold a bundle or a report against its signature."""
    parser = Parser(
        prog="f2at verify",
        description="Check the signature of a bundle, and the bundle itself, or the signature of a report.",
    )
    parser.add_argument("path", type=Path, help=_WHAT)
    parser.add_argument(
        "--public-key", type=Path, required=True, metavar="FILE", help="Ed25519 public key, PEM; several are accepted"
    )
    options = parser.parse_args(arguments)
    keys = read_public_keys(options.public_key)
    data, signature = _content(options.path)
    try:
        verify(data, read_signature(signature), keys)
    except SignatureError as error:
        raise SignatureError(f"{options.path}: {error}") from error
    print(f"verified  {options.path}")
    return 0


def _content(path: Path) -> tuple[bytes, Path]:
    """The bytes that are signed, and the file of their signature; a bundle is checked whole."""
    if path.is_dir():
        return load_bundle(path).manifest_bytes, path / SIGNATURE
    return path.read_bytes(), path.with_name(path.name + SUFFIX)
