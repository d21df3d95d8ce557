"""Settings from environment variables, read by every process of a deployment: server, worker, command line."""

import os
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from f2at.arguments import NAME, ArgumentError, OneOf
from f2at.serving.jobs.places import ACCEPTED, split_places
from f2at.serving.process.logs import FORMATS
from f2at.serving.webhooks.addresses import networks, split_urls


def _half_the_cores(threads: int) -> int:
    return threads or max(1, (os.cpu_count() or 2) // 2)


def _half_of(name: str) -> Callable[[dict[str, Any]], int]:
    return lambda settings: max(1, settings[name] // 2)


def _four_bodies(settings: dict[str, Any]) -> int:
    return 4 * int(settings["max_body"])


def _four_images(settings: dict[str, Any]) -> int:
    return 4 * int(settings["max_pixels"])


def _most_cores() -> int:
    return max(3, min(os.cpu_count() or 2, 4) + 1)


def _sqlite(settings: dict[str, Any]) -> str:
    return f"sqlite:///{settings['state'] / 'audits.sqlite'}"


_networks = cache(networks)


def _check_networks(text: str, info: ValidationInfo) -> str:
    try:
        _networks(text)
    except ValueError:
        name = info.field_name or ""
        raise ArgumentError(name, "addresses and networks, with commas between them", text) from None
    return text


def _check_urls(text: str) -> str:
    try:
        split_urls(text)
    except ValueError as error:
        accepted = "http(s)://HOST[:PORT]/PATH, with commas between several"
        raise ArgumentError("webhook_urls", accepted, f"{error}") from None
    return text


def _check_places(text: str) -> str:
    try:
        split_places(text)
    except ValueError as error:
        raise ArgumentError("data", ACCEPTED, f"{error}") from None
    return text


def _check_place(text: str) -> str:
    try:
        [place] = split_places(text)
    except ValueError:
        accepted = "an absolute path of a folder, or a URL of a folder in a store"
        raise ArgumentError("reports", accepted, text) from None
    return place


def _check_source(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ArgumentError("webhook_source", "a URI or a path, without spaces", text)
    return text


def _check_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ArgumentError("model_name", "1 to 64 letters, digits, dots, dashes or underscores", text)
    return text


_Path = Annotated[Path, AfterValidator(Path.absolute)]
_Number = Annotated[int, Field(ge=0)]
_Count = Annotated[int, Field(ge=1)]
_Access = Annotated[str, OneOf(("open", "key")), BeforeValidator(str.lower)]
_Networks = Annotated[str, AfterValidator(_check_networks)]
_Urls = Annotated[str, AfterValidator(_check_urls)]
_Place = Annotated[str, AfterValidator(_check_place)]
_Places = Annotated[str, AfterValidator(_check_places)]
_Source = Annotated[str, AfterValidator(_check_source)]
_Name = Annotated[str, AfterValidator(_check_name)]
_Format = Annotated[str, OneOf(FORMATS), BeforeValidator(str.lower)]


class Settings(BaseSettings):
    """Settings of a deployment; the environment variable is `F2AT_` and the name in capitals.

    Raises:
        ArgumentError: with the variable, what is accepted and what was received.
    """

    model_config = SettingsConfigDict(env_prefix="F2AT_", env_ignore_empty=True, frozen=True)

    bundle: _Path | None = None  # folder of the bundle; None: the one pinned in the Bento or in the model store
    bundles: _Path | None = None  # folder of the bundles that POST /model may name; None: it takes no bundle
    model_name: _Name = "f2at"  # in the paths of the Open Inference Protocol, /v2/models/NAME
    data: _Places | None = None  # where images lie that audits may name, see `f2at.serving.jobs.places`; None: nowhere
    reports: _Place | None = None  # a folder or a URL of a store that reports are written to besides; None: nowhere
    surrogate: _Path | None = None  # folder of a second bundle, for transfer attacks; None: these are refused
    public_key: _Path | None = None  # file of public keys; only bundles signed by one of them are served
    signing_key: _Path | None = None  # file of the private key that signs reports
    keys: _Path | None = None  # file of API keys, see `f2at keys`; None: audits are for this machine only
    key_digest: str = ""  # one more key, name:scope,scope:sha256, for when one key is enough
    metrics: _Access = "open"  # or "key": if there are API keys, /metrics requires one
    proxies: _Networks | None = None  # whose X-Forwarded-For is believed
    rate: _Number = 100  # requests per second and key, or address without one; bursts of ten times as many; 0: no limit
    state: _Path = Path(".f2at")  # the worker's lock and identity, and the default database
    database_url: str = Field(default_factory=_sqlite)  # where audits are stored; default: SQLite in `state`
    log_format: _Format = "text"  # or "json": one object per line
    worker: bool = True  # whether the server starts an audit worker
    takeover: _Count = 60  # seconds of silence until a worker's audits are requeued; the same for every worker
    grace: _Count = 20  # seconds from SIGTERM until a server process exits, even with requests open
    threads: _Number = 0  # threads per prediction; 0: one per core
    audit_threads: Annotated[_Number, AfterValidator(_half_the_cores)] = 0  # of the audit worker; 0: half the cores
    webhook_urls: _Urls | None = None  # that are told of audits that have ended
    webhook_secret: _Path | None = None  # file of the secrets that sign webhooks, one a line
    webhook_allow_private: _Networks | None = None  # private addresses that webhooks may be sent to
    webhook_source: _Source = "/audits"  # what webhooks say they come from: the URL of this deployment, say
    keep_days: _Number = 0  # days after which an ended audit is deleted; 0: never
    max_pending: _Count = 64  # prediction requests waiting or running; further ones get 503
    max_batch: _Count = 32  # images per /predict_batch
    max_connections: _Count = 2048  # open ones of each server process; further ones get 503
    max_connections_per_address: _Count = Field(default_factory=_half_of("max_connections"))  # default: half
    max_headers: _Count = 100  # of a request; more get 431
    max_header_bytes: _Count = 32 << 10  # of a request's path and headers; more get 431
    header_seconds: _Count = 10  # from a connection, or a head's first byte, until the headers are there; then 408
    max_body: _Count = 16 << 20  # bytes per request body
    max_uploads: _Count = Field(default_factory=_four_bodies)  # bytes of bodies held at once; further ones get 503
    body_idle: _Count = 10  # seconds that a body may pause; then it gets 408
    body_seconds: _Count = 50  # seconds that a body may take in all; then it gets 408
    max_pixels: _Count = 16_000_000  # pixels per image as it is decoded: of a large JPEG, only a part
    max_request_pixels: _Count = Field(default_factory=_four_images)  # pixels of all images of a request
    decoders: _Count = Field(default_factory=_most_cores)  # decode workers of a server process, at most
    decode_seconds: _Count = 5  # that the images of a request may take to decode; then they get 422
    decode_memory: _Number = 224  # MiB of data in a decode worker; images that need more get 413; 0: no limit
    swap_seconds: _Count = 25  # until a new model has been loaded and run once, before any server process loads it
    swap_memory: _Number = 2048  # MiB of data for that; 0: no limit
    max_audits: _Count = 16  # audits queued or running; further ones get 429
    max_audits_per_key: _Count = Field(default_factory=_half_of("max_audits"))  # of them, of one key; default: half
    max_streams: _Count = 32  # event streams open, over all server processes; further ones get 503
    max_streams_per_key: _Count = Field(default_factory=_half_of("max_streams"))  # of them, of one key; default: half
    max_samples: _Count = 1000  # images per audit
    max_evaluations: _Count = 20_000_000  # of the model by the attacks of one audit; more gets 422
    max_audit_seconds: _Count = 86_400  # of work on one audit, summed over workers; then it fails
    audit_memory: _Number = 0  # MiB of data in the audit worker; a step that needs more fails; 0: no limit

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            wrong = ArgumentError.of(error, Settings)
            raise ArgumentError(f"F2AT_{wrong.argument.upper()}", wrong.accepted, wrong.received) from None

    @property
    def places(self) -> tuple[str, ...]:
        """Those of `data`."""
        return split_places(self.data) if self.data else ()

    def is_proxy(self, host: str) -> bool:
        """Whether this address is one of `proxies`."""
        try:
            return self.proxies is not None and any(ip_address(host) in network for network in _networks(self.proxies))
        except ValueError:  # no address: a Unix socket
            return False

    def paths(self) -> dict[str, str]:
        """The variables that name files and folders, absolute, for processes that start in another folder."""
        return {f"F2AT_{name.upper()}": str(path) for name, path in self if isinstance(path, Path)}
