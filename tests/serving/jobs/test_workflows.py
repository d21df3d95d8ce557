"""The two workflows in a real job engine, in this process, on an audit of a few black-box queries."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from dbos._dbos import _get_dbos_instance
from sqlalchemy import MetaData, func, select, text

from f2at.attacks.objectives import objectives
from f2at.attacks.target import Evaluation
from f2at.audit import Audit, AuditRequest, Step, run_audit
from f2at.audit.reports.report import deterministic_part
from f2at.images.pixels import to_inputs
from f2at.images.sets.base import in_memory
from f2at.serving.jobs import workflows
from f2at.serving.jobs.audits import QUEUE, Audits
from f2at.serving.jobs.database import server_engine, worker_engine
from f2at.serving.jobs.records import APPLICATION, FINISHED
from f2at.serving.jobs.retention import purge
from f2at.serving.jobs.takeover import requeue
from f2at.serving.jobs.version import application_version
from f2at.serving.jobs.workflows import SHARD, SHARDS, progress, register
from f2at.serving.problems import Problem

if TYPE_CHECKING:
    from tests.conftest import NewDatabase

DIGEST = "sha256:model"
DEPLOY = Path(__file__).parents[3] / "deploy"
MAX_SECONDS = 1000  # of work on an audit
STAGES = ("clean", "fgsm", "pgd")
PLAN = [Step(3 * shard + place, shard, place, stage) for shard in range(2) for place, stage in enumerate(STAGES)]
REQUEST = {
    "suite": "custom",
    "attacks": [{"name": "square", "queries": 5}],
    "samples": 30,
    "eps": "64/255",
}  # two shards
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8)


def broken(*positions: int) -> dict[str, Any] | None:
    return {"positions": list(positions)} if positions else None


def test_progress_adds_up_the_shards_in_any_order() -> None:
    first: list[dict[str, Any]] = [
        {"shard": 0, "stage": "clean", "attempted": [0, 1, 2, 3], "correct": [0, 1, 3]},
        {"shard": 0, "stage": "fgsm", "attempted": [0, 1, 3], "broken": broken(1)},
        {"shard": 0, "stage": "pgd", "attempted": [0, 3], "broken": broken()},
    ]
    second: list[dict[str, Any]] = [
        {"shard": 1, "stage": "clean", "attempted": [4, 5], "correct": [4, 5]},
        {"shard": 1, "stage": "fgsm", "attempted": [4, 5], "broken": broken(4, 5)},
    ]
    assert progress(PLAN, [[], []]) == {
        "done": 0,
        "total": 6,
        "stages": [{"stage": stage, "shards": 0, "total": 2, "samples": 0, "robust": 0} for stage in STAGES],
    }
    for shards in ([first, second], [second, first]):
        assert progress(PLAN, shards) == {
            "done": 5,
            "total": 6,
            "stages": [
                {"stage": "clean", "shards": 2, "total": 2, "samples": 6, "robust": 5},
                {"stage": "fgsm", "shards": 2, "total": 2, "samples": 6, "robust": 2},
                {"stage": "pgd", "shards": 1, "total": 2, "samples": 4, "robust": 2},
            ],
        }


class Sign:
    """A classifier without gradients: is the mean of the pixels above one half? `before` may intervene."""

    classes = 2
    gradients = False

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None
        self.calls = 0

    def logits(self, inputs: Any) -> Any:
        self.calls += 1
        self.before()
        means = inputs.mean((1, 2, 3))
        return np.stack([0.5 - means, means - 0.5], axis=1).astype(np.float32)

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Any:
        raise AssertionError


class Mean(Sign):
    """The same with gradients, for batches of at least one image."""

    gradients = True

    def logits(self, inputs: Any) -> Any:
        assert len(inputs)
        return super().logits(inputs)

    def gradient(self, inputs: Any, labels: Any, targets: Any, weights: Any) -> Evaluation:
        logits = self.logits(inputs)
        slope = weights.sum(axis=1) * (1 - 2 * labels) / inputs[0].size
        gradient = np.broadcast_to(slope[:, None, None, None].astype(np.float32), inputs.shape)
        return Evaluation(logits, objectives(logits, labels, targets), gradient)


class Archive:
    """Reports by the audit's id; fails so many times first."""

    def __init__(self) -> None:
        self.reports: dict[str, Any] = {}
        self.failures = 0

    def __call__(self, identifier: str, report: dict[str, Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("the store is away")
        self.reports[identifier] = report


MODEL = Sign()
ARCHIVE = Archive()
MANY = "sha256:many"  # of a model that is audited by more images than are followed


def open_audit(
    identifier: str, request: dict[str, Any], digest: str, data: str | None = None, expected: str | None = None
) -> Audit:
    if digest == MANY:
        images = np.random.default_rng(1).integers(0, 256, (651, 2, 2, 3), dtype=np.uint8)
        labels = Mean().logits(to_inputs(images)).argmax(axis=1)
        return Audit(Mean(), in_memory(images, labels), AuditRequest(**request), classes=["dark", "light"])
    labels = (IMAGES.mean((1, 2, 3)) > 127.5).astype(np.int64)
    return Audit(
        MODEL, in_memory(IMAGES, labels), AuditRequest(**request), classes=["dark", "light"], model={"digest": digest}
    )


@pytest.fixture(scope="module")
def url(new_database: "NewDatabase") -> str:
    return new_database()


@pytest.fixture(scope="module")
def audits(url: str) -> Iterator[Audits]:
    """The audits of a database, with the job engine running them."""
    store = Audits(url, DIGEST, size=(8, 8), reference_images=len(IMAGES), max_audits=9, max_samples=len(IMAGES))
    DBOS(
        config={
            "name": APPLICATION,
            "system_database_url": url,
            "system_database_engine": worker_engine(url),
            "serializer": DBOSPortableJSONSerializer(),
            "application_version": application_version(DIGEST),
            "log_level": "CRITICAL",
        }
    )
    register(open_audit, max_seconds=MAX_SECONDS, archive=lambda *report: ARCHIVE(*report))
    DBOS.launch()
    for queue in (QUEUE, SHARDS):
        DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=0.05)
    yield store
    DBOS.destroy(destroy_registry=True)
    store.close()


@pytest.fixture(autouse=True)
def _undisturbed() -> Iterator[None]:
    yield
    MODEL.before = lambda: None
    ARCHIVE.failures = 0


def wait(audits: Audits, identifier: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while (audit := audits.get(identifier))["state"] not in FINISHED:
        assert time.monotonic() < deadline, audit
        time.sleep(0.05)
    return audit


def shards(identifier: str) -> dict[str, str]:
    """The states of an audit's shards."""
    return {w.workflow_id: w.status for w in DBOS.list_workflows(name=SHARD, parent_workflow_id=identifier)}


def test_the_report_is_that_of_an_offline_run(audits: Audits) -> None:
    audits.submit(REQUEST, "whole")
    audit = wait(audits, "whole")
    plan = open_audit("whole", audit["request"], DIGEST)
    report = audits.report("whole")
    assert deterministic_part(report) == deterministic_part(plan.report(run_audit(plan)))
    assert (report["run"]["id"], report["run"]["created"] <= report["run"]["finished"]) == ("whole", True)
    assert audit["progress"]["done"] == audit["progress"]["total"] == len(plan.steps)
    assert shards("whole") == dict.fromkeys(["whole/0", "whole/1"], "SUCCESS")


@pytest.mark.parametrize("failures", [0, 2, 9])
def test_the_report_is_archived(audits: Audits, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
    """Also by a store that is away for a while; without it, the audit is done all the same."""
    monkeypatch.setattr(workflows, "_PAUSES", (0.0, 0.0))
    ARCHIVE.failures = failures
    audits.submit(REQUEST, f"archived-{failures}")
    assert wait(audits, f"archived-{failures}")["state"] == "done"
    kept = ARCHIVE.reports.get(f"archived-{failures}")
    assert kept == (None if failures == 9 else audits.report(f"archived-{failures}"))


def test_the_pace_of_an_audit_is_that_of_the_next_estimates_of_the_same_model(audits: Audits, url: str) -> None:
    audits.submit(REQUEST, "paced")
    assert "pace" not in wait(audits, "paced")["progress"]
    one, two = (audits.estimate({**REQUEST, "samples": samples}) for samples in (5, 10))
    assert (one["most_evaluations"], two["most_evaluations"]) == (25, 50)
    assert 0 < one["most_seconds"] < two["most_seconds"]
    other = Audits(url, "sha256:other", size=(8, 8), reference_images=30, max_audits=9, max_samples=30)
    assert other.estimate(REQUEST)["most_seconds"] is None
    other.close()


def test_the_query_that_workers_are_scaled_by_counts_the_work(audits: Audits, url: str) -> None:
    """One audit and its two shards, until they are done."""
    manifests = yaml.safe_load_all((DEPLOY / "kubernetes" / "autoscaling" / "workers.yaml").read_text())
    (scaled,) = (each for each in manifests if each["kind"] == "ScaledObject")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    engine, seen = server_engine(url), threading.Event()

    def count_work() -> int:
        with engine.connect() as connection:
            counted = query if engine.dialect.name == "postgresql" else query.replace("dbos.", "")
            return int(connection.scalar(text(counted)) or 0)

    before = count_work()  # cancelled audits and those of other versions, of other tests

    def held() -> None:
        assert seen.wait(30)

    MODEL.before = held
    audits.submit(REQUEST, "counted")
    deadline = time.monotonic() + 30
    while count_work() != before + 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    seen.set()
    assert wait(audits, "counted")["state"] == "done"
    assert count_work() == before
    engine.dispose()


def test_progress_moves_within_a_step(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each evaluation is told of: before the attack, which is the second step, is done, a part of it is."""
    monkeypatch.setattr(workflows, "_TELL", 0.0)
    monkeypatch.setattr(workflows, "_POLL", 0.02)
    evaluations, seen = count(), threading.Event()

    def wait_in_the_middle() -> None:
        if next(evaluations) == 30:
            assert seen.wait(60)

    MODEL.before = wait_in_the_middle
    audits.submit({**REQUEST, "samples": 5, "attacks": [{"name": "square", "queries": 100}]}, "told")
    while (audit := audits.get("told"))["state"] not in FINISHED:
        progress = audit["progress"]
        share = (progress or {}).get("share") or 0  # None until an attack's first evaluation was told of
        if share and progress["done"] == 1 and 0 < share < 1 and progress["seconds_left"] > 0:
            seen.set()
        time.sleep(0.02)
    assert seen.is_set()
    assert audit["progress"]["share"] == 1
    assert audit["progress"]["seconds_left"] == 0


def rows(url: str) -> dict[str, int]:
    """How many rows each table of the job engine has that belong to a workflow."""
    engine = server_engine(url)
    schema = None if url.startswith("sqlite") else "dbos"
    columns = {"workflow_uuid", "destination_uuid"}
    with engine.connect() as connection:
        tables = MetaData(schema=schema)
        tables.reflect(connection)
        counts = {
            name: connection.scalar(select(func.count()).select_from(table)) or 0
            for name, table in tables.tables.items()
            if columns & set(table.columns.keys())
        }
    engine.dispose()
    return counts


def test_the_report_is_stored_once_and_a_purged_audit_leaves_nothing(audits: Audits, url: str) -> None:
    audits.submit(REQUEST, "kept")
    wait(audits, "kept")
    assert DBOS.list_workflows(workflow_ids=["kept"])[0].output is None
    assert max(rows(url).values()) > 0
    assert purge(DBOS, days=1) == 0
    assert purge(DBOS, days=0) > 0
    assert audits.list() == []
    assert set(rows(url).values()) == {0}


def test_a_shard_of_many_in_which_no_image_is_followed(audits: Audits, url: str) -> None:
    """Of 651 images every 27th is followed: none of those from 325 to 349."""
    del audits  # which has the engine running
    engine, serializer = server_engine(url), DBOSPortableJSONSerializer()
    client = DBOSClient(system_database_engine=engine, serializer=serializer, application_name=APPLICATION)
    options: Any = {"workflow_name": SHARD, "queue_name": SHARDS, "app_version": application_version(DIGEST)}
    handle: Any = client.enqueue(options, {"suite": "quick", "eps": "1/255"}, MANY, 13)
    handle.get_result()
    stages: dict[str, Any] = {
        step["function_name"]: step["output"] for step in DBOS.list_workflow_steps(handle.workflow_id)
    }
    assert stages["clean"]["attempted"] == list(range(325, 350))
    assert stages["iterations"]["attempted"] == stages["curve"]["attempted"] == []
    client.destroy()
    engine.dispose()


def test_shards_are_not_audits(audits: Audits) -> None:
    audits.submit(REQUEST, "parent")
    wait(audits, "parent")
    assert not any("/" in audit["id"] for audit in audits.list())
    for act in (audits.get, audits.cancel, audits.report):
        with pytest.raises(Problem) as caught:
            act("parent/0")
        assert caught.value.status == 404
    with pytest.raises(Problem) as caught:
        audits.submit(REQUEST, "parent/0")
    assert caught.value.status == 400


def test_a_shard_that_fails_stops_the_others_and_says_why(audits: Audits) -> None:
    def fail() -> None:
        raise ArithmeticError("the model is on fire")

    MODEL.before = fail
    audits.submit(REQUEST, "failing")
    audit = wait(audits, "failing")
    assert (audit["state"], audit["error"]) == ("failed", "the model is on fire")
    states = sorted(shards("failing").values())
    assert states[-1] == "ERROR"
    assert set(states) <= {"CANCELLED", "ERROR"}


TOO_LONG = f"it took more than {MAX_SECONDS} s of work, the limit set by F2AT_MAX_AUDIT_SECONDS"


def test_a_step_that_takes_too_long_fails_the_audit(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    late = 0

    def stall() -> None:
        nonlocal late
        late = MAX_SECONDS + 1

    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + late,
        time=time.time,
        sleep=lambda seconds: time.sleep(min(seconds, 0.1)),  # the parent's pauses depend on the clock as well
    )
    monkeypatch.setattr("f2at.serving.jobs.workflows.time", clock)
    MODEL.before = stall
    audits.submit(REQUEST, "stalled")
    audit = wait(audits, "stalled")
    assert (audit["state"], audit["error"]) == ("failed", TOO_LONG)
    assert shards("stalled")["stalled/0"] == "ERROR"


def test_shards_that_take_too_long_together_fail_the_audit(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(step=0.75 * MAX_SECONDS / len(open_audit("whole", REQUEST, DIGEST).shards[0]))
    monkeypatch.setattr("f2at.audit.plan.time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    audits.submit(REQUEST, "slow")
    audit = wait(audits, "slow")
    assert (audit["state"], audit["error"]) == ("failed", TOO_LONG)
    assert shards("slow")["slow/0"] == "SUCCESS", "it took three quarters of what was allowed"


def test_a_shard_that_kills_every_worker_fails_its_audit(audits: Audits, url: str) -> None:
    reached, release = threading.Event(), threading.Event()

    def hold() -> None:
        reached.set()
        release.wait(10)

    MODEL.before = hold
    audits.submit(REQUEST, "deadly")
    assert reached.wait(10)
    engine = server_engine(url)
    table = "workflow_status" if url.startswith("sqlite") else "dbos.workflow_status"
    with engine.begin() as connection:  # what the job engine records when the attempts are used up
        connection.execute(
            text(
                f"UPDATE {table} SET status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED', owner_xid = NULL "
                "WHERE workflow_uuid = 'deadly/0'"
            )
        )
    engine.dispose()
    audit = wait(audits, "deadly")
    release.set()
    assert (audit["state"], audit["error"]) == ("failed", "the worker crashed too often while running it")
    assert shards("deadly")["deadly/1"] == "CANCELLED"


def test_cancelling_stops_the_running_shard_and_the_queued_ones(audits: Audits) -> None:
    MODEL.before = lambda: time.sleep(0.05)
    audits.submit({**REQUEST, "attacks": [{"name": "square", "queries": 10_000}]}, "endless")
    deadline = time.monotonic() + 30
    while "PENDING" not in shards("endless").values():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    audits.cancel("endless")
    assert set(shards("endless").values()) == {"CANCELLED"}
    time.sleep(1)
    calls = MODEL.calls
    time.sleep(0.3)
    assert MODEL.calls == calls
    MODEL.before = lambda: None
    audits.submit(REQUEST, "next")  # both queues are free again
    assert wait(audits, "next")["state"] == "done"


def test_a_worker_that_stops_gives_back_what_it_is_just_taking(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last test: it stops the queues."""
    dbos = _get_dbos_instance()
    take, taking, stopping = dbos._sys_db.start_queued_workflows, threading.Event(), threading.Event()

    def take_slowly(queue: Any, *arguments: Any, **named: Any) -> Any:
        if queue.name == QUEUE:
            taking.set()
            assert stopping.wait(10)
            time.sleep(0.1)
        return take(queue, *arguments, **named)

    monkeypatch.setattr(dbos._sys_db, "start_queued_workflows", take_slowly)
    monkeypatch.setattr("dbos._queue.execute_dequeued_workflow", lambda *_: None)  # the process is about to end
    audits.submit(REQUEST, "handed-back")
    assert taking.wait(10)
    threading.Timer(0.1, stopping.set).start()
    requeue(dbos)
    time.sleep(0.5)
    assert [w.status for w in DBOS.list_workflows(workflow_ids=["handed-back"])] == ["ENQUEUED"]
