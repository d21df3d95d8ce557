"""Workers: how much faster an audit is on two and four, and what becomes of it when they come, crash and freeze.

Every worker has one thread and the same share of a processor, less than a whole one, in a control group of its own. So
four of them fit on two cores, none is slowed down by the others, and the time of one is what each would need alone.
Every audit must have the report of an undisturbed offline run, apart from times. Linux, as root; with PostgreSQL:

    .ci/with-postgresql python -m benchmarks.workers zoo/cifar10-small
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import create_engine, text

from benchmarks.common import markdown_table, parser, publish
from benchmarks.faults import numbers
from benchmarks.serving import ROOT, started
from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.bundle import open_bundle
from f2at.images.sets.opening import open_labelled
from f2at.images.sets.store import FILE
from f2at.serving.process.family import Family

PERIOD = 100_000  # microseconds, of which a group gets its share
WEIGHT = 10_000  # of a group among those that want a processor: it gets its share, whatever else runs
TAKEOVER = 12  # seconds until the work of a silent worker is given to others
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def share_of_processor(share: float) -> Iterator[Path]:
    """A control group whose processes together get so much of one processor; write their ids to its `cgroup.procs`."""
    first = _V1 if _V1.is_dir() else _V2
    group = first / f"f2at-{uuid4().hex[:8]}"
    group.mkdir()
    try:
        if first == _V1:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(round(share * PERIOD)))
            (group / "cpu.shares").write_text(str(WEIGHT))
        else:
            (group / "cpu.max").write_text(f"{round(share * PERIOD)} {PERIOD}")
            (group / "cpu.weight").write_text(str(WEIGHT))
        yield group
    finally:
        group.rmdir()


class Worker:
    """An `f2at worker` with its own state and its own share of a processor.

    Attributes:
        name: by which the database knows it.
    """

    def __init__(self, bundle: Path, share: float, environment: Mapping[str, str]) -> None:
        with ExitStack() as stack:
            group = stack.enter_context(share_of_processor(share))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._log = folder / "log"
            own = {"F2AT_BUNDLE": str(bundle.absolute()), "F2AT_STATE": f"{folder}/state", "F2AT_AUDIT_THREADS": "1"}
            self._family = Family(
                [sys.executable, "-m", "f2at", "worker"],
                environment={**os.environ, **environment, **own},
                cwd=ROOT,
                output=stack.enter_context(self._log.open("wb")),
            )
            stack.callback(self._family.stop, signal.SIGKILL, 10)
            (group / "cgroup.procs").write_text(str(self._family.process.pid))
            self._stack = stack.pop_all()

    def wait(self) -> None:
        """Wait until it says that it is ready."""
        while "is ready" not in (log := self._log.read_text(errors="replace")):
            if self._family.process.poll() is not None:
                raise RuntimeError(f"a worker exited:\n{log[-4000:]}")
            time.sleep(0.1)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._family.process.send_signal(number)

    @property
    def seconds(self) -> float:
        """Processor time that it has used; 0 once it has ended."""
        try:
            fields = Path(f"/proc/{self._family.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def close(self) -> None:
        """End it, also if it is frozen."""
        self._stack.close()


@dataclass(frozen=True)
class Outcome:
    """One audit: how many seconds it ran, its workers' processor time, the shards that each did, and its numbers."""

    seconds: float
    worked: Sequence[float]
    shards: Sequence[int]
    numbers: str

    def idle(self, share: float) -> float:
        """Part of the processor time that the workers were given and did not use."""
        return 1 - sum(self.worked) / (share * self.seconds * len(self.worked))


class Deployment:
    """A server without a worker of its own, and the database that workers share."""

    def __init__(
        self, client: httpx.Client, bundle: Path, request: Mapping[str, Any], environment: Mapping[str, str]
    ) -> None:
        self._client, self._bundle, self._request, self._environment = client, bundle, request, environment

    def audit(self, workers: int, share: float) -> Outcome:
        """An audit by so many workers."""
        with ExitStack() as stack:
            crew = [self._hire(stack, share) for _ in range(workers)]
            for worker in crew:
                worker.wait()
            before = [worker.seconds for worker in crew]
            path = self._submit()
            while (audit := self._follow(path))["state"] != "done":
                time.sleep(0.25)
            worked = [worker.seconds - start for worker, start in zip(crew, before, strict=True)]
            return self._outcome(path, audit, worked)

    def disturbed(self, share: float) -> tuple[Outcome, list[str]]:
        """An audit that two workers begin; one is added, one is killed, and one frozen. Also what was done when."""
        done: list[str] = []
        with ExitStack() as stack:
            first, second = self._hire(stack, share), self._hire(stack, share)
            first.wait()
            second.wait()
            path = self._submit()
            events = [
                (0.15, "a third worker is started", lambda: self._hire(stack, share)),
                (0.35, "the first is killed (SIGKILL)", lambda: first.signal(signal.SIGKILL)),
                (0.60, "the second is frozen (SIGSTOP)", lambda: second.signal(signal.SIGSTOP)),
            ]
            while (audit := self._follow(path))["state"] != "done":
                progress = audit["progress"] or {"done": 0, "total": 1}
                if events and progress["done"] >= events[0][0] * progress["total"]:
                    _, what, act = events.pop(0)
                    act()  # type: ignore[no-untyped-call]
                    done.append(f"{what} at step {progress['done']} of {progress['total']}")
                time.sleep(0.1)
            return self._outcome(path, audit, []), done

    def _hire(self, stack: ExitStack, share: float) -> Worker:
        worker = Worker(self._bundle, share, {**self._environment, "F2AT_TAKEOVER": str(TAKEOVER)})
        stack.callback(worker.close)
        return worker

    def _submit(self) -> str:
        return str(self._client.post("/audits", json=self._request).raise_for_status().headers["location"])

    def _follow(self, path: str) -> dict[str, Any]:
        audit: dict[str, Any] = self._client.get(path).raise_for_status().json()
        if audit["state"] not in ("queued", "running", "done"):
            raise RuntimeError(f"the audit is {audit['state']}: {audit['error']}")
        return audit

    def _outcome(self, path: str, audit: Mapping[str, Any], worked: Sequence[float]) -> Outcome:
        report = self._client.get(f"{path}/report").raise_for_status().json()
        query = text(
            "SELECT count(*) FROM dbos.workflow_status WHERE name = 'shard' AND workflow_uuid LIKE :mine "
            "GROUP BY executor_id ORDER BY 1 DESC"
        )
        engine = create_engine(self._environment["F2AT_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            shards = connection.execute(query, {"mine": f"{audit['id']}/%"}).scalars().all()
        engine.dispose()
        return Outcome(audit["finished"] - audit["started"], worked, shards, numbers(report))


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    arguments.add_argument("--suite", default="quick", help="(default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=1000, help="images of an audit (default: %(default)s)")
    arguments.add_argument("--eps", default="8/255", help="(default: %(default)s)")
    arguments.add_argument("--share", type=float, default=0.4, help="of a processor, per worker (default: %(default)s)")
    arguments.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4], help="(default: 1 2 4)")
    arguments.add_argument("--data", type=Path, metavar="DIR", help="a folder for each class (default: the bundle's)")
    options = arguments.parse_args()
    server = os.environ.get("F2AT_TEST_POSTGRESQL")
    if not server:
        arguments.error("run it by .ci/with-postgresql, which sets F2AT_TEST_POSTGRESQL")
    database = f"{server}/postgres"
    request = {"suite": options.suite, "eps": options.eps, "samples": options.samples}
    place = None if options.data is None else str(options.data.resolve())
    environment = {"F2AT_DATABASE_URL": database, "F2AT_WORKER": "off", "F2AT_MAX_SAMPLES": str(options.samples)}
    environment |= {"F2AT_DATA": place} if place else {}
    command = ["-m", "f2at", "serve", str(options.bundle.absolute()), "--port", "{port}"]
    with started(command, environment=environment) as (client, _):
        asked = {**request, **({"data": place} if place else {})}
        deployment = Deployment(client, options.bundle, asked, environment)
        outcomes = {count: deployment.audit(count, options.share) for count in options.workers}
        disturbed, events = deployment.disturbed(options.share)
    data = None if place is None else open_labelled(f"{FILE}{place}")
    plan = open_bundle(options.bundle, threads=1).audit(data, AuditRequest(**request))
    offline = numbers(plan.report(run_audit(plan)))
    same = [outcome.numbers == offline for outcome in (*outcomes.values(), disturbed)]
    if not all(same):
        sys.exit(f"reports differ from the offline run: {same}")
    alone = outcomes[options.workers[0]].seconds * options.workers[0]
    rows = [
        (
            f"{count}",
            f"{outcome.seconds:.1f}",
            f"{alone / outcome.seconds:.2f}",
            f"{alone / outcome.seconds / count:.2f}",
            " + ".join(map(str, outcome.shards)),
            f"{100 * outcome.idle(options.share):.1f} %",
        )
        for count, outcome in outcomes.items()
    ]
    columns = ["workers", "seconds", "times as fast", "of ideal", "shards of each", "idle"]
    body = "\n".join(
        [
            f"One audit of {options.samples} images by `{options.suite}`, eps {options.eps}, of {options.bundle}, by "
            f"workers of one thread that each have {options.share:g} of a processor (control groups), one server and "
            "PostgreSQL beside them. Idle: the part of their processor time that the workers did not use.",
            "",
            markdown_table(columns, rows),
            "",
            f"Then one that two workers began ({disturbed.seconds:.1f} s in all, work of silent workers is taken over "
            f"after {TAKEOVER} s): {'; '.join(events)}. Shards of each that finished any: "
            f"{' + '.join(map(str, disturbed.shards))}.",
            "",
            f"All {len(same)} reports equal that of an undisturbed offline run, apart from times.",
        ]
    )
    flags = f"--suite {options.suite} --samples {options.samples} --eps {options.eps} --share {options.share:g}"
    flags += "" if options.data is None else " --data DIR"
    publish(
        "workers",
        f".ci/with-postgresql python -m benchmarks.workers {options.bundle} {flags}",
        body,
        ["bentoml", "dbos", "onnxruntime-gpu", "onnxruntime"],
        write=options.write,
    )


if __name__ == "__main__":
    main()
