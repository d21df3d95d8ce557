"""Reports written to a folder or an object store besides, where they outlive the database."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from f2at.files import is_url, replacing


def write(place: str, identifier: str, report: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all, as `PLACE/IDENTIFIER.json`.

    Args:
        place: an absolute path of a folder, which is made, or a URL as fsspec takes it.
        identifier: of the audit.
        report: JSON values.

    Raises:
        Exception: what the file system or the store raises; each has errors of its own.
    """
    content = json.dumps(report, indent=1).encode("ascii")
    if is_url(place):
        from fsspec.core import url_to_fs

        system, root = url_to_fs(place)
        system.pipe_file(f"{root}/{identifier}.json", content)
        return
    folder = Path(place)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / f"{identifier}.json") as draft:
        draft.write_bytes(content)
