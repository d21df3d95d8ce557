"""Requests that ask for another protocol are answered in this one, bodies and all.

Works around httptools, which takes what follows such a head for the other protocol. Java's HttpClient and
`curl --http2` ask for h2c with the first request of every connection, POSTs included.
"""

from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser

_FRAMING = (b"content-length", b"transfer-encoding")


class SingleProtocolParser:
    """Like `HttpRequestParser(protocol)`, but what follows a head is its body, whatever the head asks for."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._parser = self._fresh()
        self._again = False  # a head is parsed that the protocol knows already

    def feed_data(self, data: bytes) -> None:
        """Parse what came; raises HttpParserError."""
        while True:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._expect_body()
            else:
                return

    def should_upgrade(self) -> bool:
        """No."""
        return False

    def should_keep_alive(self) -> bool:
        """Whether the client wants to use the connection again."""
        return self._parser.should_keep_alive()

    def get_http_version(self) -> str:
        """1.0 or 1.1."""
        return self._parser.get_http_version()

    def get_method(self) -> bytes:
        """GET, say."""
        return self._parser.get_method()

    def on_message_begin(self) -> None:
        """A head begins."""
        if not self._again:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        if not self._again:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if not self._again:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """The end of a head."""
        if not self._again:
            self._protocol.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._protocol.on_body(body)

    def on_message_complete(self) -> None:
        """The end of a body; after a head that asks for another protocol, one only seems to end."""
        if not self._parser.should_upgrade():
            self._protocol.on_message_complete()

    def _expect_body(self) -> None:
        """Begin anew, behind a head that frames the body in the same way, and asks for nothing."""
        self._parser = self._fresh()
        framing = [name + b": " + value for name, value in self._protocol.headers if name in _FRAMING]
        self._again = True
        try:
            self._parser.feed_data(b"\r\n".join([b"POST / HTTP/1.1", *framing, b"", b""]))
        finally:
            self._again = False

    def _fresh(self) -> HttpRequestParser:
        parser = HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        return parser
