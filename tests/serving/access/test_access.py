from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from f2at.serving.access.guard import Caller, Guard, is_loopback
from f2at.serving.access.keys import SCOPES, Key, add_key, revoke_key
from f2at.serving.access.scopes import ANY_KEY, METRICS, OPEN, ScopedMount, ScopedRoute, needed_scope
from f2at.serving.api.backend import Backend
from f2at.serving.api.routes import create_app
from f2at.serving.bento.routes import every_route
from f2at.serving.problems import Problem
from f2at.serving.settings import Settings

ROUTES = every_route(create_app(Backend()))
PEER = "203.0.113.7"


def connection(
    path: str,
    token: str | None = None,
    *,
    method: str = "GET",
    peer: str = PEER,
    host: str = "example.org",
    headers: Mapping[str, str] | None = None,
) -> HTTPConnection:
    fields = {"host": host, **(headers or {})}
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    return HTTPConnection(
        {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "server": ("127.0.0.1", 3000),
            "client": (peer, 1234),
            "query_string": b"",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items()],
        }
    )


def refused(guard: Guard, request: HTTPConnection) -> Problem:
    with pytest.raises(Problem) as refusal:
        guard.admit(request)
    return refusal.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def needed(method: str, path: str) -> str | None:
    return needed_scope(ROUTES, connection(path, method=method).scope)


def test_every_route_has_its_scope_and_what_is_unknown_is_not_open() -> None:
    wanted = {
        "/": OPEN,
        "/docs": OPEN,
        "/docs.json": OPEN,
        "/page": OPEN,
        "/static_content": OPEN,
        "/schema.json": OPEN,
        "/livez": OPEN,
        "/readyz": OPEN,
        "/healthz": OPEN,
        "/metrics": METRICS,
        "/model": "predict",
        "/predict": "predict",
        "/predict_batch": "predict",
        "/model/samples": "examples",
        "/estimate": "audit",
        "/leaderboard": "audit",
        "/compare": "audit",
        "/compare.html": "audit",
        "/v2": OPEN,
        "/v2/health/live": OPEN,
        "/v2/health/ready": OPEN,
    }
    for route in ROUTES:
        path = route.path.replace("{id}", "some-id")
        below = path + "/file.js" if isinstance(route, ScopedMount) else path
        below_model = path.startswith("/v2/models/")
        scope = "audit" if path.startswith("/audits") else "predict" if below_model else wanted[path]
        assert needed("GET", below) == scope, path
    for path in ("/predict", "/predict_batch"):
        assert needed("POST", path) == "predict"
    for method in ("POST", "PUT", "DELETE"):
        assert needed(method, "/model") == "admin"
    assert needed("HEAD", "/model") == "predict"
    for path in ("/model/", "//audits", "/AUDITS", "/page", "/pages/", "/livez/", "", "*", "/predict/", "/audits/a/b"):
        assert needed("GET", path) == ANY_KEY, path


def test_a_route_must_declare_a_scope() -> None:
    async def endpoint(_: Request) -> Response:
        return Response()

    app = Starlette(routes=[ScopedRoute("/one", endpoint, scope="audit"), Route("/two", endpoint)])
    with pytest.raises(TypeError, match=r"'/two'.* declares no scope"):
        every_route(app)


def test_a_key_opens_what_its_scopes_say(path: Path) -> None:
    token = add_key(path, "ci", ["predict", "audit"])
    guard = Guard(Settings(keys=path), ROUTES)
    expected = Caller("ci", frozenset({"predict", "audit"}), key=True)
    for call in (connection("/predict", token), connection("/audits", token), connection("/no-such", token)):
        assert guard.admit(call) == expected
    problem = refused(guard, connection("/model", token, method="POST"))
    assert problem.status == 403
    assert problem.body["accepted"] == "admin"
    assert problem.body["received"] == ["audit", "predict"]
    assert problem.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'


def test_no_key_and_a_wrong_one_are_refused_alike_wherever_they_come_from(path: Path) -> None:
    token = add_key(path, "ci", list(SCOPES))
    guard = Guard(Settings(keys=path), ROUTES)
    for target in ("/predict", "/audits", "/audits/x/report", "/model", "/no-such"):
        for peer, host in ((PEER, "example.org"), ("127.0.0.1", "localhost")):
            missing = refused(guard, connection(target, peer=peer, host=host))
            assert (missing.status, missing.headers["WWW-Authenticate"]) == (401, "Bearer")
            wrong = refused(guard, connection(target, token + "x", peer=peer, host=host))
            assert (wrong.status, wrong.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
            assert token not in str(wrong.body)
    for header in (token, f"Basic {token}", "Bearer", "Bearer ", f"Bearer {token} {token}", "Bearer \xff"):
        assert refused(guard, connection("/predict", headers={"authorization": header})).status == 401
    assert guard.admit(connection("/predict", headers={"authorization": f"bearer  {token} "})) is not None


def test_revocation_counts_from_the_next_request_on(path: Path) -> None:
    token = add_key(path, "ci", ["predict"])
    guard = Guard(Settings(keys=path), ROUTES)
    assert guard.admit(connection("/predict", token))
    revoke_key(path, "ci")
    assert refused(guard, connection("/predict", token)).status == 401


def test_keys_that_cannot_be_read_open_nothing(path: Path) -> None:
    token = add_key(path, "ci", ["predict"])
    guard = Guard(Settings(keys=path), ROUTES)
    path.write_text("{")
    problem = refused(guard, connection("/predict", token))
    assert problem.status == 503
    assert "Retry-After" in problem.headers
    assert guard.admit(connection("/livez")) is None


def test_without_keys_this_machine_may_do_everything_and_others_predict() -> None:
    guard = Guard(Settings(), ROUTES)
    for peer, host in (("127.0.0.1", "localhost:3000"), ("::1", "[::1]:3000"), ("127.0.0.1", "127.0.0.1")):
        caller = guard.admit(connection("/audits", peer=peer, host=host))
        assert caller is not None
        assert caller.scopes == SCOPES.keys()
    assert guard.admit(connection("/predict"))
    for peer, host in (
        (PEER, "localhost"),
        ("127.0.0.1", "evil.example"),  # a page whose name was pointed at 127.0.0.1
        ("127.0.0.1", "[::1"),
        ("::ffff:203.0.113.7", "localhost"),
    ):
        refusals = (("GET", "/audits"), ("GET", "/audits/x/report"), ("GET", "/model/samples"), ("POST", "/model"))
        for method, target in refusals:
            problem = refused(guard, connection(target, method=method, peer=peer, host=host))
            assert (problem.status, problem.body["title"]) == (403, "Loopback only")


@pytest.mark.parametrize(
    ("origin", "host", "taken"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1:3000", True),
        ("https://model.example", "model.example", True),  # behind a proxy that ends TLS
        ("http://model.example", "model.example:80", True),
        ("http://evil.example", "127.0.0.1:3000", False),
        ("http://127.0.0.1:8000", "127.0.0.1:3000", False),
        ("null", "127.0.0.1:3000", False),
        ("http://[", "127.0.0.1:3000", False),
        ("null", "", False),
        ("", "127.0.0.1:3000", False),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("POST", "/audits"), ("GET", "/model")])
def test_without_keys_the_page_of_another_site_may_ask_for_nothing(
    method: str, path: str, origin: str, host: str, taken: bool, tmp_path: Path
) -> None:
    request = connection(path, method=method, peer="127.0.0.1", host=host, headers={"origin": origin})
    guard = Guard(Settings(), ROUTES)
    if not taken:
        problem = refused(guard, request)
        assert (problem.status, problem.body["title"], problem.body["argument"]) == (403, "Foreign origin", "Origin")
    elif path != "/audits" or host.startswith("127"):
        assert guard.admit(request)
    token = add_key(tmp_path / "keys.json", "ci", ["predict", "audit"])  # which no other page has
    keyed = connection(path, token, method=method, host=host, headers={"origin": origin})
    assert Guard(Settings(keys=tmp_path / "keys.json"), ROUTES).admit(keyed)


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_without_keys_a_proxy_on_this_machine_does_not_make_its_callers_local(header: str) -> None:
    request = connection("/audits", peer="127.0.0.1", host="localhost", headers={header: "127.0.0.1"})
    problem = refused(Guard(Settings(), ROUTES), request)
    assert problem.status == 403
    assert "F2AT_PROXIES" in problem.body["received"]
    known = connection("/audits", peer="127.0.0.1", host="localhost", headers={header: "127.0.0.1"})
    known.scope["client"] = ("127.0.0.1", 0)  # as uvicorn leaves it for a proxy that is believed
    assert Guard(Settings(), ROUTES).admit(known)


def test_metrics_are_open_unless_told_otherwise(path: Path) -> None:
    token = add_key(path, "prometheus", ["predict"])
    assert Guard(Settings(keys=path), ROUTES).admit(connection("/metrics")) is None
    guarded = Guard(Settings(keys=path, metrics="key"), ROUTES)
    assert refused(guarded, connection("/metrics")).status == 401
    assert guarded.admit(connection("/metrics", token)) is not None
    assert Guard(Settings(metrics="key"), ROUTES).admit(connection("/metrics")) is None, "there is no key to ask for"


def test_each_key_has_its_rate_and_so_has_who_tries_keys(path: Path) -> None:
    tokens = [add_key(path, name, ["predict"]) for name in ("a", "b", PEER)]
    guard = Guard(Settings(keys=path, rate=1), ROUTES)
    for token in tokens:
        for _ in range(10):
            assert guard.admit(connection("/predict", token))
        problem = refused(guard, connection("/predict", token))
        assert problem.status == 429
        assert problem.headers["Retry-After"] == "1"
    statuses = [refused(guard, connection("/predict", "guess")).status for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    assert guard.admit(connection("/readyz")) is None
    assert refused(guard, connection("/predict", "guess", peer="203.0.113.8")).status == 401


def test_without_keys_the_rate_is_an_addresss_and_an_ipv6_networks() -> None:
    guard = Guard(Settings(rate=1), ROUTES)
    for number in range(10):
        assert guard.admit(connection("/predict", peer=f"2001:db8::{number}"))
    assert refused(guard, connection("/predict", peer="2001:db8::ffff")).status == 429
    assert guard.admit(connection("/predict", peer="2001:db8:0:1::1"))
    assert guard.admit(connection("/predict", peer="::ffff:203.0.113.1"))
    everyone = Guard(Settings(rate=0), ROUTES)
    for _ in range(1000):
        assert everyone.admit(connection("/predict"))


def test_the_key_of_the_environment() -> None:
    key, token = Key.create("box", ["audit"])
    guard = Guard(Settings(key_digest=key.to_text()), ROUTES)
    assert guard.admit(connection("/audits", token))
    assert refused(guard, connection("/audits", peer="127.0.0.1", host="localhost")).status == 401


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
        ("2130706433", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback(host: str | None, is_it: bool) -> None:
    assert is_loopback(host) is is_it
