"""The one place that reads the files of a prediction request."""

from contextlib import aclosing

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from f2at.serving.problems import Problem


async def read_files(request: Request, field: str, *, most: int) -> list[bytes]:
    """The files of form field `field`, or the bare body of an image/* request: 1 to `most` of them.

    Raises:
        Problem: 400 a malformed form, or one with too many files; 415 another content type; 422 no file, or text in the
            place of a file.
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
        async with aclosing(request.stream()) as stream:
            parser = MultiPartParser(request.headers, stream, max_files=most, max_fields=most)
            parser.spool_max_size = 0  # never to disk: bodies are bounded, and /tmp may be full
            form = await parser.parse()
    except MultiPartException as error:
        raise Problem(
            400,
            "malformed-form",
            f"The form cannot be read: {error.message}",
            argument=field,
            accepted=f"multipart/form-data with 1 to {most} files",
            received=error.message,
        ) from error
    try:
        values = form.getlist(field)
        if not values or any(isinstance(value, str) for value in values):
            raise Problem(
                422,
                "file-required",
                f"The field {field!r} must contain a file. Text is not accepted, and URLs are never fetched.",
                argument=field,
                accepted="a file",
                received="text" if values else f"the fields {sorted({name[:40] for name in form})}",
            )
        return [await value.read() for value in values if not isinstance(value, str)]
    finally:
        await form.close()
