"""What passes between the server and a decode worker, over a socket: a JSON header, and bytes that it announces."""

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct("!I")


def send(connection: socket.socket, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Send one frame. Raises OSError (TimeoutError after the socket's timeout)."""
    text = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}).encode()
    connection.sendall(_LENGTH.pack(len(text)) + text)
    for blob in blobs:
        connection.sendall(blob)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one frame. Raises EOFError if the other side is gone, and OSError (TimeoutError) as `send` does."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    header: dict[str, Any] = json.loads(_exactly(connection, length))
    return header, [_exactly(connection, size) for size in header.pop("sizes")]


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size:
        parts.append(connection.recv(size, socket.MSG_WAITALL))  # all at once, where the socket has no timeout
        if not parts[-1]:
            raise EOFError
        size -= len(parts[-1])
    return parts[0] if len(parts) == 1 else b"".join(parts)
