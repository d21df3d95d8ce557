"""What the environment decides. Every process of a deployment (server, worker, command line) reads the same names."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from f2at.arguments import ArgumentError, OneOf
from f2at.serving.process.logs import FORMATS


def _half_the_cores(threads: int) -> int:
    return threads or max(1, (os.cpu_count() or 2) // 2)


def _sqlite(settings: dict[str, Any]) -> str:
    return f"sqlite:///{settings['state'] / 'audits.sqlite'}"


_Path = Annotated[Path, AfterValidator(Path.absolute)]
_Number = Annotated[int, Field(ge=0)]
_Count = Annotated[int, Field(ge=1)]
_Door = Annotated[str, OneOf(("open", "key")), BeforeValidator(str.lower)]
_Format = Annotated[str, OneOf(FORMATS), BeforeValidator(str.lower)]


class Settings(BaseSettings):
    """Settings of a deployment; the environment variable is `F2AT_` and the name in capitals.

    Raises:
        ArgumentError: naming the variable, what is accepted and what came.
    """

    model_config = SettingsConfigDict(env_prefix="F2AT_", env_ignore_empty=True, frozen=True)

    bundle: _Path | None = None  # folder of the bundle; None: the one pinned in the Bento or in the model store
    bundles: _Path | None = None  # folder of the bundles that POST /model may name; None: it takes none
    surrogate: _Path | None = None  # folder of a second bundle, for transfer attacks to follow; None: none run here
    public_key: _Path | None = None  # file of public keys; a bundle that none of them signed is not served
    signing_key: _Path | None = None  # file of a private key that signs reports
    keys: _Path | None = None  # file of API keys, `f2at keys`; None: audits answer this machine only
    key_digest: str = ""  # one more key, name:scope,scope:sha256, where a file is too much
    metrics: _Door = "open"  # or key: where keys are demanded, /metrics takes one, too
    rate: _Number = 100  # requests a second of one key, or of one address without; ten times as many at once; 0: any
    state: _Path = Path(".f2at")  # the worker's lock and identity, and the default database
    database_url: str = Field(default_factory=_sqlite)  # where audits live; SQLite in `state` unless given
    log_format: _Format = "text"  # or json: a line an object
    worker: bool = True  # start the audit worker beside the server
    takeover: _Count = 60  # seconds of silence after which a worker's audits go to others; the same for every worker
    grace: _Count = 20  # seconds after SIGTERM in which a server process ends, whatever its clients do
    threads: _Number = 0  # threads of one prediction; 0: every core
    audit_threads: Annotated[_Number, AfterValidator(_half_the_cores)] = 0  # of the audit worker; 0: half the cores
    keep_days: _Number = 0  # days after which an audit that ended is deleted; 0: never
    max_pending: _Count = 64  # prediction requests waiting for a turn; more answer 503
    max_batch: _Count = 32  # images of one /predict_batch
    max_body: _Count = 16 << 20  # bytes of one request body
    max_pixels: _Count = 16_000_000  # pixels of one image, checked before it is decoded
    max_audits: _Count = 16  # audits queued or running; more answer 429
    max_samples: _Count = 1000  # images of one audit
    max_evaluations: _Count = 20_000_000  # of the model, that the attacks of one audit may need; more answers 422
    max_audit_seconds: _Count = 86_400  # of work on one audit, all workers together; then it has failed
    audit_memory: _Number = 0  # MiB of data of the audit worker; a step that wants more fails; 0: any

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            wrong = ArgumentError.of(error, Settings)
            raise ArgumentError(f"F2AT_{wrong.argument.upper()}", wrong.accepted, wrong.received) from None

    def paths(self) -> dict[str, str]:
        """The variables that name files and folders, absolute, for processes that start in another folder."""
        return {f"F2AT_{name.upper()}": str(path) for name, path in self if isinstance(path, Path)}
