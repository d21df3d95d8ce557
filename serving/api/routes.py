"""The routes other than prediction and the list of audits: the model's description, reports, and the web page."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from f2at.audit.page.html import Beside, render_report
from f2at.audit.reports.report import without_examples
from f2at.audit.suites import SUITES
from f2at.bundle.keys import PrivateKey, read_private_key, sign
from f2at.serving.access.guard import Caller, caller_of
from f2at.serving.access.scopes import METRICS, OPEN, ScopedMount, ScopedRoute
from f2at.serving.answers import Samples, linked
from f2at.serving.api import audits, inference
from f2at.serving.api.backend import Backend, deployed
from f2at.serving.api.changes import requested_change
from f2at.serving.api.json_body import read_json_object
from f2at.serving.api.openapi import document
from f2at.serving.jobs.database import UNAVAILABLE, DatabaseUnavailableError
from f2at.serving.jobs.metrics import AuditCollector
from f2at.serving.jobs.records import FINISHED, Filters
from f2at.serving.model.deployment import Deployment
from f2at.serving.model.swap import BusyError, SwapError
from f2at.serving.problems import Problem
from f2at.serving.process.metrics import expose
from f2at.serving.process.places import Places
from f2at.serving.settings import Settings

_LOG = logging.getLogger("bentoml.f2at")
_PAGE = Path(str(files("f2at.serving"))) / "page"
_POLL = 0.5  # seconds between polls of an audit that is being streamed
_LATEST = 20  # audits of a model, among which one is looked for that says much of it
_AT_ONCE = 1.0  # seconds that a model's description waits for the database
_KEEP_ALIVE = 15.0  # seconds of silence after which a comment shows that the stream is alive
# The page loads nothing from elsewhere.
# The page allows inline styles for reports: one that needs an API key is fetched and shown as a blob of the page's
# origin, under the page's policy.
_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'"
)


def create_app(backend: Backend) -> Starlette:
    """The Starlette application to mount beside BentoML's routes."""

    collector = AuditCollector(lambda: backend.deployment.audits)

    async def index(_: Request) -> Response:
        return FileResponse(_PAGE / "index.html", headers={"Content-Security-Policy": _PAGE_POLICY})

    async def docs_page(_: Request) -> Response:
        return FileResponse(_PAGE / "docs.html", headers={"Content-Security-Policy": _PAGE_POLICY})

    async def model(request: Request) -> Response:
        if request.method == "POST":
            return await swap(request)
        deployment = deployed(request)
        return JSONResponse({**_described(deployment), "last_audit": await _last_audit(deployment)})

    async def samples(request: Request) -> Response:
        deployment = deployed(request)
        found = Samples(samples=deployment.predictor.samples, model=deployment.digest)
        return JSONResponse(found.model_dump())

    async def swap(request: Request) -> Response:
        values = await read_json_object(request)
        change = requested_change(values, backend.switch, backend.settings.bundles)
        try:
            await run_in_threadpool(change)
        except BusyError as error:
            raise Problem(
                409,
                "swap-under-way",
                "Another swap is in progress.",
                argument="body",
                accepted="one swap at a time",
                received="a second one",
                headers={"Retry-After": "5"},
            ) from error
        except SwapError as error:
            detail = f"The model was refused, and {backend.deployment.digest} is still served: {error}."
            [(argument, received)] = values.items()
            accepted = "a model that can replace the current one"
            raise Problem(
                422,
                "model-refused",
                detail,
                argument=argument,
                accepted=accepted,
                received=received,
                model=backend.deployment.digest,
            ) from error
        request.state.deployment = backend.deployment  # so that this answer carries the new digest
        return JSONResponse(_described(backend.deployment))

    async def docs(request: Request) -> Response:
        deployment = deployed(request)
        served = {"model": deployment.digest, **inference.path_of(backend.settings, deployment)}
        return JSONResponse(document(backend.guard.routes, served))

    async def metrics(_: Request) -> Response:
        content = await run_in_threadpool(expose, collector)
        return Response(content, media_type=CONTENT_TYPE_LATEST)

    async def read_report(request: Request) -> dict[str, Any]:
        report = await run_in_threadpool(deployed(request).audits.report, request.path_params["id"])
        return report if "examples" in caller_of(request).scopes else without_examples(report)

    async def report(request: Request) -> Response:
        return JSONResponse(await read_report(request))

    def signing_key(received: str) -> PrivateKey:
        if backend.settings.signing_key is None:
            raise Problem(
                404,
                "not-signed",
                "This server does not sign reports: F2AT_SIGNING_KEY is not set.",
                argument="path",
                accepted="report or report.html",
                received=received,
            )
        return read_private_key(backend.settings.signing_key)  # every time: a replaced key takes effect at once

    async def report_signature(request: Request) -> Response:
        key = signing_key("report.sig")
        content = (await report(request)).body
        return Response(sign(bytes(content), key), media_type="application/octet-stream")

    async def report_statement(request: Request) -> Response:
        from f2at.evidence.in_toto import MEDIA_TYPE, sign_statement, statement  # which prediction need not wait for

        key = signing_key("report.intoto.json")
        found = await read_report(request)
        signed = sign_statement(statement(found, bytes(JSONResponse(found).body)), key)
        return Response(signed, media_type=MEDIA_TYPE)

    async def report_page(request: Request) -> Response:
        signed, trusted = backend.settings.signing_key is not None, backend.settings.public_key is not None
        beside = Beside(
            "report",
            "This server signs its reports: report.sig, beside it." if signed else "This server signs no reports.",
            "This server takes no bundle that its keys have not signed." if trusted else None,
        )
        html = await run_in_threadpool(render_report, await read_report(request), beside)
        return HTMLResponse(html, headers={"Content-Security-Policy": audits.REPORT_POLICY})

    async def events(request: Request) -> Response:
        identifier = request.path_params["id"]
        await run_in_threadpool(deployed(request).audits.get, identifier)  # 404 before the stream begins
        place = await run_in_threadpool(_place_for_stream, backend.settings, caller_of(request))
        return StreamingResponse(
            _stream(backend, deployed(request), identifier, place),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    routes = [
        ScopedRoute("/", index, scope=OPEN),
        ScopedRoute("/docs", docs_page, scope=OPEN),
        ScopedRoute("/docs.json", docs, scope=OPEN),
        ScopedMount("/page", StaticFiles(directory=_PAGE), scope=OPEN),
        ScopedRoute("/metrics", metrics, scope=METRICS),
        # One route per path, so that a 405 names every method in Allow.
        ScopedRoute("/model", model, methods=["GET", "POST"], scope="admin", read_scope="predict"),
        ScopedRoute("/model/samples", samples, scope="examples"),
        *audits.ROUTES,
        ScopedRoute("/audits/{id}/events", events, scope="audit"),
        ScopedRoute("/audits/{id}/report", report, scope="audit"),
        ScopedRoute("/audits/{id}/report.sig", report_signature, scope="audit"),
        ScopedRoute("/audits/{id}/report.intoto.json", report_statement, scope="audit"),
        ScopedRoute("/audits/{id}/report.html", report_page, scope="audit"),
        *inference.routes(lambda: backend.settings, lambda: backend.deployment.audits.health.lost),
    ]
    return Starlette(routes=routes, exception_handlers=dict.fromkeys(UNAVAILABLE, _no_database) | {Problem: _answer})


async def _answer(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()


async def _no_database(_: Request, error: Exception) -> Response:
    reason = str(error) if isinstance(error, DatabaseUnavailableError) else "too many requests are waiting for it"
    _LOG.error("The audit database is unavailable: %s", reason)
    return Problem(
        503,
        "database-unavailable",
        f"The audit database is unavailable: {reason}. Try again; with the same Idempotency-Key, an audit is not "
        "started twice.",
        headers={"Retry-After": "5"},
    ).response()


async def _last_audit(deployment: Deployment) -> dict[str, Any] | None:
    """What the newest audit of a model found, by a suite that claims strength if there is one among the latest.

    None where there is no audit, or the database does not say so at once.
    """
    asked = run_in_threadpool(deployment.audits.figures, _LATEST, 0, Filters(model=deployment.digest))
    with suppress(TimeoutError, *UNAVAILABLE):
        async with asyncio.timeout(_AT_ONCE):
            rows = await asked
            strong = (row for row in rows if row["suite"] in SUITES and SUITES[row["suite"]].strong)
            return next(strong, next(iter(rows), None))
    return None


def _described(deployment: Deployment) -> dict[str, Any]:
    record = deployment.record
    return {**deployment.predictor.describe(), "since": record.since, "previous": record.previous}


def _place_for_stream(settings: Settings, caller: Caller) -> Places:
    """A place for one more event stream of `caller`, counted over the processes of the server."""
    every, place = settings.state / "streams" / "all", Places()
    folders = {every: settings.max_streams}
    if caller.key:
        folders = {every.with_name(f"key-{caller.name}"): settings.max_streams_per_key} | folders
    if (full := place.take(folders)) is not None:
        whose = "" if full == every else f" of the key {caller.name!r}"
        raise Problem(503, "overloaded", f"Too many event streams{whose} are open.", headers={"Retry-After": "5"})
    return place


async def _stream(backend: Backend, deployment: Deployment, identifier: str, place: Places) -> AsyncIterator[str]:
    try:
        audit: dict[str, Any] | None = None
        sent, quiet = audit, 0.0
        yield "retry: 1000\n\n"
        # A swap also ends the stream, so that the previous model can be released; browsers reconnect by themselves.
        while not backend.stopping.is_set() and backend.deployment is deployment:
            with suppress(*UNAVAILABLE):  # while the database is unavailable, there is nothing to send
                audit = linked(await run_in_threadpool(deployment.audits.get, identifier))
            if audit != sent:
                sent, quiet = audit, 0.0
                yield f"event: audit\ndata: {json.dumps(audit)}\n\n"
            if audit and audit["state"] in FINISHED:
                return
            quiet += _POLL
            if quiet >= _KEEP_ALIVE:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(_POLL)
    finally:
        place.leave()
