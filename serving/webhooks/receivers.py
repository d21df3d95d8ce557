"""Who receives webhooks, as the settings say."""

import hashlib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from f2at.arguments import ArgumentError
from f2at.serving.settings import Settings
from f2at.serving.webhooks.addresses import Network, is_allowed, networks, shown, split_urls
from f2at.serving.webhooks.signing import read_secrets


class Receivers(NamedTuple):
    """Where to send webhooks to.

    Attributes:
        urls: by the receivers' names, which are what the database has: a URL may be a secret.
        secret: the file of the secrets that sign.
        private: the private networks that may be sent to.
    """

    urls: Mapping[str, str]
    secret: Path
    private: tuple[Network, ...]


def read_receivers(settings: Settings) -> Receivers | None:
    """The receivers in the settings; None if there are none.

    Raises:
        ArgumentError: F2AT_WEBHOOK_SECRET is not set, or a URL has a private address that is not allowed.
        SecretError: the file of secrets cannot be used.
    """
    if settings.webhook_urls is None:
        return None
    if settings.webhook_secret is None:
        raise ArgumentError("F2AT_WEBHOOK_SECRET", "the file of the secrets that sign webhooks", None)
    read_secrets(settings.webhook_secret)
    private = networks(settings.webhook_allow_private)
    urls = split_urls(settings.webhook_urls)
    for url in urls:
        if not _may_be(url, private):
            accepted = "URLs of public addresses, or of those in F2AT_WEBHOOK_ALLOW_PRIVATE"
            raise ArgumentError("F2AT_WEBHOOK_URLS", accepted, shown(url))
    return Receivers({name_receiver(url): url for url in urls}, settings.webhook_secret, private)


def name_receiver(url: str) -> str:
    """What the database calls a receiver."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def _may_be(url: str, private: tuple[Network, ...]) -> bool:
    """False if a URL names an address to which nothing may be sent."""
    host = urlsplit(url).hostname or ""
    try:
        ip_address(host)
    except ValueError:  # a name, which means what it means when something is sent
        return True
    return is_allowed(host, private)
