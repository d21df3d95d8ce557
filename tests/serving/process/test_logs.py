import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f2at.serving.process import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What a logger of its own writes; the handlers of the test run get their formatters back."""
    text, logger = io.StringIO(), logging.getLogger("test_logs")
    own = logging.StreamHandler(text)
    logger.addHandler(own)
    logger.propagate = False
    loggers = [logging.root, *(logging.getLogger(name) for name in logging.root.manager.loggerDict)]
    formatters = {handler: handler.formatter for logger in loggers for handler in logger.handlers}
    token = logs.request_id.set("r-1")
    yield text
    logs.request_id.reset(token)
    for handler, formatter in formatters.items():
        handler.setFormatter(formatter)
    logger.removeHandler(own)


def test_a_json_line_has_what_a_search_needs(stream: io.StringIO) -> None:
    logs.configure("json")
    logging.getLogger("test_logs").warning("%d of %s", 3, "a\nb", extra={"fields": {"status": 200}})
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("time").endswith("+00:00")
    assert entry.pop("process") > 0
    assert entry == {
        "level": "warning", "logger": "test_logs", "message": "3 of a\nb", "status": 200, "request_id": "r-1",
    }  # fmt: skip


def test_an_exception_stays_on_its_line(stream: io.StringIO) -> None:
    logs.configure("json")
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("test_logs").exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert "KeyError: 'lost'" in json.loads(line)["exception"]


def test_a_line_of_text_ends_with_the_request(stream: io.StringIO) -> None:
    logs.configure("text")
    logging.getLogger("test_logs").warning("slow")
    assert stream.getvalue().endswith("[WARNING] slow (request=r-1)\n")


@given(st.text())
def test_no_id_forges_a_log_line(given: str) -> None:
    accepted = logs.accept_request_id(given)
    assert accepted.isascii()
    assert accepted.isprintable()
    assert 1 <= len(accepted) <= 128
    assert not set(accepted) & set(' "\\(),')
    assert sys.intern(accepted) == given or len(accepted) == 32


def test_a_callers_id_is_kept_and_others_are_made_up() -> None:
    assert logs.accept_request_id("01J8.a_b:c-d") == "01J8.a_b:c-d"
    assert logs.accept_request_id(None) != logs.accept_request_id(None)
