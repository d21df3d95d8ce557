"""Pairs of keys, as OpenSSL makes them."""

import subprocess
from pathlib import Path
from typing import NamedTuple

ED25519 = ("-algorithm", "ed25519")


class Keys(NamedTuple):
    """The files of a pair."""

    private: Path
    public: Path


def curve(name: str) -> tuple[str, ...]:
    """What makes OpenSSL use an elliptic curve."""
    return ("-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{name}")


def openssl(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    """Its command, with whatever it ends."""
    return subprocess.run(["openssl", *map(str, arguments)], capture_output=True, check=False)


def make_keys(folder: Path, name: str = "key", kind: tuple[str, ...] = ED25519) -> Keys:
    """A pair in a folder."""
    keys = Keys(folder / f"{name}.pem", folder / f"{name}.pub.pem")
    assert openssl("genpkey", *kind, "-out", keys.private).returncode == 0
    assert openssl("pkey", "-in", keys.private, "-pubout", "-out", keys.public).returncode == 0
    return keys
