"""Which URLs webhooks may be sent to, and which addresses never."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

Network = IPv4Network | IPv6Network

_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is routed on the internet
_NAT64 = IPv6Network("64:ff9b::/96")


def split_urls(text: str) -> tuple[str, ...]:
    """The URLs in a text with commas between them, each once.

    Raises:
        ValueError: one is not http(s)://HOST[:PORT]/PATH. The message says which by its place: a URL may be a secret.
    """
    urls = [part.strip() for part in text.split(",")]
    for number, url in enumerate(urls, start=1):
        if reason := _fault(url):
            raise ValueError(f"number {number} of {len(urls)}: {reason}")
    return tuple(dict.fromkeys(urls))


def shown(url: str) -> str:
    """A URL without its path and query, which may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def networks(text: str | None) -> tuple[Network, ...]:
    """The addresses and networks in a text with commas between them; none in None.

    Raises:
        ValueError: one is neither.
    """
    return tuple(ip_network(part.strip()) for part in text.split(",")) if text is not None else ()


def is_allowed(address: str, allowed: Collection[Network]) -> bool:
    """Whether webhooks may go to an IP address: to any that is routed on the internet, and to those in `allowed`.

    What stands for an IPv4 address (mapped, 6to4, NAT64) is judged as that.
    """
    meant = _meant(ip_address(address))
    routed = meant.is_global and not meant.is_multicast and (meant.version == 4 or meant in _UNICAST)
    return routed or any(meant in network for network in allowed)


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _fault(url: str) -> str | None:
    """What is wrong with a URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "no URL"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "no http(s)://HOST"
    if "@" in parts.netloc:
        return "a user name or password"
    if parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        return "a fragment, or what must be escaped"
    return None
