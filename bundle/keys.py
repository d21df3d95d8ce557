"""Keys in PEM files, and what they sign: the bytes of a file and nothing else.

Ed25519 signs as RFC 8032 describes, in 64 bytes. ECDSA signs as FIPS 186-5 describes, in DER, with the hash that goes
with its curve: P-256 and SHA-256, P-384 and SHA-384, P-521 and SHA-512. OpenSSL makes these keys, and checks what they
sign.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

CURVES = "P-256, P-384 or P-521"
_HASHES = {"secp256r1": SHA256(), "secp384r1": SHA384(), "secp521r1": SHA512()}
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


class SignatureError(ValueError):
    """A key that cannot be used, or a signature that is missing or wrong, with the reason in one line."""


def read_private_key(path: Path) -> PrivateKey:
    """The private key in a PEM file, as `openssl genpkey -algorithm ed25519` writes it, or of an elliptic curve.

    Raises:
        SignatureError: the file cannot be read, or is no such key, or is encrypted.
    """
    data = _read(path)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, Ed25519PrivateKey) or (isinstance(key, EllipticCurvePrivateKey) and _is_known(key)):
        return key
    raise SignatureError(
        f"{path} is not an unencrypted private key, Ed25519 or EC ({CURVES}): openssl genpkey -algorithm ed25519"
    )


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """The public keys in a PEM file: one, or while keys are being changed, several one after another, of any kind.

    Raises:
        SignatureError: the file cannot be read, or holds anything but such keys.
    """
    data = _read(path)
    try:
        keys = [load_pem_public_key(block) for block in _PUBLIC.findall(data)]
    except (ValueError, UnsupportedAlgorithm):
        keys = []
    ours = tuple(
        key
        for key in keys
        if isinstance(key, Ed25519PublicKey) or (isinstance(key, EllipticCurvePublicKey) and _is_known(key))
    )
    if not ours or len(ours) != len(keys):
        raise SignatureError(
            f"{path} does not hold public keys, Ed25519 or EC ({CURVES}): openssl pkey -in KEY -pubout"
        )
    return ours


def sign(data: bytes, key: PrivateKey) -> bytes:
    """The signature of `data`."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ECDSA(_HASHES[key.curve.name]))


def verify(data: bytes, signature: bytes, keys: Sequence[PublicKey]) -> None:
    """Accept `data` if one of the keys signed it.

    Raises:
        SignatureError: none did.
    """
    for key in keys:
        try:
            if isinstance(key, Ed25519PublicKey):
                return key.verify(signature, data)
            return key.verify(signature, data, ECDSA(_HASHES[key.curve.name]))
        except InvalidSignature:
            continue
    raise wrong_signature()


def wrong_signature() -> SignatureError:
    """What is said of a signature that no key accepts."""
    return SignatureError("the signature is not by any of the given keys, or not of this content")


def _is_known(key: EllipticCurvePrivateKey | EllipticCurvePublicKey) -> bool:
    return key.curve.name in _HASHES


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SignatureError(f"the key {path} cannot be read ({error.strerror})") from error
