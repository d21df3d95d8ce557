"""For the tests of a model: `from f2at.testing import assert_robust`, or the pytest fixture of that name."""

from f2at.evidence.assertion import assert_robust

__all__ = ["assert_robust"]
