"""Metrics, request ids, logs and traces of a real server with two processes."""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from f2at.bundle.format import Bundle
from f2at.images.png import png

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

pytestmark = pytest.mark.slow

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboard.json"
Samples = dict[tuple[str, ...], float]


class Collector(ThreadingHTTPServer):
    """Accepts traces like OpenTelemetry's collector, and stores the spans."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        resources = ExportTraceServiceRequest.FromString(body).resource_spans
        self.server.spans += [span for item in resources for scope in item.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def observed(start_server: Callable[..., "Server"], collector: Collector) -> Iterator["Server"]:
    options = {
        "workers": 2,
        "tracing.exporter_type": "otlp",
        "tracing.sample_rate": 1.0,
        "tracing.otlp.protocol": "http",
        "tracing.otlp.endpoint": f"http://127.0.0.1:{collector.server_port}/v1/traces",
    }
    text = " ".join(f"services.f2at.{name}={value}" for name, value in options.items())
    server = start_server(F2AT_LOG_FORMAT="json", BENTOML_CONFIG_OPTIONS=text)
    yield server
    server.stop()


def scrape(server: "Server") -> Samples:
    """Every sample by its name and the values of its labels, in the order of the labels' names."""
    answer = server.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, *(s.labels[k] for k in sorted(s.labels))): s.value for family in families for s in family.samples}


def lines(server: "Server") -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.text().splitlines() if line.startswith("{")]


def test_all_processes_count_into_one_answer(observed: "Server", bundle: Bundle) -> None:
    images, _ = bundle.reference()
    before = scrape(observed).get(("f2at_requests_total", "POST", "/predict", "200"), 0)
    # One connection each: sooner or later both processes accept some.
    sent, processes = 0, set[int]()
    while len(processes) < 2 and sent < 1000:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: httpx.post(f"{observed.url}/predict", files={"image": png(images[0])}), range(40)))
        sent += 40
        processes = {line["process"] for line in lines(observed) if line.get("path") == "/predict"}
    assert len(processes) == 2
    for _ in range(8):  # whichever process answers
        samples = scrape_anew(observed)
        assert samples["f2at_requests_total", "POST", "/predict", "200"] == before + sent
        assert samples["f2at_request_duration_seconds_count", "/predict"] >= before + sent
        assert samples["f2at_predictions_pending",] == 0
        assert samples["f2at_model_info", bundle.digest] == 1


def scrape_anew(server: "Server") -> Samples:
    server.client.close()
    server.client = httpx.Client(base_url=server.url, timeout=30)
    return scrape(server)


def test_a_thousand_paths_are_one_series(observed: "Server") -> None:
    observed.client.get("/nothing")
    observed.client.get("/audits/none")
    observed.client.request("BREW", "/model")
    scrape(observed)  # which is also counted
    before = set(scrape(observed))
    for number in range(334):
        observed.client.get(f"/nothing/{number}")
        observed.client.get(f"/audits/{number}")
        observed.client.request(f"BREW{number}", "/model")
    assert set(scrape(observed)) == before


def test_a_request_is_named_in_its_answer_and_in_the_log(observed: "Server") -> None:
    named = observed.client.get("/audits/none", headers={"X-Request-ID": "trail-7"})
    assert named.headers["x-request-id"] == named.json()["request_id"] == "trail-7"
    (line,) = [line for line in lines(observed) if line.get("request_id") == "trail-7"]
    assert {key: line[key] for key in ("method", "path", "route", "status", "client")} == {
        "method": "GET", "path": "/audits/none", "route": "/audits/{id}", "status": 404, "client": "127.0.0.1",
    }  # fmt: skip
    forged = observed.client.get("/nothing", headers={"X-Request-ID": 'x", "status": 200'})
    assert re.fullmatch("[0-9a-f]{32}", forged.json()["request_id"])
    assert observed.client.post("/predict", content=b"x").json()["request_id"]  # one of BentoML's own routes


def test_a_trace_goes_on_in_the_service_and_its_log(observed: "Server", collector: Collector) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    observed.client.get("/model", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Request-ID": "traced"})
    (line,) = [line for line in lines(observed) if line.get("request_id") == "traced"]
    assert line["trace_id"] == trace
    wait_for(lambda: [span for span in collector.spans if span.trace_id.hex() == trace])
    assert "GET /model" in {span.name for span in collector.spans if span.trace_id.hex() == trace}


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_every_line_of_the_service_is_an_object(observed: "Server") -> None:
    """What BentoML writes before it loads the service is not."""
    for text in observed.text().splitlines():
        assert text.startswith("{") or re.search(r"\[cli\]|Applying user config", text)
    assert {"bentoml.f2at", "bentoml.f2at.access", "f2at.worker"} <= {line["logger"] for line in lines(observed)}


def test_the_dashboard_asks_for_what_there_is(observed: "Server", bundle: Bundle) -> None:
    report = observed.finish(observed.submit(eps="1/255", samples=4)["id"])
    samples = scrape_after_audit(observed)
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"\bf2at_\w+", target["expr"])
    }
    there = {name for name, *_ in samples}
    assert asked <= there
    labels = ("1/255", bundle.digest, "linf", "quick")
    assert samples["f2at_audit_robust_accuracy", *labels] == report["robust"]["value"]
    assert samples["f2at_audits", "done"] == 1


def scrape_after_audit(server: "Server") -> Samples:
    """What is read from the database may be some seconds old."""
    wait_for(lambda: scrape(server)["f2at_audits", "done"])
    return scrape(server)
