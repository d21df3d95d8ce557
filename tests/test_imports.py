"""The architecture: which package imports which, read from the source. One way, without exceptions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]

# From the ground up. A package imports from the layers below its own, and from itself.
LAYERS = [
    {"images", "models"},
    {"bundle"},
    {"attacks"},
    {"gradient"},
    {"audit"},
    {"evidence"},
    {"training", "export"},
    {"serving"},
    {"benchmarks"},
]
PACKAGES = {package for layer in LAYERS for package in layer}
UNSHIPPED = {"benchmarks"}  # imported by its own name; the others are f2at.NAME

# What runs in production, where no PyTorch is installed: these modules, and all that they import.
TRAINING_ONLY = ["torch", "torchvision", "lightning_fabric", "safetensors", "sklearn", "onnxscript", "timm", "tomli_w"]
# These say by their name or their docstring that they are about PyTorch modules, and nothing above imports them.
ABOUT_TORCH = {"f2at.attacks.targets.torch_straight", "f2at.attacks.targets.torch_target", "f2at.audit.module"}


def modules(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path} imports relatively"
            yield node.module
            if node.module == "f2at":
                yield from (f"f2at.{alias.name}" for alias in node.names)


def package_of(module: str) -> str | None:
    """Which of our packages a module belongs to."""
    parts = module.split(".")
    if parts[0] == "f2at":
        return parts[1] if len(parts) > 1 and parts[1] in PACKAGES else None
    return parts[0] if parts[0] in UNSHIPPED else None


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_import_in_one_direction(package: str) -> None:
    height = next(number for number, layer in enumerate(LAYERS) if package in layer)
    allowed = {package}.union(*LAYERS[:height])
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path in modules(package)
        for module in imported(path)
        if package_of(module) not in {None, *allowed}
    ]
    assert not wrong


def test_no_file_imports_a_folder_by_its_bare_name() -> None:
    """`import models` would find the user's own."""
    files = [
        REPOSITORY / "demo.py",
        *(path for folder in (*PACKAGES, "tests", "deploy", "examples", "f2at") for path in modules(folder)),
    ]
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path in files
        for module in imported(path)
        if module.split(".")[0] in PACKAGES - UNSHIPPED
    ]
    assert not wrong


def test_the_links_are_the_packages_that_are_shipped() -> None:
    links = {path.name for path in (REPOSITORY / "f2at").iterdir() if path.is_symlink()}
    assert links == PACKAGES - UNSHIPPED
    assert all((REPOSITORY / package / "__init__.py").is_file() for package in PACKAGES)


@pytest.mark.slow
def test_production_code_runs_without_any_training_library() -> None:
    """Every module that is not about PyTorch, imported where PyTorch is missing."""
    names = [
        ".".join(["f2at", *path.relative_to(REPOSITORY).with_suffix("").parts]).removesuffix(".__init__")
        for package in ("images", "bundle", "attacks", "audit", "evidence", "serving")
        for path in modules(package)
    ]
    names += ["f2at.export.command", "f2at.export.foreign", "f2at.export.quantize"]  # for ONNX files from elsewhere
    names = [name for name in names if name not in ABOUT_TORCH and not name.endswith("__main__")]
    code = (
        f"import importlib, sys\n"
        f"for name in {TRAINING_ONLY}: sys.modules[name] = None\n"
        f"for name in {names}: importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["evidence.commands.shapes", "serving.service", "serving.jobs.worker"])
def test_nobody_waits_for_libraries_that_may_not_be_needed(module: str) -> None:
    slow = ["matplotlib", "ndonnx", "spox", "torch"]  # half a second each, or more
    code = f"import sys, f2at.{module}; print(*({set(slow)} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, timeout=120, capture_output=True)
    assert done.stdout.strip() == b""
