"""Models of timm as bundles: their gradient graph is derived from the graph of their logits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from f2at.audit.opening.bundle import audit_bundle
from f2at.audit.request import AuditRequest
from f2at.export.build import export_checkpoint
from f2at.models import CheckpointInfo, create_model, save_checkpoint


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", pytest.param("resnet10t", marks=pytest.mark.slow)])
def test_a_bundle_of_it_is_proven_and_audited(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    architecture = {"name": f"timm/{name}", "classes": 3, "size": 32, "mean": [0.5] * 3, "std": [0.25] * 3}
    model = create_model(**architecture)  # type: ignore[arg-type]
    nn.init.normal_(model.head.weight, 0, 0.5)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        for _ in range(20):
            model(pixels)  # statistics of the batch normalisation, in train mode
        labels = model.eval()(pixels).argmax(1).numpy()
    info = CheckpointInfo(architecture=architecture, classes=("a", "b", "c"), input_size=(32, 32), dataset="noise")
    save_checkpoint(tmp_path / "best.safetensors", model, info)
    np.savez(tmp_path / "reference.npz", images=images, labels=labels)
    bundle = export_checkpoint(tmp_path / "best.safetensors", tmp_path / "reference.npz", tmp_path / "bundle")
    parity = bundle.manifest["parity"]
    assert parity["logits"]["error"] < 1e-4
    assert max(entry["error"] for entry in parity["gradient"].values()) < 1e-4
    report = audit_bundle(bundle.path, AuditRequest(suite="quick", eps="8/255", samples=8))
    assert report["clean"]["k"] == 8  # the labels are the model's own
    assert report["robust"]["k"] < 8
