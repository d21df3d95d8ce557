"""The small exported network of the tests of export, here too."""

from tests.export.conftest import bundle, exported, parts  # noqa: F401
