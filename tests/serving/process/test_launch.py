"""Servers as processes: small ones of the standard library, and f2at's own where it refuses to start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from f2at.serving.client import Client
from f2at.serving.process.launch import LaunchError, free_port, is_ready, launch, running_server

REPOSITORY = Path(__file__).parents[3]
# Answers 200 to /readyz, after saying so on both streams.
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
print("hello", flush=True)
print("from", sys.argv[2:], file=sys.stderr, flush=True)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
COMMAND = [sys.executable, "-c", SERVER, "{port}"]


def environ(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[:-1]


def test_it_is_ready_while_it_is_used_and_gone_afterwards(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("from before\n")
    with launch([*COMMAND, "here"], log=log, cwd=tmp_path, environment={"A": "b"}) as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        assert server.process.poll() is None
        assert server.seconds > 0
        assert Path(f"/proc/{server.process.pid}/cwd").resolve() == tmp_path
        variables = dict(word.split(b"=") for word in environ(server.process.pid))
        assert variables.pop(b"F2AT_FAMILY")
        assert variables == {b"A": b"b"}
    assert server.process.returncode == -signal.SIGTERM
    assert log.read_text().startswith("from before\nhello\nfrom ['here']\n")
    with httpx.Client(base_url=server.url) as client:
        assert not is_ready(client)


def test_it_ends_with_the_block_that_uses_it() -> None:
    with pytest.raises(KeyError), launch(COMMAND) as server:
        raise KeyError
    assert server.process.returncode == -signal.SIGTERM
    assert server.stop()  # again


def test_it_listens_where_it_is_told_to() -> None:
    port = free_port()
    with launch(COMMAND, port=port) as server:
        assert server.url == f"http://127.0.0.1:{port}"


def test_one_that_ends_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("from before\n")
    code = "import sys\nfor n in range(1000): print('line', n)\nsys.exit('no disk')"
    with pytest.raises(LaunchError) as raised:
        launch([sys.executable, "-c", code], log=log)
    first, *tail = str(raised.value).split("\nline ")
    assert first.startswith("the server exited with status 1 before it was ready: ")
    assert tail[-1] == "999\nno disk"
    assert len(tail) < 20
    with pytest.raises(LaunchError) as raised:
        launch([sys.executable, "-c", "print('the only line')"], log=log)
    assert str(raised.value).endswith("\nthe only line")
    assert "no disk" not in str(raised.value)  # an earlier server's


def test_one_that_is_not_ready_in_time_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(60)"
    with pytest.raises(LaunchError, match="not ready in time"):
        launch([sys.executable, "-c", code], patience=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_one_that_ignores_sigterm_is_killed() -> None:
    server = launch(
        [sys.executable, "-c", f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN){SERVER}", "{port}"]
    )
    begun = time.monotonic()
    assert not server.stop(patience=0.5)
    assert time.monotonic() - begun < 10
    assert server.process.returncode == -signal.SIGKILL


def test_it_can_be_waited_for_in_another_way() -> None:
    asked: list[int] = []

    def third_time(client: httpx.Client) -> bool:
        asked.append(1)
        return len(asked) == 3

    with launch(COMMAND, ready=third_time):
        assert len(asked) == 3
    with launch([sys.executable, "-c", "import time; time.sleep(60)"], ready=None) as server:
        assert server.process.poll() is None


@pytest.mark.slow
def test_a_bundle_is_served(tmp_path: Path) -> None:
    environment = {"F2AT_WORKER": "off", "BENTOML_HOME": str(tmp_path / "bentoml"), "PYTHONPATH": str(REPOSITORY)}
    with running_server(REPOSITORY / "zoo" / "cifar10-small", environment=environment, cwd=tmp_path) as server:
        with Client(server.url) as client:
            assert client.model()["classes"][0] == "airplane"
        assert (tmp_path / ".f2at").is_dir()


@pytest.mark.slow
def test_a_bundle_that_cannot_be_served_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"status 2 before it was ready[^\n]+\nf2at serve: .*there is no such folder"):
        running_server(tmp_path / "none")


@pytest.mark.slow
def test_importing_it_needs_no_server() -> None:
    code = "import sys; sys.modules['bentoml'] = None; import f2at.serving.process.launch as l; assert l.running_server"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
