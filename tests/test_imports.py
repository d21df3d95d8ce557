"""The direction of imports between the packages, read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = {"models", "attacks", "training", "export", "serving", "benchmarks"}

# What each package may import of the others. A dotted entry allows that module alone.
ALLOWED = {
    "models": set(),
    "attacks": set(),
    "training": {"models", "attacks"},
    "export": {"models", "attacks"},
    "serving": {"attacks", "export.bundle", "export.runtime", "export.signatures"},
}
# Where a package joins what it keeps apart otherwise: bundles, and audits of them.
JOINTS = {"attacks/opening.py": {"export.bundle", "export.runtime"}}

# What runs in production, where no PyTorch is installed.
TORCH_FREE = [
    *("attacks", "serving"),
    *(f"export/{name}.py" for name in ("__init__", "bundle", "runtime", "signatures", "sign")),
]
TRAINING_ONLY = {"torch", "torchvision", "lightning_fabric", "safetensors", "sklearn", "onnxscript", "tomli_w"}
TORCH_ALLOWED = {"attacks/torch_target.py", "attacks/audit/module.py"}  # for models that are not exported yet


def modules(*roots: str) -> Iterator[Path]:
    for root in roots:
        path = REPOSITORY / root
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_packages_import_in_one_direction(package: str) -> None:
    wrong = []
    for path in modules(package):
        name = str(path.relative_to(REPOSITORY))
        allowed = ALLOWED[package] | {package} | JOINTS.get(name, set())
        for module in imported(path):
            top = module.split(".")[0]
            if top in PACKAGES and not {top, ".".join(module.split(".")[:2])} & allowed:
                wrong.append(f"{name} imports {module}")
    assert not wrong


def test_production_code_names_no_training_library() -> None:
    wrong = [
        f"{path.relative_to(REPOSITORY)} imports {module}"
        for path in modules(*TORCH_FREE)
        if str(path.relative_to(REPOSITORY)) not in TORCH_ALLOWED
        for module in imported(path)
        if module.split(".")[0] in TRAINING_ONLY or module in ("attacks.torch_target", "attacks.audit.module")
    ]
    assert not wrong


def test_every_package_is_where_the_tree_says() -> None:
    assert all((REPOSITORY / package / "__init__.py").is_file() for package in ALLOWED)
