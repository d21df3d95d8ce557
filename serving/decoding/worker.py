"""A decode worker: `python -m f2at.serving.decoding.worker MEMORY`, with a socket to the server as its input.

One request at a time: files in, an array at the model's size out. It imports NumPy, Pillow and f2at.images, and holds
no secrets of the server. When it is over its deadline the kernel ends it, wherever it is in whose C code.
"""

import resource
import signal
import socket
import sys
from typing import Any

from PIL import Image

from f2at.images import decode
from f2at.images.preparation import Preparation
from f2at.serving.decoding import frames
from f2at.serving.decoding.cost import WEBP_BYTES, is_webp, webp_size


def main() -> None:
    """Serve requests until the server is gone; MEMORY is in MiB of data, 0 for no limit."""
    if memory := int(sys.argv[1]):
        resource.setrlimit(resource.RLIMIT_DATA, (memory << 20,) * 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    # The server alone ends it: signals to the whole group would fail what is being decoded.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Image.init()  # before the first request, so that it takes no longer than the next
    with socket.socket(fileno=0) as server:
        try:
            while True:
                request, files = frames.receive(server)
                signal.setitimer(signal.ITIMER_REAL, request["seconds"])  # SIGALRM ends the process
                _answer(server, request, files)
                signal.setitimer(signal.ITIMER_REAL, 0)
        except (EOFError, ConnectionError):
            pass


def _answer(server: socket.socket, request: dict[str, Any], files: list[bytes]) -> None:
    height, width = request["size"]
    preparation = Preparation((height, width), request["fit"], request["interpolation"])
    try:
        for data in files:
            _check_memory(data)
        images = decode.decode_images(
            files, preparation, max_pixels=request["max_pixels"], max_total=request["max_total"]
        )
    except decode.ImageError as error:
        received = {"accepted": error.accepted, "received": error.received}
        frames.send(server, {"error": type(error).__name__, "message": str(error), **received})
    except MemoryError:
        frames.send(server, {"error": "MemoryError"})
    else:
        frames.send(server, {"count": len(images)}, [images.tobytes()])


def _check_memory(data: bytes) -> None:
    """Raise MemoryError for a WebP that is too large for this process: libwebp would call it damaged."""
    if is_webp(data) and (size := webp_size(data)):
        bytearray(WEBP_BYTES * size[0] * size[1])  # reserved, and not touched


if __name__ == "__main__":
    main()
