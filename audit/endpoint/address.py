"""Where an endpoint is."""

from typing import NamedTuple, Self
from urllib.parse import urlsplit


class EndpointError(ValueError):
    """An endpoint cannot be reached, refuses to answer, or answers what cannot be used; one line says which."""


class Address(NamedTuple):
    """The parts of a URL that a request needs."""

    scheme: str
    host: str
    port: int | None
    path: str
    query: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """The parts of a URL.

        Raises:
            ValueError: it is no http or https URL, or has credentials; a password is not repeated in the message.
        """
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ValueError("url must have no user name or password; a key is read from F2AT_ENDPOINT_KEY")
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ValueError(f"url must be http(s)://HOST[:PORT]/PATH; got {url.partition('?')[0]!r}")
        return cls(parts.scheme, parts.hostname, port, parts.path or "/", parts.query)

    def at(self, path: str) -> Self:
        """The same server, elsewhere; a query stays, since it may hold a version of the API."""
        return self._replace(path=path)

    @property
    def target(self) -> str:
        """What the first line of a request names."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        """Without its query, which may hold secrets: what reports and messages say."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{'' if self.port is None else f':{self.port}'}{self.path}"
