"""Detached Ed25519 signatures: they say who made a bundle or a report.

A bundle's manifest holds the sha256 of every other file, so its signature covers the whole bundle. A signature is the
64 bytes that RFC 8032 describes, over the bytes of the file and nothing else: OpenSSL makes the keys, and can check
`FILE.sig` without this package. No network, no PyTorch.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from f2at.bundle.format import SIGNATURE, Bundle

SUFFIX = ".sig"
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class SignatureError(ValueError):
    """A key that cannot be used, or a signature that is missing or wrong, with the reason in one line."""


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The Ed25519 private key in a PEM file, as `openssl genpkey -algorithm ed25519` writes it.

    Raises:
        SignatureError: the file cannot be read, or is no such key, or is encrypted.
    """
    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SignatureError(f"{path} is not an unencrypted Ed25519 private key: openssl genpkey -algorithm ed25519")
    return key


def read_public_keys(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """The Ed25519 public keys in a PEM file: one, or while keys are being changed, several one after another.

    Raises:
        SignatureError: the file cannot be read, or holds anything but such keys.
    """
    data = _read(path)
    try:
        keys = [load_pem_public_key(block) for block in _PUBLIC.findall(data)]
    except (ValueError, UnsupportedAlgorithm):
        keys = []
    ours = tuple(key for key in keys if isinstance(key, Ed25519PublicKey))
    if not ours or len(ours) != len(keys):
        raise SignatureError(f"{path} does not hold Ed25519 public keys: openssl pkey -in KEY -pubout")
    return ours


def verify(data: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> None:
    """Accept `data` if one of the keys signed it.

    Raises:
        SignatureError: none did.
    """
    for key in keys:
        try:
            return key.verify(signature, data)
        except InvalidSignature:
            continue
    raise SignatureError("the signature is not by any of the given keys, or not of this content")


def verify_bundle(bundle: Bundle, keys: Sequence[Ed25519PublicKey]) -> None:
    """Accept a loaded bundle if one of the keys signed it: the bytes that were loaded, not the files as they are now.

    Raises:
        SignatureError: it has no signature, or none by these keys.
    """
    try:
        verify(bundle.manifest_bytes, read_signature(bundle.path / SIGNATURE), keys)
    except SignatureError as error:
        raise SignatureError(f"{bundle.path}: {error}") from error


def read_signature(path: Path) -> bytes:
    """The signature in a file.

    Raises:
        SignatureError: there is none.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SignatureError(f"it is not signed (there is no {path.name}): f2at sign") from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SignatureError(f"the key {path} cannot be read ({error.strerror})") from error
