import pytest

from f2at.serving.api.queries import read_planes
from f2at.serving.problems import Problem


def test_planes_of_a_query() -> None:
    assert read_planes(None) is None
    assert [read_planes(str(planes)) for planes in range(1, 9)] == list(range(1, 9))
    for text in ("", "0", "9", "12", "2.0", "\u0662", "-1"):
        with pytest.raises(Problem, match="1 to 8") as refused:
            read_planes(text)
        assert refused.value.status == 422
