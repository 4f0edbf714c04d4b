"""A task has one living holder at a time, on one machine and across many."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from erasure_bench.bench.storage import claims as module
from erasure_bench.bench.storage import session
from erasure_bench.bench.storage.claims import ASKED_AT_ONCE, LEASE_SECONDS, Claims, OnDisk
from erasure_bench.bench.storage.store import Store, StoreError
from erasure_bench.bench.storage.upkeep import prune

HOLD = """
import os, sys
from pathlib import Path
from erasure_bench.bench.storage.claims import Claims, OnDisk
from erasure_bench.bench.storage.store import Store
claims = Claims(OnDisk(Store(Path(sys.argv[1])))).__enter__()
claims.look(), claims.look_for_dead()
print(claims.take("task"), flush=True)
sys.stdin.read(1)
os.kill(os.getpid(), 9)
"""


def holder(store: Path) -> subprocess.Popen[str]:
    """Another process that claims `task` and dies without a word when told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline().startswith("Claim")
    return process


def die(process: subprocess.Popen[str]) -> None:
    process.communicate("x")


def taken(claims: Claims, key: str = "task") -> bool:
    claims.look()
    claims.look_for_dead()
    return claims.take(key) is not None


def test_a_living_process_keeps_its_task_and_a_dead_one_loses_it_to_one_other(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with (
        Store(tmp_path) as store,
        Store(tmp_path) as other,
        Claims(OnDisk(store)) as ours,
        Claims(OnDisk(other)) as theirs,
    ):
        assert not taken(ours) and not ours.is_free("task") and "task" in ours.others
        die(process)
        for each in (ours, theirs):
            each.look()
            each.look_for_dead()
            assert each.is_free("task")
        claim = theirs.take("task")
        assert claim is not None and claim.after is not None and claim.after.startswith(f"{process.pid}-")
        assert ours.take("task") is None, "both saw it dead: only one has it"
        assert not taken(ours)
        theirs.release("task")
        assert list((tmp_path / module.FOLDER).iterdir()) == []
        assert taken(ours)


def test_what_is_claimed_again_and_again_goes_through_as_many_hands(tmp_path: Path) -> None:
    for _ in range(3):
        die(holder(tmp_path))
    assert [path.name for path in sorted((tmp_path / module.FOLDER).iterdir())] == [
        "task.0",
        "task.1",
        "task.2",
    ]


def test_another_machines_process_lives_while_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = holder(tmp_path)
    (lock,) = (tmp_path / "tmp").glob("*.lock")
    monkeypatch.setattr(session, "this_machine", lambda: "another machine")
    with Store(tmp_path) as store, Claims(OnDisk(store)) as claims:
        die(process)
        assert not taken(claims), "its kernel is another: only time tells"
        now = store.session.beat()
        os.utime(lock, (now, now - LEASE_SECONDS - 1))
        assert store.clean() == 0 and lock.exists(), "its drafts stay much longer than its claims"
        assert taken(claims)


def test_a_session_of_another_machine_is_rubbish_after_a_day(tmp_path: Path) -> None:
    die(holder(tmp_path))
    (lock,) = (tmp_path / "tmp").glob("*.lock")
    lock.write_text("another machine")
    with Store(tmp_path) as store:
        assert store.clean() == 0
        os.utime(lock, (0, 0))
        assert store.clean() == 1 and not lock.exists()


def test_prune_removes_the_claims_of_the_dead_alone(tmp_path: Path) -> None:
    with Store(tmp_path) as store, Claims(OnDisk(store)) as claims:
        assert taken(claims, "ours")
        die(holder(tmp_path))
        (gone,) = (size for size in prune(tmp_path, None, dry_run=False) if size.part == module.FOLDER)
        assert gone.entries == 1
        assert [path.name for path in (tmp_path / module.FOLDER).iterdir()] == ["ours.0"]


def test_prune_leaves_the_claim_of_a_run_that_begins_at_this_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just after it has looked who lives."""
    with ExitStack() as running, Store(tmp_path) as store:

        def begins(tmp: Path) -> list[Path]:
            found = session.sessions(tmp)
            assert running.enter_context(Claims(OnDisk(store))).take("task")
            return found

        (tmp_path / module.FOLDER).mkdir()
        monkeypatch.setattr(module, "sessions", begins)
        assert prune(tmp_path, None, dry_run=False) == []
        assert [path.name for path in (tmp_path / module.FOLDER).iterdir()] == ["task.0"]


def test_a_disk_without_links_lets_everyone_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object) -> None:
        raise PermissionError(1, "Operation not permitted", "elsewhere")

    monkeypatch.setattr(os, "symlink", refuse)
    with Store(tmp_path) as store, Claims(OnDisk(store)) as claims:
        assert taken(claims)


@pytest.mark.parametrize(("number", "said"), [(28, "the disk is full"), (13, "no permission to write")])
def test_a_disk_that_takes_no_claim_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(number, os.strerror(number), source, None, str(target))  # as the system names them

    with Store(tmp_path) as store, Claims(OnDisk(store)) as claims:
        monkeypatch.setattr(os, "symlink", full)
        with pytest.raises(StoreError, match=said):
            taken(claims)


def test_files_that_are_no_claims_do_no_harm(tmp_path: Path) -> None:
    with Store(tmp_path) as store, Claims(OnDisk(store)) as claims:
        (tmp_path / module.FOLDER / "notes.txt").write_text("?")
        (tmp_path / module.FOLDER / "task.7").write_text("?")
        claims.look()
        claims.look_for_dead()
        assert claims.others == {"task"}


def claimed_by(root: Path, session: str, keys: list[str]) -> None:
    (root / module.FOLDER).mkdir(parents=True, exist_ok=True)
    for key in keys:
        os.symlink(session, root / module.FOLDER / f"{key}.0")


def test_of_many_claims_a_few_are_asked_for_at_a_time_and_each_has_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a thousand workers would ask a network's disk a million times; and a dead one's must be found."""
    asked: list[str] = []
    read = OnDisk.read
    monkeypatch.setattr(
        OnDisk, "read", lambda self, name: asked.append(name.rpartition(".")[0]) or read(self, name)
    )
    living = [f"living {number}" for number in range(10 * ASKED_AT_ONCE)]
    with (
        Store(tmp_path) as store,
        Store(tmp_path) as other,
        Claims(OnDisk(store)) as claims,
        Claims(OnDisk(other)),
    ):
        claimed_by(tmp_path, other.session.name, living)
        claimed_by(tmp_path, "1234-gone", ["lost"])
        for _ in range(11):
            claims.look()
            before = len(asked)
            claims.look_for_dead()
            assert len(asked) - before <= ASKED_AT_ONCE
        assert set(asked) == {*living, "lost"}
        assert claims.is_free("lost") and not any(map(claims.is_free, living))


def test_every_claim_of_a_lost_cluster_is_free_at_one_look(tmp_path: Path) -> None:
    keys = [f"task {number}" for number in range(10 * ASKED_AT_ONCE)]
    for number, key in enumerate(keys):
        claimed_by(tmp_path, f"{number}-gone", [key])
    with Store(tmp_path) as store, Claims(OnDisk(store)) as claims:
        claims.look()
        claims.look_for_dead()
        assert all(map(claims.is_free, keys))


def test_what_is_claimed_while_a_round_goes_on_has_its_turn_too(tmp_path: Path) -> None:
    with (
        Store(tmp_path) as store,
        Store(tmp_path) as other,
        Claims(OnDisk(store)) as claims,
        Claims(OnDisk(other)),
    ):
        claimed_by(tmp_path, other.session.name, [f"a {number}" for number in range(3 * ASKED_AT_ONCE)])
        claims.look()
        claims.look_for_dead()
        claimed_by(tmp_path, "1234-gone", ["late"])
        looks = 0
        while not claims.is_free("late") or looks == 0:
            claims.look()
            claims.look_for_dead()
            looks += 1
            assert looks <= 7, "two rounds at most"
