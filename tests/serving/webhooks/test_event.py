import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat

from f2at.audit.reports.files import read_report
from f2at.serving.api.backend import Backend
from f2at.serving.api.openapi import document
from f2at.serving.api.routes import create_app
from f2at.serving.bento.routes import every_route
from f2at.serving.webhooks.event import CONTENT_TYPE, event, identify

ZOO = Path(__file__).parents[3] / "zoo" / "cifar10-small"
AUDIT: dict[str, Any] = {
    "id": "ci:nightly.1",
    "state": "done",
    "model": "sha256:one",
    "by": "ci",
    "request": {"suite": "quick"},
    "created": 1796045699.0,
    "started": 1796045706.0,
    "finished": 1796045710.25,
    "progress": None,
}
FIGURES = {"clean": {"value": 0.9}, "robust": {"value": 0.5}, "verdict": {"threshold": 0.4, "outcome": "pass"}}
REPORT = {**FIGURES, "samples": [1, 2, 3]}


def test_an_audit_that_is_done_says_what_it_found() -> None:
    news = event(AUDIT, REPORT, "https://models.example")
    read = from_structured_event(HTTPMessage({"content-type": CONTENT_TYPE}, json.dumps(news).encode()), JSONFormat())
    assert read.get_specversion() == "1.0"
    assert read.get_type() == "f2at.audit.completed"
    assert read.get_source() == "https://models.example"
    assert read.get_subject() == "ci:nightly.1"
    assert read.get_datacontenttype() == "application/json"
    time = read.get_time()
    assert time is not None
    assert time.timestamp() == AUDIT["finished"]
    path = "/audits/ci:nightly.1"
    links = {name: f"{path}/{name}" for name in ("events", "report")}
    assert read.get_data() == AUDIT | FIGURES | {"links": {"self": path, **links, "report_html": f"{path}/report.html"}}


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_it_is_as_the_api_describes_it(state: str) -> None:
    content = document(every_route(create_app(Backend())))
    described = content["webhooks"]["auditEnded"]["post"]["requestBody"]["content"][CONTENT_TYPE]["schema"]
    validator = jsonschema.Draft202012Validator({**described, "components": content["components"]})
    news = event({**AUDIT, "state": state}, read_report(ZOO / "audit.json") if state == "done" else None, "/audits")
    validator.validate(news)
    assert not validator.is_valid({**news, "type": "f2at.audit.ended"})
    assert not validator.is_valid({**news, "data": {**news["data"], "clean": 1}})


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_one_that_is_not_has_no_figures(state: str) -> None:
    news = event({**AUDIT, "state": state, "error": "on fire"}, None, "/audits")
    assert news["type"] == f"f2at.audit.{state}"
    assert news["data"]["error"] == "on fire"
    assert not {"clean", "robust", "verdict"} & news["data"].keys()
    assert "report" not in news["data"]["links"]


def test_every_audit_has_an_id_of_its_own_without_a_full_stop() -> None:
    """Also one that has the id of one that was deleted."""
    ids = [identify("nightly.1", 1.0), identify("nightly.1", 2.0), identify("nightly.2", 1.0)]
    assert len(set(ids)) == 3
    assert not any("." in identifier for identifier in ids)
    assert identify("nightly.1", 1.0) == ids[0]
