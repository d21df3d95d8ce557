"""What the environment decides. Every process of a deployment (server, worker, command line) reads the same names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from f2at.serving.process.logs import FORMATS

# Whole numbers of at least 1.
_COUNTS = (
    "takeover",
    "grace",
    "max_pending",
    "max_batch",
    "max_body",
    "max_pixels",
    "max_audits",
    "max_samples",
    "max_evaluations",
    "max_audit_seconds",
)


class SettingsError(ValueError):
    """An environment variable that cannot be used; the message names it, what is accepted and what came."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a deployment; the environment variable is `F2AT_` and the name in capitals."""

    bundle: Path | None = None  # folder of the bundle; None: the one pinned in the Bento or in the model store
    bundles: Path | None = None  # folder of the bundles that POST /model may name; None: it takes none
    surrogate: Path | None = None  # folder of a second bundle, for transfer attacks to follow; None: none run here
    public_key: Path | None = None  # file of public keys; a bundle that none of them signed is not served
    signing_key: Path | None = None  # file of a private key that signs reports
    keys: Path | None = None  # file of API keys, `f2at keys`; None: audits answer this machine only
    key_digest: str = ""  # one more key, name:scope,scope:sha256, where a file is too much
    metrics: str = "open"  # or key: where keys are demanded, /metrics takes one, too
    rate: int = 100  # requests a second of one key, or of one address without; ten times as many at once; 0: any
    state: Path = Path(".f2at")  # the worker's lock and identity, and the default database
    database_url: str = ""  # where audits live; SQLite in `state` unless given
    log_format: str = "text"  # or json: a line an object
    worker: bool = True  # start the audit worker beside the server
    takeover: int = 60  # seconds of silence after which a worker's audits go to others; the same for every worker
    grace: int = 20  # seconds after SIGTERM in which a server process ends, whatever its clients do
    threads: int = 0  # threads of one prediction; 0: every core
    audit_threads: int = 0  # threads of the audit worker; 0: half the cores
    keep_days: int = 0  # days after which an audit that ended is deleted; 0: never
    max_pending: int = 64  # prediction requests waiting for a turn; more answer 503
    max_batch: int = 32  # images of one /predict_batch
    max_body: int = 16 << 20  # bytes of one request body
    max_pixels: int = 16_000_000  # pixels of one image, checked before it is decoded
    max_audits: int = 16  # audits queued or running; more answer 429
    max_samples: int = 1000  # images of one audit
    max_evaluations: int = 20_000_000  # of the model, that the attacks of one audit may need; more answers 422
    max_audit_seconds: int = 86_400  # of work on one audit, all workers together; then it has failed
    audit_memory: int = 0  # MiB of data of the audit worker; a step that wants more fails; 0: any

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from `env` (default: the process's environment).

        Raises:
            SettingsError: a number is not a number or is out of range, or a word is none of those accepted.
        """
        env = os.environ if env is None else env
        state = Path(env.get("F2AT_STATE") or ".f2at").absolute()
        return cls(
            bundle=_path(env, "bundle"),
            bundles=_path(env, "bundles"),
            surrogate=_path(env, "surrogate"),
            public_key=_path(env, "public_key"),
            signing_key=_path(env, "signing_key"),
            keys=_path(env, "keys"),
            key_digest=env.get("F2AT_KEY_DIGEST", ""),
            metrics=_choice(env, "metrics", ("open", "key")),
            rate=_integer(env, "rate", minimum=0),
            state=state,
            database_url=env.get("F2AT_DATABASE_URL") or f"sqlite:///{state / 'audits.sqlite'}",
            log_format=_choice(env, "log_format", FORMATS),
            worker=_choice(env, "worker", ("on", "off")) == "on",
            threads=_integer(env, "threads", minimum=0),
            keep_days=_integer(env, "keep_days", minimum=0),
            audit_memory=_integer(env, "audit_memory", minimum=0),
            audit_threads=_integer(env, "audit_threads", minimum=0) or max(1, (os.cpu_count() or 2) // 2),
            **{name: _integer(env, name, minimum=1) for name in _COUNTS},
        )

    def paths(self) -> dict[str, str]:
        """The variables that name files and folders, absolute, for processes that start in another folder."""
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f"F2AT_{name.upper()}": str(path) for name, path in paths.items() if isinstance(path, Path)}


def _path(env: Mapping[str, str], name: str) -> Path | None:
    path = env.get(f"F2AT_{name.upper()}")
    return Path(path).absolute() if path else None


def _choice(env: Mapping[str, str], name: str, accepted: tuple[str, ...]) -> str:
    variable = f"F2AT_{name.upper()}"
    word = (env.get(variable) or accepted[0]).lower()
    if word not in accepted:
        raise SettingsError(f"{variable} must be {' or '.join(accepted)}, got {word!r}")
    return word


def _integer(env: Mapping[str, str], name: str, *, minimum: int) -> int:
    variable = f"F2AT_{name.upper()}"
    text = env.get(variable) or str(getattr(Settings, name))
    if not text.isascii() or not text.isdigit() or int(text) < minimum:
        raise SettingsError(f"{variable} must be a whole number of at least {minimum}, got {text!r}")
    return int(text)
