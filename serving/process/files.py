"""Files that several processes share: locks, and files that are replaced whole."""

import fcntl
import os
import secrets
from pathlib import Path


def acquire_lock(path: Path) -> int | None:
    """Acquire a lock on the file `path`; return its file descriptor, or None while another process holds it.

    The kernel releases the lock when the last process that holds the descriptor exits, even if it is killed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # the file was deleted between opening and locking it


def replace_file(path: Path, text: str) -> None:
    """Write `text` to `path` atomically: readers see the old text or the new; only the owner may read it."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.touch(mode=0o600, exist_ok=False)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
