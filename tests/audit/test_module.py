"""Audits of PyTorch modules, by the helper and by the documentation's example."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from f2at.audit import AuditRequest, run_audit
from f2at.audit.module import audit_module, module_digest
from f2at.audit.reports.report import deterministic_part
from tests.audit.grey import Grey, grey_audit, grey_images
from tests.readme import blocks

DISTANCES = [1 + i % 12 for i in range(24)]
NAMES = ["dark", "light"]


def test_the_helper_gives_the_report_of_the_long_way() -> None:
    images, labels = grey_images(DISTANCES)
    steps: list[Any] = []
    model = Grey().eval()
    short = audit_module(model, images, labels, AuditRequest(), classes=NAMES, progress=steps.append)
    audit = grey_audit(DISTANCES, suite="quick")
    assert steps == list(audit.steps)
    long = audit.report(run_audit(audit))
    assert short["model"].pop("digest") == module_digest(model)
    assert deterministic_part(short) == deterministic_part(long)
    assert short["robust"]["k"] == 8  # distances 9 to 12
    assert short["harness"]["environments"][0]["device"] == "cpu"
    assert short["harness"]["environments"][0]["torch"] == torch.__version__


def test_a_surrogate_lends_its_gradients() -> None:
    """The surrogate is the same model, so what moves it moves the target: all within eps fall."""
    images, labels = grey_images(DISTANCES)
    request = AuditRequest(suite="custom", attacks=[{"name": "transfer-pgd", "steps": 5}])
    report = audit_module(Grey().eval(), images, labels, request, classes=NAMES, surrogate=Grey().eval())
    assert report["surrogate"] == {"digest": module_digest(Grey())}
    assert (report["attacks"][0]["on"], report["attacks"][0]["robust"]["k"]) == ("surrogate", 8)


def test_a_module_in_training_mode_is_refused() -> None:
    images, labels = grey_images(DISTANCES)
    dropout = nn.Dropout()
    halfway = nn.Sequential(Grey(), dropout).eval()
    dropout.train()
    with pytest.raises(ValueError, match=r"model must be in eval mode; call its eval\(\) first"):
        audit_module(halfway, images, labels, AuditRequest(), classes=NAMES)
    with pytest.raises(ValueError, match="surrogate must be in eval mode"):
        audit_module(Grey().eval(), images, labels, AuditRequest(), classes=NAMES, surrogate=Grey())


def test_the_digest_follows_weights_buffers_and_nothing_else() -> None:
    norm = nn.BatchNorm2d(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), norm)
    digest = module_digest(model)
    assert module_digest(model.eval().to(memory_format=torch.channels_last)) == digest
    norm.momentum = 0.5
    assert module_digest(model) == digest
    assert norm.running_mean is not None
    norm.running_mean[0] += 1e-3
    assert module_digest(model) != digest
    assert module_digest(model.double()) != digest


def test_the_documentation_s_example_runs_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = grey_images(DISTANCES)
    (code,) = blocks("python", page="docs/audits.md", title="A PyTorch module of your own")
    scope: dict[str, Any] = {"model": Grey(), "images": images, "labels": labels, "names": NAMES}
    exec(code, scope)
    assert scope["report"]["clean"] == {**scope["report"]["clean"], "k": 24, "n": 24}
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.html"}
    assert np.isclose(scope["report"]["robust"]["value"], 8 / 24)
