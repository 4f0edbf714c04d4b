"""Claims in a bucket: one living holder at a time among machines that share nothing else."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from erasure_bench.bench.storage import bucket_claims
from erasure_bench.bench.storage.bucket_claims import SESSIONS, ClaimsInBoth, InBucket, claims_of
from erasure_bench.bench.storage.claims import FOLDER, Claim, Claims, OnDisk, TaskClaims
from erasure_bench.bench.storage.remote import Remote, RemoteAway
from erasure_bench.bench.storage.two_levels import TwoLevelStore

stores = pytest.importorskip("obstore.store")


class Machines:
    """Any number of machines, each with a disk of its own, and one bucket (in this process' memory)."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack, self._bucket = folder, stack, stores.MemoryStore()
        self.remote = self._remote()
        self.said: list[str] = []

    def store(self, name: str) -> TwoLevelStore:
        remote = self._remote()
        return self._stack.enter_context(TwoLevelStore(self._folder / name, remote, self.said.append))

    def claims(self, name: str) -> TaskClaims:
        return self._stack.enter_context(claims_of(self.store(name)))

    def crashed(self, name: str, *keys: str) -> None:
        """One that claimed these and was never heard of again; its disk is lost with it."""
        claims = Claims(InBucket(self.store(name)))
        claims._place.open()
        for key in keys:
            assert taken(claims, key)

    def there(self, folder: str) -> list[str]:
        return sorted(name for name, _ in self.remote.notes(folder))

    def _remote(self) -> Remote:
        remote = Remote("s3://bucket/folder")
        remote._opened = self._bucket
        return remote


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.setattr(bucket_claims, "LISTED_SECONDS", 0.0)
    with ExitStack() as stack:
        yield Machines(tmp_path, stack)


def taken(claims: TaskClaims, key: str = "task") -> Claim | None:
    claims.look()
    claims.look_for_dead()
    return claims.take(key)


def test_a_task_has_one_holder_among_machines_without_a_common_disk(machines: Machines) -> None:
    one, two = machines.claims("one"), machines.claims("two")
    two.look()
    assert taken(one)
    assert two.is_free("task"), "it has not looked since"
    assert two.take("task") is None, "the bucket tells that another was quicker"
    assert not two.is_free("task") and "task" in two.others
    assert taken(two, "another")
    one.release("task")
    assert taken(two)
    two.release("task"), two.release("another")
    assert machines.there(FOLDER) == []


def test_two_processes_of_one_machine_share_by_its_disk_as_well(machines: Machines) -> None:
    one, two = machines.claims("same"), machines.claims("same")
    assert taken(one) and taken(two) is None
    one.release("task")
    assert taken(two)


def test_a_crashed_machines_claim_expires_and_one_other_has_it(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.crashed("gone", "task")
    one, two = machines.claims("one"), machines.claims("two")
    assert taken(one) is None and taken(two) is None, "it may be alive"
    monkeypatch.setattr(bucket_claims, "LEASE_SECONDS", 0.2)
    time.sleep(0.3)
    for each in (one, two):
        each.look()
        each.look_for_dead()
        assert each.is_free("task")
    claim = two.take("task")
    assert claim is not None and claim.after is not None, "the next holder is told of the dead one"
    assert one.take("task") is None, "both saw it dead: only one has it"
    two.release("task")
    assert machines.there(FOLDER) == [], "the dead one's claim goes too"


def test_a_living_machine_keeps_its_task_for_longer_than_a_lease(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_claims, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(bucket_claims, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr("erasure_bench.bench.storage.claims.BEAT_SECONDS", 0.1)
    one, two = machines.claims("one"), machines.claims("two")
    assert taken(one)
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        assert taken(two) is None
        time.sleep(0.05)


def test_what_the_dead_left_is_removed_when_the_run_is_done(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.crashed("gone", "task", "another run's")
    monkeypatch.setattr(bucket_claims, "LEASE_SECONDS", 0.1)
    time.sleep(0.2)
    machines.claims("one").remove_dead({"task"})
    assert machines.there(FOLDER) == ["another run's.0"]
    monkeypatch.setattr(bucket_claims, "LONG_SILENT", 0.1)
    machines.claims("two")
    assert not [name for name in machines.there(SESSIONS) if "gone" in name]


def test_an_ended_process_leaves_nothing_and_its_claims_are_free(machines: Machines) -> None:
    with claims_of(machines.store("one")) as one:
        assert taken(one)
    assert machines.there(FOLDER) == machines.there(SESSIONS) == []
    assert taken(machines.claims("two"))


def away(*given: object) -> None:
    raise RemoteAway("no answer")


def back(claims: TaskClaims) -> None:
    """The bucket is there again, for this process too."""
    assert isinstance(claims, ClaimsInBoth)
    place = claims._far._place
    assert isinstance(place, InBucket)
    place._store._away_until = 0.0


def test_while_the_bucket_is_away_everyone_goes_on_and_takes_nobodys_claim_away(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machines.claims("one"), machines.claims("two")
    with monkeypatch.context() as patched:
        patched.setattr(Remote, "note_once", away)
        assert taken(one) and len(machines.said) == 1 and "is away" in machines.said[0]
    assert taken(two)
    back(one)
    one.release("task")
    assert machines.there(FOLDER) == ["task.0"], "that one is the other's"


def test_a_claim_whose_answer_was_lost_is_given_up_with_the_task(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machines.claims("one")
    made = Remote.note_once

    def carried_out(*given: str) -> bool:
        made(*given)
        raise RemoteAway("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Remote, "note_once", carried_out)
        assert taken(one)
    assert machines.there(FOLDER) == ["task.0"]
    back(one)
    one.release("task")
    assert machines.there(FOLDER) == []


def test_after_a_silence_as_of_a_dead_one_its_claims_count_again(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that slept: others hold its old name for dead, and must not take all that it claims anew."""
    monkeypatch.setattr(bucket_claims, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(bucket_claims, "BEAT_SECONDS", 0.1)
    one, two = machines.claims("one"), machines.claims("two")
    assert taken(one)
    time.sleep(0.3)
    assert taken(two), "it slept"
    one.look_for_dead()
    assert one.take("new")
    assert taken(two, "new") is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [(lambda *given: True, "lets two put"), (away, "no answer")],
    ids=["overwrites", "knows no such request"],
)
def test_a_server_that_cannot_tell_who_was_first_is_said_once_and_shares_nothing(
    answer: Callable[..., bool], why: str, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remote, "note_once", answer)
    store = machines.store("one")
    with claims_of(store) as one, claims_of(machines.store("two")) as two:
        assert taken(one) and taken(two)
        assert not store.is_left_alone, "entries are still exchanged"
    assert [why in line for line in machines.said] == [True, True]
    assert machines.there(FOLDER) == []


def test_objects_that_are_no_claims_do_no_harm(machines: Machines) -> None:
    for name in ("notes.txt", "task.x", "task.7"):
        machines.remote.note(f"{FOLDER}/{name}", "?")
    claims = machines.claims("one")
    claims.look()
    claims.look_for_dead()
    assert claims.others == {"task"}


def test_a_store_without_a_bucket_has_claims_on_its_disk_alone(tmp_path: Path) -> None:
    from erasure_bench.bench.storage.store import Store

    with Store(tmp_path) as store, claims_of(store) as claims:
        assert isinstance(claims, Claims) and isinstance(claims._place, OnDisk)
