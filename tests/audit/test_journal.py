import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f2at.audit import Audit, perform
from f2at.audit.journal import Journal
from f2at.audit.reports.report import deterministic_part
from f2at.audit.steps import Step
from tests.audit.grey import grey_audit

DISTANCES = [1 + i % 12 for i in range(30)]
ROOT = Path(__file__).parents[2]


class StopError(Exception):
    pass


def small(**request: Any) -> Audit:
    return grey_audit(DISTANCES, **{"suite": "quick", **request})


def stop_after(count: int) -> object:
    seen: list[Step] = []

    def progress(step: Step) -> None:
        seen.append(step)
        if len(seen) == count:
            raise StopError

    return progress


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("half_a_line", [False, True])
def test_an_audit_goes_on_where_it_stopped_to_the_same_report(count: int, half_a_line: bool, tmp_path: Path) -> None:
    path = tmp_path / "report.unfinished"
    with pytest.raises(StopError):
        perform(small(), journal=Journal(path, small()), progress=stop_after(count))  # type: ignore[arg-type]
    if half_a_line:  # as a full disk or a kill leaves it
        with path.open("a") as file:
            file.write('{"shard": 0, "stage": "squ')
    journal = Journal(path, small())
    assert len(journal) == count
    ran: list[Step] = []
    run = Audit.run

    def counted(self: Audit, step: Step, *rest: object) -> object:
        ran.append(step)
        return run(self, step, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Audit, "run", counted)
        report = perform(small(), journal=journal)
    assert ran == list(small().steps[count:])
    assert deterministic_part(report) == deterministic_part(perform(small()))
    assert json.loads(path.read_text().splitlines()[0]) == {"audit": small().fingerprint}
    journal.delete()
    assert not path.exists()


def test_another_audit_does_not_take_its_steps(tmp_path: Path) -> None:
    path = tmp_path / "report.unfinished"
    perform(small(), journal=Journal(path, small()))
    for other in (small(seed=1), small(eps="4/255"), grey_audit(DISTANCES[::-1], suite="quick")):
        with pytest.raises(ValueError, match=r"report\.unfinished has the steps of another audit"):
            Journal(path, other)
    assert len(Journal(path, small())) == len(small().steps)
    assert len(Journal(path, small(seed=1), anew=True)) == 0
    path.write_bytes(b"\x00\xff\n")
    with pytest.raises(ValueError, match="another audit"):
        Journal(path, small())


def test_two_runs_of_an_audit_at_a_time_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "report.unfinished"
    first, second = Journal(path, small()), Journal(path, small())
    perform(small(), journal=first)
    second.keep({"shard": 0, "stage": "clean"})
    first.delete()
    second.keep({"shard": 0, "stage": "fgsm"})
    second.delete()
    assert not path.exists()
    assert len(second) == 2


def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        Journal(tmp_path / "none/report.unfinished", small())
    with pytest.raises(OSError, match="Is a directory"):
        Journal(tmp_path, small())


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """The command itself, on the model in zoo/, interrupted twice and finished, against one that ran through."""

    def command(name: str) -> list[str]:
        model = str(ROOT / "zoo/cifar10-small")
        audit = [sys.executable, "-m", "f2at", "audit", model, "--samples", "125", "--threads", "1"]
        return [*audit, "--suite", "quick", "--no-curve", "--output", str(tmp_path / f"{name}.json")]

    unfinished, report = tmp_path / "stopped.unfinished", tmp_path / "stopped.json"
    kept = 0
    for _ in range(2):
        with subprocess.Popen(command("stopped"), cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            while not unfinished.exists() or len(unfinished.read_bytes().splitlines()) < kept + 2:
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, words = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in words
        last = words.splitlines()[-1]
        kept = len(unfinished.read_bytes().splitlines()) - 1
        expected = f"f2at audit: interrupted: {kept} of 30 steps are kept; the same command goes on from there"
        assert last.endswith(expected)
        assert not report.exists()
    for name in ("stopped", "whole"):
        subprocess.run(command(name), cwd=ROOT, check=True, capture_output=True)
    assert not unfinished.exists()
    stopped, whole = (json.loads((tmp_path / f"{name}.json").read_bytes()) for name in ("stopped", "whole"))
    assert deterministic_part(stopped) == deterministic_part(whole)
    assert np.isclose(stopped["run"]["total_seconds"], sum(stopped["run"]["seconds"].values()))
