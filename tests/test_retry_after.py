from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from f2at.retry_after import retry_after


def date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def test_numbers_and_dates_are_seconds_from_now() -> None:
    assert retry_after("120") == 120
    assert retry_after(" 0 ") == 0
    assert retry_after(date(90)) == pytest.approx(90, abs=2)
    assert retry_after(date(-90)) == 0


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "\N{ARABIC-INDIC DIGIT FIVE}"])
def test_anything_else_is_none(text: str) -> None:
    assert retry_after(text) is None
