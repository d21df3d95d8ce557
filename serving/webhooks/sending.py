"""One POST to a receiver: bounded in time, to an address that was looked at, and following nobody elsewhere."""

import asyncio
import socket
import ssl
from collections.abc import Collection, Mapping
from typing import NamedTuple

import httpx

from f2at.retry_after import retry_after
from f2at.serving.webhooks.addresses import Network, is_allowed

SECONDS = 15.0  # for all of it: the name, the connection, the request, the answer
_CONNECT_SECONDS = 5.0  # for a connection to one address, so that there is time for the next
_LARGEST = 1 << 16  # bytes of an answer that are read; nothing looks at them


class SendingError(Exception):
    """No answer came; the message says why, in one line."""


class Reply(NamedTuple):
    """What a receiver answered."""

    status: int
    retry_after: float | None  # seconds


def post(url: str, body: bytes, headers: Mapping[str, str], allowed: Collection[Network]) -> Reply:
    """Send `body` and return the answer.

    The host's name is resolved once, each of its addresses must be allowed, and the connection goes to one of these:
    a name that means another address a moment later gains nothing. Proxies of the environment are not used, since they
    would resolve it again.

    Args:
        url: where to.
        body: what is sent.
        headers: of the request.
        allowed: private networks that it may go to.

    Raises:
        SendingError: the receiver is not there, may not be sent to, or does not answer within `SECONDS`.
    """
    try:
        return asyncio.run(_post(httpx.URL(url), body, headers, allowed))
    except TimeoutError:
        raise SendingError(f"no answer within {SECONDS:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        raise SendingError(str(error) or type(error).__name__) from error


async def _post(url: httpx.URL, body: bytes, headers: Mapping[str, str], allowed: Collection[Network]) -> Reply:
    host = url.raw_host.decode("ascii")
    async with (
        asyncio.timeout(SECONDS),
        httpx.AsyncClient(
            verify=ssl.create_default_context(), trust_env=False, timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS)
        ) as client,
    ):
        failure: Exception = SendingError(f"{host} has no address")
        for address in await _addresses(host, url.port or {"http": 80, "https": 443}[url.scheme], allowed):
            request = client.build_request(
                "POST",
                url.copy_with(host=address),
                content=body,
                headers={**headers, "Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"},
                extensions={"sni_hostname": host},  # the certificate must be of the name, not of the address
            )
            try:
                response = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
                continue
            await _drain(response)
            return Reply(response.status_code, retry_after(response.headers.get("Retry-After", "")))
        raise failure


async def _addresses(host: str, port: int, allowed: Collection[Network]) -> list[str]:
    """The addresses of a host, in the order in which to try them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
    for address in addresses:
        if not is_allowed(address, allowed):
            raise SendingError(
                f"{host} is at {address}, a private address that F2AT_WEBHOOK_ALLOW_PRIVATE does not name"
            )
    return addresses


async def _drain(response: httpx.Response) -> None:
    """Read the answer, so that whoever sent it sees no error, but not for ever."""
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > _LARGEST:
            break
    await response.aclose()
