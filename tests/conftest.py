"""Fixtures shared by the tests of several packages."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, make_url, text

import f2at  # noqa: F401 (before anything loads ONNX Runtime, which would tell its makers of every model)

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command `f2at` does, before anything loads PyTorch

# A machine that is busy takes its time over an example, and over drawing it.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

if TYPE_CHECKING:
    from torch import nn

NewDatabase = Callable[[], str]
Outage = Callable[[str], AbstractContextManager[None]]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests come first, so that no process is left alone with one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: (-slow[item.path], item.path))  # within a file, the order stays


@pytest.fixture(scope="session", autouse=True)
def _interrupts() -> None:
    """What tests start can be interrupted, even where this process ignores it, as in the background of a shell."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The folder of derived graphs, for this run of the tests only; what they start inherits it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("F2AT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewDatabase]:
    """Returns the URL of a database that does not exist yet, on each kind of server.

    F2AT_TEST_POSTGRESQL=postgresql://user:password@host:port names a server to create databases on; they are dropped.
    """
    if request.param == "sqlite":
        yield lambda: f"sqlite:///{tmp_path_factory.mktemp('database')}/state/audits.sqlite"
        return
    server = os.environ.get("F2AT_TEST_POSTGRESQL")
    if not server:
        pytest.skip("F2AT_TEST_POSTGRESQL names no server; .ci/with-postgresql starts one")
    names: list[str] = []

    def new() -> str:
        names.append(f"f2at_{uuid4().hex}")
        return f"{server}/{names[-1]}"

    yield new
    maintenance = make_url(server).set(drivername="postgresql+psycopg", database="postgres")
    engine = create_engine(maintenance, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def locked() -> Outage:
    """While it lasts, no other connection can write to the database, nor, on PostgreSQL, read its workflows."""

    @contextmanager
    def lock(url: str) -> Iterator[None]:
        sqlite = url.startswith("sqlite")
        engine = create_engine(make_url(url) if sqlite else make_url(url).set(drivername="postgresql+psycopg"))
        with engine.connect() as connection:
            connection.execute(text("BEGIN IMMEDIATE" if sqlite else "LOCK TABLE dbos.workflow_status"))
            yield
            connection.rollback()
        engine.dispose()

    return lock


@pytest.fixture
def convnet() -> Callable[..., "nn.Module"]:
    """Makes a small random network for 8 x 8 images: convnet(classes=10, seed=0)."""
    import torch
    from torch import nn

    def make(classes: int = 10, seed: int = 0) -> "nn.Module":
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(8 * 16, classes),
            ).eval()

    return make
