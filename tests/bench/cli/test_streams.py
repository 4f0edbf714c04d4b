"""Whatever becomes of stdout and stderr: no traceback, no lost result, an exit code that is true."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.cli.streams import LOOK_ALIKE

BENCH = [sys.executable, "-m", "erasure_bench"]
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """What `bench` in a shell's line does, its exit code being the line's last."""
    line = command.replace("bench", " ".join(BENCH))
    run = subprocess.run(["bash", "-c", line], capture_output=True, env=os.environ | environment, timeout=120)
    assert b"Traceback" not in run.stderr and b"Exception ignored" not in run.stderr, run.stderr.decode()
    return run


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_an_encoding_lacks_is_replaced(encoding: str) -> None:
    run = shell("bench run --help", PYTHONIOENCODING=encoding)
    assert run.returncode == 0 and len(run.stdout.decode(encoding)) > 2000


def printed(encoding: str, *arguments: str) -> bytes:
    """What `bench ARGUMENTS` puts on a stdout of this encoding."""
    raw = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, errors=LOOK_ALIKE))
        assert run_command(list(arguments)) == 0
        sys.stdout.flush()
        return raw.getvalue()


def test_a_card_is_readable_in_ascii_and_its_json_exact() -> None:
    assert not printed("utf-8", "show", "esd-x").isascii()
    assert b"eta" in printed("ascii", "show", "esd-x")
    plain, in_ascii = (printed(encoding, "show", "esd-x", "--json") for encoding in ("utf-8", "ascii"))
    assert not plain.isascii() and in_ascii.isascii()
    assert json.loads(plain) == json.loads(in_ascii)


def test_the_posix_locale_is_enough() -> None:
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    run = shell("bench run --help", **bare)
    assert run.returncode == 0 and run.stdout.isascii()


def test_a_reader_that_leaves_and_a_closed_stdout_are_no_trouble() -> None:
    assert shell("bench list suites --json | head -c 1; exit ${PIPESTATUS[0]}").returncode == 0
    closed = shell("bench list suites >&-")
    assert (closed.returncode, closed.stdout, closed.stderr) == (0, b"", b"")
    assert shell("bench list nothing 2>&-").returncode == 3


@needs_full
def test_a_full_disk_behind_stdout_is_one_line_and_an_exit_code() -> None:
    run = shell("bench list suites >/dev/full")
    assert run.returncode == 1
    assert len(run.stderr.splitlines()) == 1 and b"stdout" in run.stderr and b"No space left" in run.stderr
    assert shell("bench list nothing 2>/dev/full").returncode == 3


def test_a_byte_that_is_no_utf8_and_an_escape_are_shown() -> None:
    run = shell("bench table $'x\\e[31m'; bench run --out $'caf\\xe9'", PYTHONIOENCODING="utf-8")
    assert run.returncode == 3 and len(run.stderr.splitlines()) == 2
    assert b"\x1b" not in run.stderr and b"x\\x1b[31m" in run.stderr
    assert b"caf\\xe9" in run.stderr and b"no UTF-8" in run.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_command_as_ctrl_c_does(number: signal.Signals, tmp_path: Path) -> None:
    """Its `finally` parts run, and the last line is the same; only the exit code says which it was."""
    script = f"""
import signal, sys, time
from pathlib import Path
from erasure_bench.bench.cli import app
from erasure_bench.bench.cli.commands import catalogue
signal.signal(signal.SIGINT, signal.default_int_handler)
def long_work(kind, *, as_json):
    here = Path({str(tmp_path)!r})
    try:
        (here / "begun").touch()
        time.sleep(60)
    finally:
        (here / "tidied").touch()
catalogue.list_kind = long_work
sys.argv = ["bench", "list", "methods"]
app.main()
"""
    run = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    try:
        for _ in range(600):
            if (tmp_path / "begun").exists():
                break
            time.sleep(0.05)
        run.send_signal(number)
        _, said = run.communicate(timeout=30)
    finally:
        run.kill()
    assert run.returncode == 128 + number
    assert (tmp_path / "tidied").exists()
    assert said.decode() == "bench: stopped; what is finished is kept: the same command goes on from here\n"


def test_the_version_is_one_line() -> None:
    run = shell("bench --version")
    assert run.returncode == 0 and len(run.stdout.splitlines()) == 1
    assert all(word in run.stdout for word in (b"erasure-bench", b"Python", b"torch"))
