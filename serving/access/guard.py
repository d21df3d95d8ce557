"""Who may call what: one check in front of every route. A route that is not open needs a key.

Where no keys are configured, this machine has every scope, and anyone may predict.
"""

import ipaddress
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from f2at.serving.access.keys import SCOPES, Key, Keyring, KeysError
from f2at.serving.access.rates import RateLimit
from f2at.serving.access.scopes import ANY_KEY, METRICS, OPEN, Scoped, needed_scope
from f2at.serving.problems import Problem
from f2at.serving.settings import Settings

_BURST = 10  # seconds' worth of requests allowed at once
_WITHOUT_KEYS = frozenset({"predict"})  # what other machines may do when no keys are configured


@dataclass(frozen=True)
class Caller:
    """Who sent a request: a name for logs and rate limits, and its scopes."""

    name: str
    scopes: frozenset[str]
    key: bool = False  # whether it was identified by a key

    @property
    def client(self) -> str:
        """Whom limits count for; the first word keeps a key that is named like an address apart from that address."""
        return f"{'key' if self.key else 'peer'} {self.name}"


def caller_of(request: Request) -> Caller:
    """Who sent this request; set only on routes that need a scope."""
    caller: Caller = request.state.caller
    return caller


class Guard:
    """Admits or refuses requests as the settings say: by key and scope or by address, and by rate.

    Args:
        settings: the API keys and the rate limit.
        routes: each declares the scope it needs.

    Raises:
        KeysError: the keys cannot be used.
    """

    def __init__(self, settings: Settings, routes: Sequence[Scoped]) -> None:
        self.routes = routes
        self.keys = Keyring(settings.keys, Key.from_text(settings.key_digest) if settings.key_digest else None)
        self._limit = RateLimit(settings.rate, _BURST * settings.rate) if settings.rate else None
        self._open_metrics = settings.metrics == "open" or not self.keys.configured

    def admit(self, connection: HTTPConnection) -> Caller | None:
        """Return the caller, or None on routes that are open to anyone.

        Raises:
            Problem: 401 no or an unknown key, 403 a key that lacks the scope, or without keys another machine, or the
                page of another site, 429 too many requests, 503 unusable keys.
        """
        needed = needed_scope(self.routes, connection.scope)
        if needed == METRICS:
            needed = OPEN if self._open_metrics else ANY_KEY
        if needed is OPEN:
            return None
        peer = Caller(_peer(connection), frozenset())
        if not self.keys.configured:
            self._check_rate(peer)
            _check_origin(connection)
            return _by_address(connection, peer, needed)
        try:
            caller = self._by_key(connection)
        except Problem:
            self._check_rate(peer)  # guessing keys is rate-limited as well
            raise
        self._check_rate(caller)
        if needed and needed not in caller.scopes:
            raise Problem(
                403,
                "scope-required",
                f"The key {caller.name!r} lacks the scope {needed!r} ({SCOPES[needed]}).",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
                argument="Authorization",
                accepted=needed,
                received=sorted(caller.scopes),
            )
        return caller

    def _by_key(self, connection: HTTPConnection) -> Caller:
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        given = scheme.lower() == "bearer" and token.strip() != ""
        try:
            key = self.keys.find(token.strip()) if given else None
        except KeysError as error:
            raise Problem(
                503,
                "keys-unusable",
                "The server cannot read its API keys at the moment; its log says why.",
                headers={"Retry-After": "10"},
            ) from error
        if key is None:
            detail = "This key is unknown or was revoked." if given else "This server requires an API key."
            raise Problem(
                401,
                "key-required",
                detail,
                headers={"WWW-Authenticate": "Bearer" + (' error="invalid_token"' if given else "")},
                argument="Authorization",
                accepted="Authorization: Bearer KEY",
                received="an unknown key" if given else "no key",  # never the key itself
            )
        return Caller(key.name, frozenset(key.scopes), key=True)

    def _check_rate(self, caller: Caller) -> None:
        if self._limit is None:
            return
        delay = self._limit.delay(caller.client, time.monotonic())
        if delay:
            raise Problem(
                429,
                "too-many-requests",
                f"{'This key' if caller.key else 'Your address'} sends more requests than F2AT_RATE allows.",
                argument="Authorization" if caller.key else "address",
                accepted=f"another request in {math.ceil(delay)} seconds",
                received="a request too soon",
                headers={"Retry-After": str(math.ceil(delay))},
            )


class Access:
    """ASGI middleware around the whole service: refuses what the guard does not admit, before reading any body.

    Args:
        app: what it wraps.
        guard: returns the guard.
    """

    def __init__(self, app: ASGIApp, *, guard: Callable[[], Guard]) -> None:
        self.app = app
        self.guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            caller = self.guard().admit(HTTPConnection(scope))
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)


def _by_address(connection: HTTPConnection, peer: Caller, needed: str) -> Caller:
    """Without keys, callers on this machine may do everything.

    The Host check keeps out a foreign web page whose name was pointed at 127.0.0.1 (DNS rebinding).
    """
    if needed in (ANY_KEY, *_WITHOUT_KEYS):
        return Caller(peer.name, _WITHOUT_KEYS)
    client = connection.client
    local = client is not None and is_loopback(client.host) and is_loopback(_host(connection))
    if not local or _through_unknown_proxy(connection):
        raise Problem(
            403,
            "loopback-only",
            f"This server has no API keys, so only its own machine may send what needs the scope {needed!r}.",
            argument="address",
            accepted="a connection from this machine, addressed as localhost, 127.0.0.1 or [::1]",
            received=f"a connection from {peer.name or 'nowhere'}, addressed as {_host(connection) or 'nothing'}"
            + (", through a proxy that is not in F2AT_PROXIES" if local else ""),
        )
    return Caller(peer.name, frozenset(SCOPES))


def _through_unknown_proxy(connection: HTTPConnection) -> bool:
    """Whether a proxy that is not in F2AT_PROXIES passed this on: its callers are anywhere, wherever it is."""
    # Of a proxy that is, uvicorn has put the client's address in the place of the proxy's; it knows no port for that.
    forwarded = {"x-forwarded-for", "forwarded"}.intersection(connection.headers)
    return bool(forwarded) and connection.client is not None and connection.client.port != 0


def _check_origin(connection: HTTPConnection) -> None:
    """Refuse what the page of another site has a browser send: without keys, it would be as good as the user's own.

    A browser asks first (CORS preflight) before some requests, but not before a form with a file.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return
    own = _authority("//" + connection.headers.get("host", ""))
    if own is None or _authority(origin) != own:
        raise Problem(
            403,
            "foreign-origin",
            "This server has no API keys, so it takes requests only from its own page and from programs.",
            argument="Origin",
            accepted="no Origin, or this server's own",
            received=origin[:200],
        )


def _authority(url: str) -> tuple[str, int] | None:
    """Host and port of a URL, or of its part from // on; a default port is 0, None is no host at all."""
    try:
        parts = urlsplit(url)
        return (parts.hostname, 0 if parts.port in (None, 80, 443) else parts.port) if parts.hostname else None
    except ValueError:
        return None


def _host(connection: HTTPConnection) -> str | None:
    # Not connection.url, which falls back to the server's own address if the header is not a valid host.
    try:
        return urlsplit("//" + connection.headers.get("host", "")).hostname
    except ValueError:
        return None


def is_loopback(host: str | None) -> bool:
    """Whether `host` is localhost or a loopback address."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _peer(connection: HTTPConnection) -> str:
    return network_of(connection.client.host if connection.client else "")


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """Whom limits count for by address: for IPv6 its /64 network, since one client may use every address in it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and not address.ipv4_mapped:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host
