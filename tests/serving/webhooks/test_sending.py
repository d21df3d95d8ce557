"""Real connections to real servers, over TLS as well."""

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from f2at.serving.webhooks import sending
from f2at.serving.webhooks.addresses import networks
from f2at.serving.webhooks.sending import Reply, SendingError, post
from tests.receiver import receiving

HERE = networks("127.0.0.0/8")


def test_what_is_sent_and_what_is_answered() -> None:
    with receiving(lambda handler: handler.answer(503, Retry_After="7")) as receiver:
        assert post(receiver.url, b"body", {"X-One": "1"}, HERE) == Reply(503, 7.0)
        assert post(receiver.url, b"body", {}, HERE) == Reply(204, None)
        (first, _) = receiver.requests
        assert (first.body, first.headers["x-one"]) == (b"body", "1")
        assert first.headers[":path"] == "/hooks/T0P53CR3T?a=b"
        assert first.headers["host"] == f"127.0.0.1:{receiver.server_port}"


def test_a_redirect_is_not_followed() -> None:
    with receiving() as other, receiving(lambda handler: handler.answer(307, Location=other.url)) as receiver:
        assert post(receiver.url, b"", {}, HERE).status == 307
        assert other.requests == []


def test_nothing_is_sent_to_a_private_address() -> None:
    with receiving() as receiver:
        for host in ("127.0.0.1", "localhost"):
            url = f"http://{host}:{receiver.server_port}/"
            with pytest.raises(SendingError, match=r"is at (127\.0\.0\.1|::1), a private address"):
                post(url, b"", {}, networks("10.0.0.0/8"))
        assert receiver.requests == []


class Names:
    """A resolver whose answers change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self._answers = iter(answers)
        self._real = socket.getaddrinfo
        monkeypatch.setattr("socket.getaddrinfo", self)

    def __call__(self, host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        if host != "receiver.example":
            return self._real(host, port, *arguments, **named)
        self.asked.append(host)
        found = next(self._answers)
        return [entry for address in found for entry in self._real(address, port, *arguments, **named)]


def test_a_name_is_resolved_once_and_means_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second answer, which it may not be sent to, is never asked for."""
    with receiving() as receiver:
        names = Names(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        assert post(f"http://receiver.example:{receiver.server_port}/", b"", {}, networks("127.0.0.1")).status == 204
        assert names.asked == ["receiver.example"]
        assert receiver.requests[0].headers["host"] == f"receiver.example:{receiver.server_port}"
        with pytest.raises(SendingError, match=r"receiver\.example is at 127\.0\.0\.2, a private address"):
            post(f"http://receiver.example:{receiver.server_port}/", b"", {}, networks("127.0.0.1"))
        assert len(receiver.requests) == 1


def test_one_private_address_among_several_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        Names(monkeypatch, ["127.0.0.1", "10.0.0.1"])
        with pytest.raises(SendingError, match="private"):
            post(f"http://receiver.example:{receiver.server_port}/", b"", {}, HERE)
        assert receiver.requests == []


def test_the_next_address_is_tried_where_nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        Names(monkeypatch, ["127.0.0.3", "127.0.0.1"])
        assert post(f"http://receiver.example:{receiver.server_port}/", b"", {}, HERE).status == 204


def test_a_receiver_that_is_not_there() -> None:
    with receiving() as receiver:
        url = receiver.url
    with pytest.raises(SendingError, match="connection"):
        post(url, b"", {}, HERE)
    with pytest.raises(SendingError):
        post("http://there.is.no.such.name.invalid/", b"", {}, HERE)


def hang(handler: Any) -> None:
    time.sleep(3)


def drip_headers(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(30):
        time.sleep(0.1)
        handler.wfile.write(b"X: y\r\n")
        handler.wfile.flush()


def drip_body(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(30):
        time.sleep(0.1)
        handler.wfile.write(b".")
        handler.wfile.flush()


@pytest.mark.parametrize("answer", [hang, drip_headers, drip_body])
def test_a_receiver_that_takes_its_time_is_left(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.5)

    def quietly(handler: Any) -> None:
        try:
            answer(handler)
        except OSError:  # nobody listens any more
            handler.close_connection = True

    with receiving(quietly) as receiver:
        begun = time.monotonic()
        with pytest.raises(SendingError, match=r"^no answer within 0\.5 s$"):
            post(receiver.url, b"", {}, HERE)
        assert time.monotonic() - begun < 2


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    sent = 0

    def flood(handler: Any) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while sent < 1 << 30:
                sent += handler.wfile.write(bytes(1 << 16))
        except OSError:
            handler.close_connection = True

    with receiving(flood) as receiver:
        assert post(receiver.url, b"", {}, HERE) == Reply(200, None)
    assert sent < 1 << 26


def test_what_is_no_http_is_no_answer() -> None:
    with receiving(lambda handler: handler.wfile.write(b"hello\r\n\r\n")) as receiver, pytest.raises(SendingError):
        post(receiver.url, b"", {}, HERE)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of receiver.example and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver.example")])
    names = x509.SubjectAlternativeName([x509.DNSName("receiver.example"), x509.IPAddress(ip_address("127.0.0.9"))])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(signed.public_bytes(encoding) + private)
    return path


def test_the_certificate_must_be_of_the_name(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the address that the connection goes to; and it must be trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(tls=context) as receiver:
        Names(monkeypatch, ["127.0.0.1"], ["127.0.0.1"])
        url = f"https://receiver.example:{receiver.server_port}/"
        with pytest.raises(SendingError, match=r"(?i)certificate verify failed"):
            post(url, b"", {}, HERE)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert post(url, b"", {}, HERE).status == 204
        with pytest.raises(SendingError, match=r"(?i)certificate verify failed"):
            post(f"https://127.0.0.1:{receiver.server_port}/", b"", {}, HERE)
        assert len(receiver.requests) == 1


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert post(receiver.url, b"", {}, HERE).status == 204
        assert proxy.requests == []
