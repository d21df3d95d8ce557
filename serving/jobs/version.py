"""One version string for everything an audit depends on, so that no report mixes two models or versions of the code."""

import hashlib
from pathlib import Path

import numpy as np

from f2at.audit.provenance.harness import onnxruntime_version, shaping_code


def application_version(digest: str, surrogate: str | None = None) -> str:
    """Identifies everything that an audit depends on: the models, by digest, the attack code and the workflows.

    DBOS gives a workflow only to workers of the version it was submitted under, and recovers it only there. So a
    worker that serves another model, or runs other attack code, leaves the audit alone; it resumes when a worker of
    its own version runs again. A report therefore never mixes models or code.
    """
    workflows = hashlib.sha256(Path(__file__).with_name("workflows.py").read_bytes()).hexdigest()
    parts = (digest, surrogate, shaping_code(), workflows, np.__version__, onnxruntime_version())
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:16]
