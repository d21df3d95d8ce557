"""Train a small classifier of handwritten digits, export it, and audit what was exported. A minute on two cores.

python examples/train_and_audit.py FOLDER
"""

import sys
from pathlib import Path

import f2at

RECIPE = {
    "data": {"name": "digits", "size": 8, "validation": 200, "crop_padding": 1, "flip": False},
    "model": {"name": "resnet18", "width": 8},
    "method": {"name": "f2at"},
    "attack": {"eps": "32/255", "step_size": "8/255", "steps": 5},
    "optimizer": {"epochs": 5, "lr": 0.05, "schedule": "one-cycle"},
}


def main(folder: Path) -> None:
    """Leave a run, a bundle and a report in `folder`."""
    run, bundle = folder / "run", folder / "bundle"
    trained = f2at.train(RECIPE, run)
    print(f"PyTorch, PGD on {trained['test']['images']} test images: {trained['test']['robust']:.1%} robust")

    f2at.export_checkpoint(run / "best.safetensors", run / "reference.npz", bundle)

    request = f2at.AuditRequest(suite="quick", eps="32/255", samples=100)
    report = f2at.audit_bundle(bundle, request)
    page = f2at.write_report(report, folder / "report.json")
    print(f"the exported file, {request.suite}: {report['robust']['k']} of {report['robust']['n']} robust; see {page}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
