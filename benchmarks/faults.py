"""Faults: processes of a server are killed at random moments while audits run, and no audit may be affected.

Every audit must finish exactly once, with the report of an undisturbed run (apart from times). The victims and the
pauses between them follow from the seed.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import make_url

from benchmarks.common import markdown_table, parser, publish
from benchmarks.serving import ROOT, processes
from f2at.audit import AuditRequest, run_audit
from f2at.audit.opening.bundle import open_bundle
from f2at.audit.reports.report import deterministic_part
from f2at.serving.process.launch import free_port, is_ready, launch

VICTIMS = ("arbiter", "server process", "audit worker")  # as `benchmarks.serving.processes` names them
SEEDS = 3  # different audits
MOST = 49  # audits in all: GET /audits lists the latest 50


class FaultError(AssertionError):
    """An audit was affected, or the server did not recover."""


@dataclass
class Outcome:
    """What was observed in a run."""

    kills: list[str] = field(default_factory=list)  # what was killed, in order
    audits: dict[str, int] = field(default_factory=dict)  # seed of each audit, by its key
    answers: Counter[str] = field(default_factory=Counter)  # status codes, and "none": the connection broke
    steps: int = 0  # of all audits together, finished so far
    started: dict[str, float] = field(default_factory=dict)  # when each audit was, once its worker has told of it


class Deployment:
    """A server that is restarted on the state of the previous one."""

    def __init__(self, bundle: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self._command = [sys.executable, "-m", "f2at", "serve", str(bundle.absolute()), "--port", "{port}"]
        self._port = free_port()
        self._environment = {
            **os.environ,
            "BENTOML_HOME": f"{folder}/bentoml",
            "F2AT_STATE": f"{folder}/state",
            "F2AT_AUDIT_THREADS": "1",
            **environment,
        }
        self._log = folder / "log"
        self.start()
        self.client = httpx.Client(base_url=self._server.url, timeout=20)

    def start(self) -> None:
        """Start; does not wait until it is ready."""
        self._server = launch(
            self._command, port=self._port, cwd=ROOT, environment=self._environment, log=self._log, ready=None
        )

    def pids(self) -> dict[str, int]:
        """The ids of the processes running now, by role."""
        try:
            return dict(processes(self._server.process.pid))
        except OSError:  # one exited meanwhile
            return {}

    def kill(self, victim: str) -> bool:
        """Kill -9 a process, if it is running; without its arbiter the whole server must exit, and is restarted."""
        found = self.pids()
        if victim not in found:
            return False
        try:
            os.kill(found[victim], signal.SIGKILL)
        except ProcessLookupError:
            return False
        if victim == "arbiter":
            self._server.process.wait()
            wait_for(lambda: not self._server.family.pids(), 60, "nothing is left of a server without its arbiter")
            self._server.stop()
            self.start()
        return True

    def wait(self, what: str) -> None:
        """Wait until the server is ready.

        Raises:
            FaultError: it exited, or is not ready within two minutes; `what` it should do, and the end of its log.
        """
        main = self._server.process
        try:
            wait_for(lambda: main.poll() is not None or is_ready(self.client), 120, what)
            if main.returncode is not None:
                raise FaultError(f"it exited with status {main.returncode}: {what}")
        except FaultError as error:
            raise FaultError(f"{error}\n{self._log.read_text(errors='replace')[-4000:]}") from None

    def stop(self) -> None:
        """Stop the server.

        Raises:
            FaultError: it does not exit on SIGTERM.
        """
        self.client.close()
        if not self._server.stop():
            raise FaultError("the server did not exit within a minute of SIGTERM")


def run(
    bundle: Path,
    request: Mapping[str, Any],
    folder: Path,
    *,
    kills: int,
    seed: int,
    pause: float,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Kill `kills` processes while audits of `request` run, on average `pause` seconds apart, and check every report.

    Every second kill also waits until a step has finished since the previous kill, so that audits are hit at every
    stage, however slowly the machine starts processes.

    Raises:
        FaultError: an audit was lost, doubled, failed or changed.
    """
    draw, outcome = random.Random(seed), Outcome()
    deployment = Deployment(bundle, folder, environment or {})
    try:
        deployment.wait("the server starts")
        while len(outcome.kills) < kills:
            until, steps = time.monotonic() + draw.uniform(0, 2 * pause), outcome.steps
            patience = until + (120 if len(outcome.kills) % 2 else 0)
            while time.monotonic() < until or (outcome.steps == steps and time.monotonic() < patience):
                _keep_busy(deployment.client, request, outcome)
                time.sleep(0.3)
            victim = draw.choice(VICTIMS)
            wait_for(lambda victim=victim: deployment.kill(victim), 120, f"{victim} is running")  # type: ignore[misc]
            outcome.kills.append(victim)
        deployment.wait("the server is ready again")
        _check(deployment.client, outcome, _undisturbed(bundle, request))
    finally:
        deployment.stop()
    return outcome


def _keep_busy(client: httpx.Client, request: Mapping[str, Any], outcome: Outcome) -> None:
    """Keep two audits running while the server is reachable; retry submissions that may have got through."""
    try:
        answer = client.get("/audits")
        outcome.answers[str(answer.status_code)] += 1
        if answer.status_code != 200:
            return
        audits = answer.json()["audits"]
        outcome.steps = _steps(audits)
        for audit in audits:
            if audit["progress"] and outcome.started.setdefault(audit["id"], audit["started"]) != audit["started"]:
                raise FaultError(f"audit {audit['id']} says that it started at another time than before")
        states = {audit["id"]: audit["state"] for audit in audits}
        if len(outcome.audits) < MOST and sum(state in ("queued", "running") for state in states.values()) < 2:
            seed = len(outcome.audits) % SEEDS
            key = f"audit-{len(outcome.audits)}"
            answer = client.post("/audits", json={**request, "seed": seed}, headers={"Idempotency-Key": key})
            outcome.answers[str(answer.status_code)] += 1
            if answer.status_code in (200, 202):
                outcome.audits[key] = seed
    except httpx.TransportError:
        outcome.answers["none"] += 1


def _steps(audits: list[dict[str, Any]]) -> int:
    return sum(audit["progress"]["done"] for audit in audits if audit["progress"])


def _check(client: httpx.Client, outcome: Outcome, undisturbed: list[str]) -> None:
    def audits() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get("/audits").raise_for_status().json()["audits"]
        return found

    wait_for(lambda: all(a["state"] not in ("queued", "running") for a in audits()), 600, "every audit ends")
    found = audits()
    outcome.steps = _steps(found)
    states = {audit["id"]: audit["state"] for audit in found}
    # The last one may have been accepted without an answer.
    if set(states) - {f"audit-{len(outcome.audits)}"} != set(outcome.audits) or len(states) != len(found):
        raise FaultError(f"submitted {sorted(outcome.audits)}, found {sorted(audit['id'] for audit in found)}")
    if any(state != "done" for state in states.values()):
        raise FaultError(f"not every audit is done: {states}")
    for key, seed in outcome.audits.items():
        if numbers(client.get(f"/audits/{key}/report").raise_for_status().json()) != undisturbed[seed]:
            raise FaultError(f"the report of {key} is not that of an undisturbed run")
    if unexpected := {code for code in outcome.answers if code[0] in "45" and code != "503"}:
        raise FaultError(f"the server answered {sorted(unexpected)}")


def _undisturbed(bundle: Path, request: Mapping[str, Any]) -> list[str]:
    """The numbers of the audits without server, worker or database."""
    model = open_bundle(bundle, threads=1)
    plans = [model.audit(None, AuditRequest(**{**request, "seed": seed})) for seed in range(SEEDS)]
    return [numbers(plan.report(run_audit(plan))) for plan in plans]


def numbers(report: Mapping[str, Any]) -> str:
    """What two reports of the same audit share: everything but times and machines, as one text."""
    return json.dumps(deterministic_part(report), sort_keys=True)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `condition` holds.

    Raises:
        FaultError: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise FaultError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


def backend(database: str | None) -> str:
    """The kind of database that a URL names; without one, a server uses SQLite."""
    return make_url(database).get_backend_name() if database else "sqlite"


def main() -> None:
    arguments = parser(__doc__)
    arguments.formatter_class = argparse.RawDescriptionHelpFormatter
    arguments.add_argument("bundle", type=Path, help="folder of the bundle to serve")
    arguments.add_argument("--kills", type=int, default=20, help="(default: %(default)s)")
    arguments.add_argument("--seed", type=int, default=0, help="of victims and pauses (default: %(default)s)")
    arguments.add_argument("--pause", type=float, default=5.0, help="mean seconds between kills (default: %(default)s)")
    arguments.add_argument("--samples", type=int, default=100, help="images of an audit (default: %(default)s)")
    arguments.add_argument("--database", metavar="URL", help="default: SQLite")
    options = arguments.parse_args()
    request = {"suite": "quick", "eps": "8/255", "samples": options.samples}
    environment = {"F2AT_DATABASE_URL": options.database} if options.database else {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(
            options.bundle,
            request,
            Path(folder),
            kills=options.kills,
            seed=options.seed,
            pause=options.pause,
            environment=environment,
        )
    kind = backend(options.database)
    killed = Counter(outcome.kills)
    body = "\n".join(
        [
            f"One server on {kind}, killed again and again (`kill -9`, seed {options.seed}) while `quick` audits of "
            f"{options.samples} images ran, two at a time. Every audit finished, none was lost or "
            "duplicated, and every report equals that of an undisturbed offline run, apart from times.",
            "",
            markdown_table(
                ["", ""],
                [
                    *[(f"kills of the {victim}", f"{killed[victim]}") for victim in VICTIMS],
                    ("audits submitted, done, equal to the undisturbed run", f"{len(outcome.audits)}"),
                    ("their steps", f"{outcome.steps}"),
                    ("answers meanwhile", _counts(outcome.answers)),
                    ("seconds in all", f"{time.monotonic() - started:.0f}"),
                ],
            ),
        ]
    )
    flags = f"--kills {options.kills} --seed {options.seed} --pause {options.pause:g} --samples {options.samples}"
    flags += " --database URL" if options.database else ""
    name = "faults" if kind == "sqlite" else f"faults-{kind}"
    publish(
        name, f"python -m benchmarks.faults {options.bundle} {flags}", body, ["bentoml", "dbos"], write=options.write
    )


def _counts(answers: Counter[str]) -> str:
    codes = ", ".join(f"{count} x {code}" for code, count in sorted(answers.items()) if code != "none")
    return f"{codes}; {answers['none']} connections broken or refused"


if __name__ == "__main__":
    main()
