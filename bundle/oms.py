"""Bundles in the format of OpenSSF Model Signing, as its own command writes and reads it:

    model_signing sign key BUNDLE --signature BUNDLE/model.sig --private_key key.pem
    model_signing verify key BUNDLE --signature BUNDLE/model.sig --public_key key.pub.pem

A statement lists the sha256 of every file of the folder but those that it leaves out by name, and an EC key signs it.
The library makes signatures and checks them, but would read the folder again: here the list is held against the bytes
that were loaded, all of which it must name. What else lies in the folder is never loaded. It may be gone, but must be
as it was signed, or left out. A file may be a symbolic link, since its content counts. Nothing here asks the network.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from model_signing import hashing, signing
from model_signing._signing.sign_ec_key import Verifier
from model_signing._signing.sign_sigstore_pb import Signature
from model_signing.manifest import Manifest

from f2at.bundle.format import MANIFEST, MODEL_SIGNATURE, SIGNATURES, Bundle
from f2at.bundle.keys import CURVES, PrivateKey, PublicKey, SignatureError, wrong_signature

_LEFT_OUT = (*SIGNATURES, "model.yaml")  # the last is what BentoML's model store adds to a folder


def sign(bundle: Bundle, key: Path, private: PrivateKey) -> bytes:
    """The content of model.sig for a loaded bundle; it lists whatever else lies in the folder as well.

    Args:
        bundle: what to sign.
        key: the file of the private key.
        private: the same key.

    Raises:
        SignatureError: the key is not of an elliptic curve, or the folder cannot be signed, or has changed.
    """
    if not isinstance(private, EllipticCurvePrivateKey):
        raise SignatureError(
            f"{key} holds no EC key ({CURVES}), which Model Signing takes: "
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        )
    files = hashing.Config().set_ignored_paths(paths=_LEFT_OUT)  # and Git's, as its own command does
    signer = signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(files)
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / MODEL_SIGNATURE
        try:
            signer.sign(bundle.path, file)
        except ValueError as error:
            raise SignatureError(f"{bundle.path} cannot be signed: {error}") from error
        signature = file.read_bytes()
    verify(bundle, signature, [private.public_key()])  # it is of the files as they are now, and must be of those loaded
    return signature


def verify(bundle: Bundle, signature: bytes, keys: Sequence[PublicKey]) -> None:
    """Accept a loaded bundle if one of the keys signed it.

    Raises:
        SignatureError: none did, or none of them is of an elliptic curve, or the signature is of other files.
    """
    curves = [key for key in keys if isinstance(key, EllipticCurvePublicKey)]
    if not curves:
        raise SignatureError(f"Model Signing takes EC keys ({CURVES}), and none of the given keys is one")
    for key in curves:
        try:
            listed = _list(signature, key)
        except Exception:  # the library raises whatever its parsers do
            continue
        return _compare(bundle, listed)
    raise wrong_signature()


def _list(signature: bytes, key: EllipticCurvePublicKey) -> Manifest:
    """The files that a signature lists, if the key made it."""
    with TemporaryDirectory() as scratch:
        public, file = Path(scratch) / "key.pub.pem", Path(scratch) / MODEL_SIGNATURE
        public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        file.write_bytes(signature)
        return Verifier(public).verify(Signature.read(file))


def _compare(bundle: Bundle, listed: Manifest) -> None:
    form = listed.serialization_type
    if (form["method"], form["hash_type"]) != ("files", "sha256"):
        raise SignatureError(f"it lists {form['method']} by {form['hash_type']}; only files by sha256 are read")
    signed = {item.identifier: item.digest.digest_hex for item in listed.resource_descriptors()}
    loaded = {MANIFEST: bundle.manifest_bytes, **bundle.files}
    for name, content in loaded.items():
        if name not in signed:
            raise SignatureError(f"it does not list {name}")
        if signed[name] != hashlib.sha256(content).hexdigest():
            raise SignatureError(f"it is of another {name}")
    left_out = (*_LEFT_OUT, *form.get("ignore_paths", ()))
    for file in sorted(bundle.path.rglob("*")):
        name = file.relative_to(bundle.path).as_posix()
        if name in loaded or (file.is_dir() and not file.is_symlink()):
            continue
        if name in signed and file.is_file():
            with file.open("rb") as stream:
                if signed[name] != hashlib.file_digest(stream, "sha256").hexdigest():
                    raise SignatureError(f"{name} is not what was signed")
        elif not any(PurePosixPath(name).is_relative_to(path) for path in left_out):
            raise SignatureError(f"{name} was not signed: move it away, or sign again")
