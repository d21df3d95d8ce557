"""BentoML's model store: a Bento contains the bundle that was pinned last before it was built.

Works around images having no model store: the Bento's models are then in a folder of their own.
"""

import hashlib
import os
from pathlib import Path

import bentoml
from bentoml.exceptions import NotFound

from f2at.bundle.format import MANIFEST, Bundle, BundleError, load_bundle
from f2at.bundle.signatures import read_signatures
from f2at.serving.model.store import write_files

MODEL_NAME = "f2at"


def pin(path: Path) -> bentoml.Model:
    """Put the bundle in folder `path` into the model store as the latest `f2at` model, for the Bentos built next.

    Raises:
        BundleError: the folder does not contain a valid bundle.
    """
    bundle = load_bundle(path)
    try:
        latest = bentoml.models.get(f"{MODEL_NAME}:latest")
        if latest.info.metadata == _metadata(bundle):
            return latest
    except NotFound:
        pass
    with bentoml.models.create(MODEL_NAME, metadata=_metadata(bundle)) as model:
        write_files(bundle, Path(model.path))
    return model


def pinned_bundle(bento: "bentoml.Bento | None") -> Path:
    """The folder of the bundle in `bento`; without a Bento, of the bundle in this image, or of the latest pinned one.

    Raises:
        BundleError: there is none.
    """
    image = os.environ.get("BENTO_PATH")  # set in images, which have no model store
    if not bento and image and (carried := next(Path(image).glob(f"models/{MODEL_NAME}/*/{MANIFEST}"), None)):
        return carried.parent
    tags = [model.tag for model in bento.info.all_models if model.tag.name == MODEL_NAME] if bento else []
    try:
        return Path(bentoml.models.get(tags[0] if tags else f"{MODEL_NAME}:latest").path)
    except NotFound:
        raise BundleError(
            "no bundle to serve: set F2AT_BUNDLE to the folder of one, or pin one with `f2at pin FOLDER`"
        ) from None


def _metadata(bundle: Bundle) -> dict[str, str]:
    signatures = read_signatures(bundle.path)
    return {"digest": bundle.digest, **{name: hashlib.sha256(data).hexdigest() for name, data in signatures.items()}}
