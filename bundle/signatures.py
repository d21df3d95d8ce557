"""Signatures of bundles: they say who made one. Two formats, each in a file of its own beside what it signs.

    manifest.json.sig  the manifest, which holds the sha256 of every other file, signed by `f2at.bundle.keys`
    model.sig          the format of OpenSSF Model Signing, see `f2at.bundle.oms`

Either covers the whole bundle. What is verified is the bytes that were loaded, not the files as they are now. No
network, no PyTorch.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from f2at.bundle.format import MODEL_SIGNATURE, SIGNATURE, SIGNATURES, Bundle
from f2at.bundle.keys import PublicKey, SignatureError, read_private_key, sign, verify

FORMATS = {"f2at": SIGNATURE, "oms": MODEL_SIGNATURE}
_LIMIT = 1 << 20  # bytes; a signature is a few kilobytes at most


def sign_bundle(bundle: Bundle, key: Path, form: str) -> bytes:
    """The signature of a loaded bundle: the content of the file that FORMATS names for `form`.

    Raises:
        SignatureError: the key in the file `key` cannot be used, or what this format needs is not installed.
    """
    private = read_private_key(key)
    if FORMATS[form] == SIGNATURE:
        return sign(bundle.manifest_bytes, private)
    signature: bytes = _oms().sign(bundle, key, private)
    return signature


def verify_bundle(bundle: Bundle, keys: Sequence[PublicKey]) -> str:
    """Accept a loaded bundle if one of the keys signed it, in either format; return the name of the signature's file.

    Raises:
        SignatureError: it has no signature, or none by these keys, or what its format needs is not installed.
    """
    found = read_signatures(bundle.path)
    if not found:
        raise SignatureError(f"{bundle.path}: it is not signed (there is no {' or '.join(SIGNATURES)}): f2at sign")
    refused = []
    for name, signature in found.items():
        try:
            if name == SIGNATURE:
                verify(bundle.manifest_bytes, signature, keys)
            else:
                _oms().verify(bundle, signature, keys)
            return name
        except SignatureError as error:
            refused.append(f"{name}: {error}")
    raise SignatureError(f"{bundle.path}: {'; '.join(refused)}")


def read_signatures(folder: Path) -> dict[str, bytes]:
    """The signatures in a bundle's folder, by the names of their files."""
    found = {}
    for name in SIGNATURES:
        try:
            with (folder / name).open("rb") as stream:
                found[name] = stream.read(_LIMIT)
        except FileNotFoundError:
            continue
    return found


def _oms() -> ModuleType:
    """`f2at.bundle.oms`, imported where such a signature is met or asked for: it takes half a second and 40 MB."""
    try:
        from f2at.bundle import oms
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "f2at":
            raise
        raise SignatureError(
            f"{MODEL_SIGNATURE} is of OpenSSF Model Signing, for which {error.name} is not installed; "
            "pip install 'f2at[signing]'"
        ) from None
    return oms
