"""Bundles in the format of OpenSSF Model Signing, as its own command writes and reads it:

    model_signing sign key BUNDLE --signature BUNDLE/model.sig --private_key key.pem
    model_signing verify key BUNDLE --signature BUNDLE/model.sig --public_key key.pub.pem

A statement lists the sha256 of every file of the folder but those that it leaves out by name, and an EC key signs it.
The library makes and checks the signature; the digests are those of the bytes that were loaded, where it would read the
folder again. All that is loaded must be listed. No other file may lie beside it unless the signature leaves it out, and
none is ever loaded. A file may be a symbolic link, since its content counts. Nothing here asks the network.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from model_signing import hashing, manifest, signing, verifying
from model_signing._hashing.hashing import Digest

from f2at.bundle.format import MANIFEST, MODEL_SIGNATURE, SIGNATURE, Bundle
from f2at.bundle.keys import CURVES, PrivateKey, PublicKey, SignatureError, wrong_signature

_OTHERS = (MODEL_SIGNATURE, "model.yaml")  # the latter is what BentoML's model store adds to a folder
_LEFT_OUT = (*_OTHERS, SIGNATURE, ".git", ".gitattributes", ".github", ".gitignore")  # git's, as its own command does


def sign(bundle: Bundle, key: Path, private: PrivateKey) -> bytes:
    """The content of model.sig for a loaded bundle.

    Args:
        bundle: what to sign.
        key: the file of the private key.
        private: the same key.

    Raises:
        SignatureError: the key is not of an elliptic curve, or the folder holds files that are no part of the bundle.
    """
    if not isinstance(private, EllipticCurvePrivateKey):
        raise SignatureError(
            f"{key} holds no EC key ({CURVES}), which Model Signing takes: "
            "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
        )
    with TemporaryDirectory() as scratch:
        signature = Path(scratch) / MODEL_SIGNATURE
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
        signer.set_hashing_config(_Loaded(bundle, _LEFT_OUT)).sign(bundle.path, signature)
        return signature.read_bytes()


def verify(bundle: Bundle, signature: bytes, keys: Sequence[PublicKey]) -> None:
    """Accept a loaded bundle if one of the keys signed it.

    Raises:
        SignatureError: none did, or none of them is of an elliptic curve, or the signature is of other files.
    """
    curves = [key for key in keys if isinstance(key, EllipticCurvePublicKey)]
    if not curves:
        raise SignatureError(f"Model Signing takes EC keys ({CURVES}), and none of the given keys is one")
    for key in curves:
        loaded = _Loaded(bundle)
        with TemporaryDirectory() as scratch:
            public, file = Path(scratch) / "key.pub.pem", Path(scratch) / MODEL_SIGNATURE
            public.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            file.write_bytes(signature)
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(loaded)
            try:
                verifier.verify(bundle.path, file)
            except SignatureError:
                raise
            except Exception:  # the library raises whatever its parsers do
                if loaded.asked_for:  # only after the signature was found to be by this key
                    listed = ", ".join(loaded.contents())
                    raise SignatureError(f"it lists other files or contents than those loaded: {listed}") from None
            else:
                return
    raise wrong_signature()


class _Loaded(hashing.Config):
    """Hashes the bytes that were loaded, where the library would hash the files of a folder.

    Args:
        bundle: what was loaded.
        left_out: the paths in its folder that are not listed, so far.
    """

    def __init__(self, bundle: Bundle, left_out: Iterable[str] = _OTHERS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked_for = False
        self._bundle = bundle
        self._left_out = [*left_out]

    def add_ignored_paths(self, *, model_path: Any, paths: Iterable[Any]) -> None:  # noqa: ARG002
        """Leave out what a signature, which has been verified, says that it leaves out."""
        self._left_out += [str(path) for path in paths]

    def hash(self, model_path: Any, *, files_to_hash: Any = None) -> manifest.Manifest:  # noqa: ARG002
        """A digest for each file of the bundle."""
        self.asked_for = True
        parts = self.contents()
        for file in sorted(self._bundle.path.rglob("*")):
            name = file.relative_to(self._bundle.path).as_posix()
            if name not in parts and not self._is_left_out(name) and (file.is_symlink() or not file.is_dir()):
                raise SignatureError(f"{name} is no part of a bundle, nor left out by the signature: move it away")
        form = manifest.SerializationType.from_args(
            {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": self._left_out}
        )
        items = [
            form.new_item(name, Digest("sha256", hashlib.sha256(content).digest())) for name, content in parts.items()
        ]
        return manifest.Manifest(self._bundle.path.resolve().name, items, form)

    def contents(self) -> dict[str, bytes]:
        """What must be listed: all that is loaded, and the other signature where that is not left out."""
        parts = {MANIFEST: self._bundle.manifest_bytes, **self._bundle.files}
        other = self._bundle.path / SIGNATURE
        if other.is_file() and not self._is_left_out(SIGNATURE):
            parts[SIGNATURE] = other.read_bytes()
        return parts

    def _is_left_out(self, name: str) -> bool:
        return any(PurePosixPath(name).is_relative_to(path) for path in self._left_out)
