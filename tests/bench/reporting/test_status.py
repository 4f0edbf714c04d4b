"""`bench status`: a run is told of while another process does it, when it was killed, and when it is done."""

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import EraseTask, Task
from erasure_bench.bench.reporting.completing import complete
from erasure_bench.bench.reporting.results import write_results
from erasure_bench.bench.reporting.status import MARK, MethodStatus, status_of
from erasure_bench.bench.running.estimating import Left
from erasure_bench.bench.running.journal import FOLDER, LOCK, Journal, is_held, journal_of
from erasure_bench.bench.running.progress import Quiet
from erasure_bench.bench.running.together import Together
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from tests.bench.fake_run import FakeWorker, tiny_plan


class Stop(Exception):
    """Ends a run between two tasks."""


class StopsAfter(Quiet):
    def __init__(self, tasks: int, error: BaseException) -> None:
        self.left, self.error = tasks, error

    def finished(self, task: Task, *, well: bool) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


def run(plan: Plan, folder: Path, *others: Quiet, break_on: type[Task] | None = None) -> None:
    """A run as `bench run` does it: the journal is there until the results are."""
    with Store(folder / "store") as store, journal_of(folder / "run", plan, store) as journal:
        journal.left = lambda: Left({"score": 75.0}, ("esd-x",))
        worker = FakeWorker(store)
        if break_on is not None:
            worker.break_on = lambda task: isinstance(task, break_on) and "strength" in str(_settings(task))
        outcome, results = complete(plan, worker, store, lambda: Together((journal, *others)))
        write_results(folder / "run", plan, results, {"execution": {"seconds": outcome.seconds}}, store)


def _settings(task: Task) -> object:
    return task.settings if isinstance(task, EraseTask) else ""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[int]:
    """Another process that has begun a run, and does no more."""
    read, write = os.pipe()
    plan = tiny_plan()
    pid = os.fork()
    if pid == 0:
        try:
            with Store(tmp_path / "store") as store, journal_of(tmp_path / "run", plan, store) as journal:
                journal.begin(plan.tasks)
                journal.working_on(plan.cells[0], plan.cells[0].generate[0])
                journal.images(3)
                journal.end = lambda: None  # type: ignore[method-assign]
                os.write(write, b"x")
                time.sleep(600)
        finally:
            os._exit(0)
    assert os.read(read, 1) == b"x"
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_run_is_told_of_while_another_process_does_it_and_when_that_was_killed(
    child: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status = status_of(tmp_path / "run")
    assert (status.state, status.process) == ("running", child)
    assert status.active <= time.time()
    assert [(row.done, row.open, row.tasks_done) for row in status.methods] == [(0, 2, 0), (0, 2, 0)]
    monkeypatch.chdir(tmp_path)
    assert run_command(["status", "run"]) == 0
    assert "tiny 1 on fake: running" in capsys.readouterr().out
    assert run_command(["status", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["process"] == child

    os.kill(child, signal.SIGKILL)
    while status_of(tmp_path / "run").state == "running":
        time.sleep(0.01)
    assert "without a word" in str(status_of(tmp_path / "run").why)
    assert run_command(["status", "run"]) == 1
    assert "The same bench run again goes on from here." in capsys.readouterr().out


def test_a_run_that_begins_while_somebody_looks_has_its_journal(tmp_path: Path) -> None:
    place = tmp_path / FOLDER
    place.mkdir()
    handle = os.open(place / LOCK, os.O_CREAT | os.O_RDONLY, 0o444)
    fcntl.flock(handle, fcntl.LOCK_SH)
    over = threading.Timer(0.1, os.close, [handle])
    over.start()
    journal = Journal(place)
    journal.open()
    over.join()
    assert journal.is_open
    journal.close(None)


def test_a_run_is_told_of_to_those_who_may_only_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's was told to have been killed."""
    journal = Journal(tmp_path / FOLDER)
    journal.open()
    really = os.open

    def only_to_read(path: Path, flags: int, *mode: int) -> int:
        if flags != os.O_RDONLY:
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, flags, *mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", only_to_read)
        assert is_held(tmp_path / FOLDER) and is_held(tmp_path / FOLDER)
    journal.close("it was interrupted")
    assert not is_held(tmp_path / FOLDER)


def test_a_run_of_which_nothing_was_measured_is_not_told_to_be_at_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tiny_plan()
    store = Store(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt), journal_of(tmp_path / "run", plan, store) as journal:
        journal.left = lambda: Left({"erase": 0.0}, ("none", "clip"))
        journal.begin(plan.tasks)
        raise KeyboardInterrupt
    assert status_of(tmp_path / "run").left_seconds is None
    assert run_command(["status", str(tmp_path / "run")]) == 1
    assert "left: not measured on this machine yet: none, clip\n" in capsys.readouterr().out


def test_an_interrupted_run_says_what_the_store_has_of_it(tmp_path: Path) -> None:
    plan = tiny_plan()
    with pytest.raises(KeyboardInterrupt):
        run(plan, tmp_path, StopsAfter(9, KeyboardInterrupt()))
    status = status_of(tmp_path / "run")
    assert (status.state, status.why, status.doing) == ("interrupted", "it was interrupted", None)
    base, dim = status.methods
    assert (base.done, base.open, base.failed) == (1, 1, 0), "the first of its cells has 7 tasks"
    assert (dim.done, dim.open, dim.tasks_done) == (0, 2, 0)
    assert base.tasks_done == 9 and base.tasks == 12, "what cells share is counted once"
    assert (base.images_done, base.images) == (40, 40)
    assert (status.left_seconds, status.left_unknown) == (75.0, ("esd-x",))

    run(plan, tmp_path)
    assert not (tmp_path / "run" / FOLDER).exists()
    assert status_of(tmp_path / "run").state == "finished"


def test_a_disk_that_is_full_is_told_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        run(tiny_plan(), tmp_path, StopsAfter(2, Stop("the disk\nis full")))
    assert status_of(tmp_path / "run").why == "the disk is full"


def test_a_failure_is_told_while_the_run_goes_on_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tiny_plan()
    with pytest.raises(Stop):
        run(plan, tmp_path, StopsAfter(14, Stop("stop")), break_on=EraseTask)
    going_on = status_of(tmp_path / "run")
    (why,) = going_on.failures
    assert (why.method, why.stage) == ("dim", "erase") and "this erase task is broken" in why.reason
    assert [row.failed for row in going_on.methods] == [0, 1]

    run(plan, tmp_path, break_on=EraseTask)
    status = status_of(tmp_path / "run")
    assert status.state == "finished" and status.left_seconds == 0.0
    assert status.methods[1] == MethodStatus("dim", 0, 2, 0, None, None, 0, None)
    monkeypatch.chdir(tmp_path)
    assert run_command(["status", "run"]) == 1
    said = capsys.readouterr().out
    assert "failed: dim · red ball · seed 0: erase: RuntimeError: this erase task is broken" in said


def test_a_second_process_in_the_same_folder_leaves_the_first_ones_journal_alone(
    child: int, tmp_path: Path
) -> None:
    with pytest.raises(Stop):
        run(tiny_plan(), tmp_path, StopsAfter(3, Stop("the second")))
    status = status_of(tmp_path / "run")
    assert (status.state, status.process) == ("running", child)


def test_a_journal_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FOLDER).write_text("a file in its place")
    run(tiny_plan(), tmp_path)
    assert status_of(tmp_path / "run").state == "finished"


def test_what_is_no_run_and_what_another_version_wrote_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BenchError):
        status_of(tmp_path)
    (tmp_path / FOLDER).mkdir()
    (tmp_path / MARK).write_text('{"format": "erasure-bench status 9"}')
    with pytest.raises(BenchError, match="format: Input should be 'erasure-bench status 1'"):
        status_of(tmp_path)
