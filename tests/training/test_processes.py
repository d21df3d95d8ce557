"""Several processes take the step that one would take on the whole batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from f2at.models import create_model, load_checkpoint

REPOSITORY = Path(__file__).parents[2]

# BatchNorm in train mode normalises each process's share by its own statistics, as data parallel training does: only
# without it (here it stays in eval mode) is the number of processes without effect.
SCRIPT = """
import sys
from pathlib import Path
from torch import nn
from f2at.training import loop
from f2at.training.configuration.files import load_config
from f2at.training.weights import initial

create_model = initial.create_model

def create_frozen(**architecture):
    model = create_model(**architecture)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module
    return model

if __name__ == "__main__":
    config, output, devices = sys.argv[1:]
    initial.create_model = create_frozen
    loop.train(load_config(Path(config), {"hardware.devices": devices}), Path(output), progress=False)
"""

CONFIG = """
seed = 3
[data]
name = "digits"
size = 8
validation = 1300
crop_padding = 1
flip = true
[model]
name = "resnet18"
width = 2
[method]
name = "sat"
[attack]
eps = "32/255"
step_size = "8/255"
steps = 2
start = "uniform"
validation_steps = 1
test_steps = 1
[optimizer]
epochs = 2
batch_size = 50
lr = 0.05
[hardware]
accelerator = "cpu"
"""


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Crops, mirrors and starts are the same draws, and gradients the mean over the whole batch."""
    script, config = tmp_path / "script.py", tmp_path / "config.toml"
    script.write_text(SCRIPT)
    config.write_text(CONFIG)
    weights = []
    for devices in ("1", "2"):
        output = tmp_path / devices
        command = [sys.executable, str(script), str(config), str(output), devices]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path,
            env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PATH": ""},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        weights.append(load_checkpoint(output / "last.safetensors")[0].state_dict())
    one, two = weights
    torch.manual_seed(3)
    beginning = create_model("resnet18", classes=10, width=2).state_dict()
    for name in (name for name in one if name.endswith(("weight", "bias"))):
        moved = float((one[name] - beginning[name]).norm())
        assert moved > 0, name
        assert float((two[name] - one[name]).norm()) <= 1e-3 * moved, name
