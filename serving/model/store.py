"""Bundles in folders: which may be served, and the copies that servers make of them.

A server serves a copy, stored in F2AT_STATE by digest: the original folder may change at any time, and every process of
the server must load the same bundle, now and after a restart.
"""

import logging
import secrets
import shutil
from pathlib import Path
from typing import Protocol

from f2at.bundle.format import MANIFEST, Bundle, BundleError, load_bundle
from f2at.bundle.keys import read_public_keys
from f2at.bundle.signatures import read_signatures, verify_bundle
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")


def load_trusted(folder: Path, settings: Settings) -> Bundle:
    """The bundle in `folder`, if it may be served: with F2AT_PUBLIC_KEY set, only one signed by its keys.

    Raises:
        BundleError: it is not a valid bundle.
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
        BundleError: it is not a valid bundle, or has other classes or another image size than `bundle`.
        SignatureError: it is not signed as F2AT_PUBLIC_KEY requires.
    """
    if settings.surrogate is None:
        return None
    surrogate = load_trusted(settings.surrogate, settings)
    check_same_shape(bundle, surrogate, "F2AT_SURROGATE")
    return surrogate


class Shape(Protocol):
    """What two models must have in common."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of the logits."""

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the images in pixels."""


def check_same_shape(bundle: Shape, other: Shape, what: str) -> None:
    """Refuse `other` to replace or accompany `bundle` if its classes or image size differ; `what` names it.

    Raises:
        BundleError: with what is accepted and what came.
    """
    for part in ("classes", "input_size"):
        accepted, received = getattr(bundle, part), getattr(other, part)
        if accepted != received:
            raise BundleError(f"{what} must have the {part} of the bundle, {accepted}; got {received}")


def store_bundle(bundle: Bundle, settings: Settings) -> None:
    """Copy a trusted bundle to `stored_path`, unless a valid copy is there already; verify the copy.

    Raises:
        SignatureError: its signature was replaced meanwhile by one of another key.
    """
    place = stored_path(bundle.digest, settings)
    if bundle.path == place:
        return
    if place.exists():
        try:
            load_trusted(place, settings)
            return
        except ValueError as error:  # damaged, or signed by a key that is no longer trusted
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
    """The folder for the copy of the bundle with this digest, whether or not it exists."""
    return settings.state / "bundles" / digest.removeprefix("sha256:")


def stored_digests(settings: Settings) -> list[str]:
    """The digests of all stored copies."""
    return [f"sha256:{folder.name}" for folder in settings.state.glob("bundles/[!.]*")]


def delete_stored(digest: str, settings: Settings) -> None:
    """Delete the copy of the bundle with this digest."""
    shutil.rmtree(stored_path(digest, settings), ignore_errors=True)


def delete_drafts(settings: Settings) -> None:
    """Delete what a process left that was ended while it stored a bundle."""
    for draft in settings.state.glob("bundles/.*"):
        shutil.rmtree(draft, ignore_errors=True)


def write_files(bundle: Bundle, folder: Path) -> None:
    """Write the files of a bundle into an empty folder, including its signatures if it has any."""
    files = {**bundle.files, MANIFEST: bundle.manifest_bytes, **read_signatures(bundle.path)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
