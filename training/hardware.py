"""Where a run runs: the devices and the precision that its configuration asks for, if this machine has them."""

import torch
from lightning_fabric import Fabric

from f2at.training.configuration.options import ConfigError, HardwareConfig


def open_fabric(hardware: HardwareConfig) -> Fabric:
    """Fabric with these devices and this precision, and no others in their place.

    Raises:
        ConfigError: a device that is not here, or a precision that would silently be another.
    """
    check_hardware(hardware)
    return Fabric(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        precision=hardware.precision,  # type: ignore[arg-type]  # one of Fabric's names, checked by HardwareConfig
    )


def check_hardware(hardware: HardwareConfig) -> None:
    """Refuse what this machine does not have.

    Raises:
        ConfigError: see `open_fabric`.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if hardware.accelerator == "cuda" and not found:
        raise ConfigError(
            "hardware.accelerator must be cpu or auto on this machine, where PyTorch finds no CUDA device; got 'cuda'"
        )
    on_cuda = found > 0 and hardware.accelerator != "cpu"
    if on_cuda and hardware.devices > found:
        raise ConfigError(f"hardware.devices must be at most {found}, the CUDA devices here; got {hardware.devices}")
    on_mps = hardware.accelerator == "auto" and torch.backends.mps.is_available()
    if hardware.precision == "16-mixed" and not (on_cuda or on_mps):
        raise ConfigError(
            "hardware.precision must be 32-true or bf16-mixed on a CPU, which has no 16-mixed; got '16-mixed'"
        )
