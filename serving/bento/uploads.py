"""The inputs of predictions, for BentoML to describe but not to read.

Works around BentoML's own form reader, which downloads URLs sent in place of files, guards that by an address check
that concurrent requests can race, and answers malformed forms with 500.
"""

from pathlib import Path
from typing import Any, Self

from bentoml import IODescriptor
from pydantic import Field
from starlette.requests import Request


class _Upload(IODescriptor):  # type: ignore[misc]  # untyped in BentoML
    """Passes the request itself to the endpoint as every field; `f2at.serving.api.uploads.read_files` reads it.

    Overriding the one method that reads keeps BentoML's OpenAPI page and Python client.
    """

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:  # noqa: ARG003
        upload: Self = cls.model_construct(**dict.fromkeys(cls.model_fields, request))
        return upload


class ImageUpload(_Upload):
    """One image file."""

    image: Path = Field(description="PNG, JPEG, WebP or BMP file; also accepted as the bare request body (image/*)")


class ImagesUpload(_Upload):
    """Several image files, one form field each."""

    images: list[Path] = Field(description="PNG, JPEG, WebP or BMP files")
