"""Where bundles come from: BentoML's model store, so that a Bento carries the model it was built with, and folders.

What a server serves it first copies below F2AT_STATE, under its digest: the folder that it came from may change at any
time, and every process of the server, now and after a restart, must load the same.
"""

import os
import secrets
import shutil
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound

from f2at.bundle.format import MANIFEST, SIGNATURE, Bundle, BundleError, load_bundle
from f2at.bundle.signatures import read_public_keys, verify_bundle
from f2at.serving.settings import Settings

MODEL_NAME = "f2at"


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


def pin(path: Path) -> bentoml.Model:
    """Put the bundle in folder `path` into the model store as the latest `f2at` model; Bentos built next carry it.

    Raises:
        BundleError: the folder holds no valid bundle.
    """
    bundle = load_bundle(path)
    try:
        latest = bentoml.models.get(f"{MODEL_NAME}:latest")
        if latest.info.metadata == _metadata(bundle):
            return latest
    except NotFound:
        pass
    with bentoml.models.create(MODEL_NAME, metadata=_metadata(bundle)) as model:
        _write(bundle, Path(model.path))
    return model


def pinned_bundle(bento: "bentoml.Bento | None") -> Path:
    """The folder of the bundle that `bento` carries; without one, that of the image we are in, or the latest pinned.

    Raises:
        BundleError: there is none.
    """
    image = os.environ.get("BENTO_PATH")  # set in images, where the Bento's models are in no store
    if not bento and image and (carried := next(Path(image).glob(f"models/{MODEL_NAME}/*/{MANIFEST}"), None)):
        return carried.parent
    tags = [model.tag for model in bento.info.all_models if model.tag.name == MODEL_NAME] if bento else []
    try:
        return Path(bentoml.models.get(tags[0] if tags else f"{MODEL_NAME}:latest").path)
    except NotFound:
        raise BundleError(
            "no bundle to serve: set F2AT_BUNDLE to the folder of one, or pin one with `f2at pin FOLDER`"
        ) from None


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


def keep(bundle: Bundle, settings: Settings) -> Bundle:
    """Copy a trusted bundle to where `kept` finds it; return the copy.

    Raises:
        SignatureError: its signature was replaced meanwhile, by one of another key.
    """
    place = kept(bundle.digest, settings)
    try:
        return load_trusted(place, settings)
    except ValueError:  # not there yet, damaged, or signed by a key of old
        draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        draft.mkdir(mode=0o700, parents=True)
        try:
            _write(bundle, draft)
            load_trusted(draft, settings)
            shutil.rmtree(place, ignore_errors=True)
            draft.replace(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return load_trusted(place, settings)


def kept(digest: str, settings: Settings) -> Path:
    """The folder of the kept bundle with this digest, whether or not it is there."""
    return settings.state / "bundles" / digest.removeprefix("sha256:")


def every_kept(settings: Settings) -> list[str]:
    """The digests of the bundles that are kept."""
    return [f"sha256:{folder.name}" for folder in settings.state.glob("bundles/[!.]*")]


def discard(digest: str, settings: Settings) -> None:
    """Keep that bundle no longer."""
    shutil.rmtree(kept(digest, settings), ignore_errors=True)


def _write(bundle: Bundle, folder: Path) -> None:
    for name, data in bundle.files.items():
        (folder / name).write_bytes(data)
    (folder / MANIFEST).write_bytes(bundle.manifest_bytes)
    if signature := _signature(bundle):
        (folder / SIGNATURE).write_bytes(signature)


def _metadata(bundle: Bundle) -> dict[str, str]:
    return {"digest": bundle.digest, "signature": _signature(bundle).hex()}


def _signature(bundle: Bundle) -> bytes:
    file = bundle.path / SIGNATURE
    return file.read_bytes() if file.is_file() else b""
