"""`bench view`: files of one folder, to this machine alone, until Ctrl-C."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.site.serving import HOST, serving


@pytest.fixture
def port(site: Path) -> Iterator[int]:
    with serving(site, 0) as served:
        thread = threading.Thread(target=served.forever)
        thread.start()
        yield int(served.address.rsplit(":", 1)[1].strip("/"))
        served.stop()
        thread.join()


def ask(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", path, headers={"Host": host or f"{HOST}:{port}"})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_it_gives_the_report_and_nothing_around_it(port: int, site: Path) -> None:
    assert ask(port, "/") == (200, (site / "index.html").read_bytes())
    assert ask(port, "/assets/report.css")[0] == 200
    for path in ("/assets/", "/../run.json", "/%2e%2e/%2e%2e/etc/passwd", "/nothing"):
        assert ask(port, path)[0] == 404


def test_it_answers_to_no_other_name(port: int) -> None:
    """A page of somewhere else may point its name here: the browser would let it read the answer."""
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example"):
        assert ask(port, "/", host)[0] == 403
    for host in (f"localhost:{port}", "localhost", HOST):
        assert ask(port, "/", host)[0] == 200


def test_it_listens_on_this_machine_alone(port: int) -> None:
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(2)
        other.connect(("127.0.0.2", port))


def test_a_taken_port_is_said(port: int, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["view", str(site), "--port", str(port)]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"--port {port}" in error and "or 0" in error


def test_ctrl_c_ends_it_cleanly_and_leaves_nothing(finished: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "erasure_bench", "view", str(finished), "--port", "0"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:
        with urlopen(address, timeout=10) as answer:
            assert b"erasure-bench" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in error and "ended" in error
    assert list(tmp_path.iterdir()) == []
