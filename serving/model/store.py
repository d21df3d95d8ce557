"""Bundles in folders: which may be served, and the copies that servers make of them.

A server serves a copy, below F2AT_STATE and named by its digest: the folder that it came from may change at any time,
and every process of the server, now and after a restart, must load the same.
"""

import logging
import secrets
import shutil
from pathlib import Path

from f2at.bundle.format import MANIFEST, SIGNATURE, Bundle, BundleError, load_bundle
from f2at.bundle.signatures import read_public_keys, verify_bundle
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")


def load_trusted(folder: Path, settings: Settings) -> Bundle:
    """The bundle in `folder`, if it may be served: with F2AT_PUBLIC_KEY set, only one that its keys signed.

    Raises:
        BundleError: it is no valid bundle.
        SignatureError: it has no signature, or none by these keys; or the keys cannot be read.
    """
    keys = read_public_keys(settings.public_key) if settings.public_key else None
    bundle = load_bundle(folder)
    if keys is not None:
        verify_bundle(bundle, keys)
    return bundle


def load_surrogate(settings: Settings, bundle: Bundle) -> Bundle | None:
    """The bundle of F2AT_SURROGATE, or None if none is set.

    Raises:
        BundleError: it is no valid bundle, or not of the same classes and image size as `bundle`.
        SignatureError: it is not signed as F2AT_PUBLIC_KEY demands.
    """
    if settings.surrogate is None:
        return None
    surrogate = load_trusted(settings.surrogate, settings)
    check_same_shape(bundle, surrogate, "F2AT_SURROGATE")
    return surrogate


def check_same_shape(bundle: Bundle, other: Bundle, what: str) -> None:
    """Refuse `other` in the place of `bundle`, or beside it, if it has other classes or images; `what` names it.

    Raises:
        BundleError: with what is accepted and what came.
    """
    for part in ("classes", "input_size"):
        accepted, received = getattr(bundle, part), getattr(other, part)
        if accepted != received:
            raise BundleError(f"{what} must have the {part} of the bundle, {accepted}; got {received}")


def store_bundle(bundle: Bundle, settings: Settings) -> None:
    """Copy a trusted bundle to `stored_path`, unless a copy that may be served is there; the copy is verified.

    Raises:
        SignatureError: its signature was replaced meanwhile, by one of another key.
    """
    place = stored_path(bundle.digest, settings)
    if bundle.path == place:
        return
    if place.exists():
        try:
            load_trusted(place, settings)
            return
        except ValueError as error:  # damaged, or signed by a key that is trusted no more
            _LOG.info("Replacing the copy of %s: %s", bundle.digest, error)
    draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        write_files(bundle, draft)
        load_trusted(draft, settings)
        shutil.rmtree(place, ignore_errors=True)
        draft.replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def stored_path(digest: str, settings: Settings) -> Path:
    """The folder of the copy of the bundle with this digest, whether or not there is one."""
    return settings.state / "bundles" / digest.removeprefix("sha256:")


def stored_digests(settings: Settings) -> list[str]:
    """The digests of the bundles of which there is a copy."""
    return [f"sha256:{folder.name}" for folder in settings.state.glob("bundles/[!.]*")]


def delete_stored(digest: str, settings: Settings) -> None:
    """Delete the copy of that bundle."""
    shutil.rmtree(stored_path(digest, settings), ignore_errors=True)


def write_files(bundle: Bundle, folder: Path) -> None:
    """Write the files of a bundle into an empty folder, its signature among them if it has one."""
    for name, data in bundle.files.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(bundle.manifest_bytes)
    if signature := read_signature(bundle):
        (folder / SIGNATURE).write_bytes(signature)


def read_signature(bundle: Bundle) -> bytes:
    """The signature beside the files of a bundle; empty where there is none."""
    file = bundle.path / SIGNATURE
    return file.read_bytes() if file.is_file() else b""
