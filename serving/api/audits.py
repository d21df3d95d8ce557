"""Audits over HTTP: start, list, look at, stop and remove them, and what they found side by side."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from f2at.audit.page.comparison import render_comparison
from f2at.audit.reports.compare import compare_reports
from f2at.audit.suites import CUSTOM, SUITES
from f2at.serving.access.guard import caller_of
from f2at.serving.access.scopes import ScopedRoute
from f2at.serving.answers import audit_path, linked
from f2at.serving.api.backend import deployed
from f2at.serving.api.json_body import read_json_object
from f2at.serving.api.queries import read_choice, read_choices, read_digest, read_integer, read_seconds
from f2at.serving.jobs.records import STATES, Filters
from f2at.serving.problems import Problem, invalid

# A page that contains its own styles and pictures, and loads nothing.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
_SUITES = (*SUITES, CUSTOM)


async def audits(request: Request) -> Response:
    """Start an audit, or list them."""
    return await (_submit(request) if request.method == "POST" else _list(request))


async def _submit(request: Request) -> Response:
    values = await read_json_object(request)
    caller = caller_of(request)
    audit, new = await run_in_threadpool(
        deployed(request).audits.submit,
        values,
        request.headers.get("idempotency-key"),
        caller.name if caller.key else None,
    )
    return JSONResponse(linked(audit), status_code=202 if new else 200, headers={"Location": audit_path(audit)})


async def estimate(request: Request) -> Response:
    """What an audit would take; its own route, since a server that knows none must not start the audit instead."""
    values = await read_json_object(request)
    deployment = deployed(request)
    found = await run_in_threadpool(deployment.audits.estimate, values)
    return JSONResponse({**found, "model": deployment.digest})


async def _list(request: Request) -> Response:
    deployment, limit, offset, filters = deployed(request), *_page(request)
    # One more, to see whether there is a next page.
    found = await run_in_threadpool(deployment.audits.list, limit + 1, offset, filters)
    links = _links("/audits", request, limit, offset, len(found))
    body = {"audits": [linked(audit) for audit in found[:limit]], "model": deployment.digest, "links": links}
    return JSONResponse(body)


def _links(path: str, request: Request, limit: int, offset: int, found: int) -> dict[str, str]:
    """The next page of the list at `path`, if more than a page was found."""
    if found <= limit:
        return {}
    kept = [(k, v) for k, v in request.query_params.multi_items() if k not in ("limit", "offset")]
    query = urlencode([*kept, ("limit", limit), ("offset", offset + limit)], safe=",:")
    return {"next": f"{path}?{query}"}


async def audit(request: Request) -> Response:
    """Look at an audit; DELETE stops it, and with `?purge=true` removes one that has ended."""
    records, identifier = deployed(request).audits, request.path_params["id"]
    purge = request.query_params.get("purge", "false") if request.method == "DELETE" else "false"
    if read_choice(purge, "purge", ("true", "false")) == "true":
        caller = caller_of(request)
        owner = None if "admin" in caller.scopes else caller.name
        await run_in_threadpool(records.remove, identifier, owner)
        return Response(status_code=204)
    act = records.cancel if request.method == "DELETE" else records.get
    return JSONResponse(linked(await run_in_threadpool(act, identifier)))


async def leaderboard(request: Request) -> Response:
    """What the audits that are done found, the newest first."""
    deployment, limit, offset, filters = deployed(request), *_page(request)
    if filters.states:
        raise invalid("state", "left out: all of these audits are done", ",".join(filters.states))
    rows = await run_in_threadpool(deployment.audits.figures, limit + 1, offset, filters)
    links = _links("/leaderboard", request, limit, offset, len(rows))
    return JSONResponse({"rows": rows[:limit], "model": deployment.digest, "links": links})


async def compare(request: Request) -> Response:
    """Two audits that are done, side by side, as `f2at compare` has them."""
    return JSONResponse(await run_in_threadpool(_compared, request))


async def compare_page(request: Request) -> Response:
    """The same as a page."""
    html = await run_in_threadpool(lambda: render_comparison(_compared(request)))
    return HTMLResponse(html, headers={"Content-Security-Policy": REPORT_POLICY})


def _compared(request: Request) -> dict[str, Any]:
    records = deployed(request).audits
    reports = []
    for name in ("baseline", "candidate"):
        identifier = request.query_params.get(name)
        if identifier is None:
            raise invalid(name, "the id of an audit that is done", "none", shown="none")
        try:
            reports.append(records.report(identifier))
        except Problem as problem:
            raise problem.about(name) from None
    try:
        return compare_reports(*reports)
    except ValueError as error:
        raise Problem(
            422,
            "invalid-argument",
            f"{error}.",
            argument="candidate",
            accepted="an audit in the same ball",
            received=request.query_params["candidate"],
        ) from error


def _page(request: Request) -> tuple[int, int, Filters]:
    """The part of a list that the query asks for."""
    query = request.query_params
    limit = read_integer(query.get("limit", "50"), "limit", range(1, 201))
    offset = read_integer(query.get("offset", "0"), "offset", range(10**9))

    def given(name: str, read: Callable[[str, str], Any]) -> Any:
        values = query.getlist(name)  # several states may be given one by one
        return read(",".join(values), name) if values else None

    filters = Filters(
        states=given("state", lambda text, name: read_choices(text, name, STATES)) or (),
        suite=given("suite", lambda text, name: read_choice(text, name, _SUITES)),
        model=given("model", read_digest),
        since=given("since", read_seconds),
    )
    return limit, offset, filters


ROUTES = (
    # One route per path, so that a 405 names every method in Allow.
    ScopedRoute("/audits", audits, methods=["GET", "POST"], scope="audit"),
    ScopedRoute("/audits/{id}", audit, methods=["GET", "DELETE"], scope="audit"),
    # Not below /audits, where it would be the path of an audit of that name.
    ScopedRoute("/estimate", estimate, methods=["POST"], scope="audit"),
    ScopedRoute("/leaderboard", leaderboard, scope="audit"),
    ScopedRoute("/compare", compare, scope="audit"),
    ScopedRoute("/compare.html", compare_page, scope="audit"),
)
