"""Where files were on the machine that trained a model, which is nobody's business: a name is kept of each."""

import re
from collections.abc import Mapping
from typing import Any

# Fields of a training's recipe that say where something is.
PLACES = (("data", "root"), ("model", "weights"), ("method", "critic"))


def without_places(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest whose recipe names folders and files without saying where they were."""
    recipe = manifest.get("recipe")
    if not isinstance(recipe, Mapping):
        return dict(manifest)
    named = dict(recipe)
    for section, key in PLACES:
        fields = named.get(section)
        if isinstance(fields, Mapping) and isinstance(fields.get(key), str):
            named[section] = {**fields, key: re.split(r"[/\\]", fields[key].rstrip("/\\"))[-1]}
    return {**manifest, "recipe": named}
