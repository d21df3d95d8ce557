"""What a prediction request may carry, and the one place that reads it."""

from pathlib import Path
from typing import Any, Self

from bentoml import IODescriptor
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from f2at.serving.problems import Problem


class _Upload(IODescriptor):  # type: ignore[misc]  # untyped in BentoML
    # BentoML's own reader downloads URLs given in place of files, and answers bad forms with 500. Overriding the one
    # method that reads keeps its OpenAPI page and Python client, and leaves the reading to `read_files`.
    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:  # noqa: ARG003
        upload: Self = cls.model_construct(**dict.fromkeys(cls.model_fields, request))
        return upload


class ImageUpload(_Upload):
    """One image file."""

    image: Path = Field(description="PNG, JPEG, WebP or BMP file; also taken as the bare request body (image/*)")


class ImagesUpload(_Upload):
    """Several image files, one form field each."""

    images: list[Path] = Field(description="PNG, JPEG, WebP or BMP files")


async def read_files(request: Request, field: str, *, most: int) -> list[bytes]:
    """The files of form field `field`, or the bare body of an image/* request: 1 to `most` of them.

    Raises:
        Problem: 400 a malformed form, 415 another content type, 422 no file, too many, or text where a file belongs.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/"):
        return [await request.body()]
    if kind != "multipart/form-data":
        raise Problem(
            415,
            "unsupported-media-type",
            f"Send the file as multipart/form-data in the field {field!r}, or as a bare image/* body.",
            argument="Content-Type",
            accepted=["multipart/form-data", "image/*"],
            received=kind or None,
        )
    try:
        async with request.form(max_files=most, max_fields=most) as form:
            values = form.getlist(field)
            if not values or any(isinstance(value, str) for value in values):
                raise Problem(
                    422,
                    "file-required",
                    f"The field {field!r} must hold a file. Text is not taken, and URLs are never fetched.",
                    argument=field,
                    accepted="a file",
                    received="text" if values else f"the fields {sorted({name[:40] for name in form})}",
                )
            return [await value.read() for value in values if not isinstance(value, str)]
    except (MultiPartException, HTTPException) as error:
        detail = error.message if isinstance(error, MultiPartException) else error.detail
        raise Problem(
            400,
            "malformed-form",
            f"The form cannot be read: {detail}",
            argument=field,
            accepted=f"multipart/form-data with 1 to {most} files",
            received=detail,
        ) from error
