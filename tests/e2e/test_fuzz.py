from pathlib import Path

import pytest

from benchmarks.fuzz.__main__ import run
from f2at.bundle.format import Bundle

pytestmark = pytest.mark.slow


def test_no_request_breaks_the_service_or_surprises_its_description(bundle: Bundle, tmp_path: Path) -> None:
    outcome = run(bundle.path, tmp_path, requests=600, seed=1, environment={"OMP_NUM_THREADS": "1"})
    images = outcome.answers["images"]
    assert images[200] > 20  # some are whole
    assert {413, 415, 422} <= set(images)
    assert 202 in outcome.answers["POST /audits"]
    assert 200 in outcome.answers["GET /audits/{id}/report"]
    assert {200, 404} <= set(outcome.answers["GET /v2/models/{name}"])
    assert 400 in outcome.answers["POST /v2/models/{name}/infer"]
