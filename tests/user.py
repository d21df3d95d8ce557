"""What a test that acts as a user needs: an environment of nobody's settings and a recipe that trains in seconds."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

# The head of a recipe; what is put after it goes on with `[data]`.
TINY = """
[model]
name = "resnet18"
width = 4
[data]
name = "digits"
size = 8
validation = 200
crop_padding = 1
flip = false
"""


def environment(folder: Path) -> dict[str, str]:
    """The environment of a process that runs this checkout, with BentoML's files in `folder` and no F2AT_ setting."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("F2AT_") or key == "F2AT_CACHE"},
        "PYTHONPATH": str(REPOSITORY),
        "BENTOML_HOME": str(folder / "bentoml"),
    }
