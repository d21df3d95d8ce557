"""Signatures as Standard Webhooks 1.0 has them: HMAC-SHA256 over id, time and body, by every secret in use.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import stat
from collections.abc import Sequence
from pathlib import Path

_PREFIX = "whsec_"
_LENGTHS = range(24, 65)  # bytes


class SecretError(ValueError):
    """Secrets that cannot be used, with the reason in one line, which never has any of them."""


def read_secrets(path: Path) -> tuple[bytes, ...]:
    """The secrets in a file, one a line: whsec_ and the base64 of 24 to 64 bytes.

    While one takes the place of another, both are there, and both sign.

    Raises:
        SecretError: the file cannot be read, can be read by everybody, or has anything else in it.
    """
    try:
        open_to_all = path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP)
        lines = path.read_text("ascii").split()
    except OSError as error:
        raise SecretError(f"F2AT_WEBHOOK_SECRET: {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        lines = [""]
    if open_to_all:
        raise SecretError(f"F2AT_WEBHOOK_SECRET: {path} is open to others; run chmod 600 {path}")
    secrets = tuple(_secret(line) for line in lines)
    if not secrets or not all(len(secret) in _LENGTHS for secret in secrets):
        raise SecretError(
            f"F2AT_WEBHOOK_SECRET: {path} must have one secret a line, {_PREFIX} and the base64 of 24 to 64 bytes: "
            f"echo {_PREFIX}$(openssl rand -base64 32)"
        )
    return secrets


def signed(identifier: str, seconds: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers that prove who sent `body`.

    Args:
        identifier: of the message, the same whenever it is sent; without a full stop.
        seconds: since 1970, when it is sent.
        body: exactly as it is sent.
        secrets: each makes a signature.
    """
    content = f"{identifier}.{seconds}.".encode() + body
    digests = [hmac.digest(secret, content, "sha256") for secret in secrets]
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests),
    }


def _secret(text: str) -> bytes:
    """No bytes if `text` is none."""
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True) if text.startswith(_PREFIX) else b""
    except binascii.Error:
        return b""
