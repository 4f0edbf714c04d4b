"""Checkpoints on disk: a kill at any moment, damage and a second process lose time at the most."""

import errno
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from erasure_bench.bench.storage.checkpoints import StoreCheckpoints, remove_finished
from erasure_bench.bench.storage.store import Store
from erasure_bench.methods.edit import Edit

ID = "ab" + 62 * "0"
STATE = {"step": 7, "losses": [0.5, 0.25], "weights": {"a": torch.arange(6.0).reshape(2, 3)}, "none": None}
_SPEC = importlib.util.spec_from_file_location(
    "killed_training", Path(__file__).with_name("killed_training.py")
)
assert _SPEC is not None and _SPEC.loader is not None
killed_training = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(killed_training)
ROOT = Path(__file__).resolve().parents[3]


def kept(store: Store, state: dict[str, object] = STATE, every: float = 0.0) -> StoreCheckpoints:
    checkpoints = StoreCheckpoints(store, ID, every)
    checkpoints.draft("training-1", state)({"loss": 1.5})
    return checkpoints


def files(store: Store) -> list[Path]:
    return sorted(path for path in (store.root / "progress").rglob("*") if path.is_file())


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        kept(store)
        found = StoreCheckpoints(store, ID).load("training-1")
        assert found is not None and found.expected == {"loss": 1.5}
        assert torch.equal(found.state["weights"]["a"], STATE["weights"]["a"])  # type: ignore[index]
        assert {**found.state, "weights": None} == {**STATE, "weights": None}
        assert StoreCheckpoints(store, ID).load("training-2") is None
        assert StoreCheckpoints(store, "cd" + ID[2:]).load("training-1") is None


def test_a_draft_counts_only_when_it_is_kept_and_replaces_the_earlier_one(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        checkpoints = kept(store)
        keep = checkpoints.draft("training-1", STATE | {"step": 8})
        found = checkpoints.load("training-1")
        assert found is not None and found.state["step"] == 7
        keep({})
        found = checkpoints.load("training-1")
        assert found is not None and found.state["step"] == 8
        assert len(files(store)) == 2, "the earlier state is gone"
        checkpoints.clear()
        assert not (tmp_path / "progress").exists()


def test_damage_anywhere_is_as_if_nothing_had_been_kept(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        kept(store)
        state, note = files(store)
        assert (note.suffix, state.suffix) == (".json", ".pt")
        pick = random.Random(0)
        for path in (note, state):
            whole = path.read_bytes()
            for _ in range(40):
                broken = bytearray(whole)
                broken[pick.randrange(len(whole))] ^= 1 << pick.randrange(7)
                path.write_bytes(bytes(broken))
                found = StoreCheckpoints(store, ID).load("training-1")
                if found is not None:  # JSON has more than one spelling for some numbers
                    assert path == note and json.loads(broken) == json.loads(whole)
            for cut in (b"", whole[: len(whole) // 2]):
                path.write_bytes(cut)
                assert StoreCheckpoints(store, ID).load("training-1") is None
            path.unlink()
            assert StoreCheckpoints(store, ID).load("training-1") is None
            path.write_bytes(whole)
            assert StoreCheckpoints(store, ID).load("training-1") is not None


def test_short_work_keeps_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("erasure_bench.bench.storage.checkpoints.time.perf_counter", lambda: now[0])
    with Store(tmp_path) as store:
        checkpoints = StoreCheckpoints(store, ID)
        assert not checkpoints.due()
        now[0] += 599
        assert not checkpoints.due()
        now[0] += 1
        assert checkpoints.due()


def test_writing_takes_a_twentieth_of_the_time_at_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("erasure_bench.bench.storage.checkpoints.time.perf_counter", lambda: now[0])

    def slowly(state: object, path: Path) -> None:
        now[0] += 60
        path.write_bytes(b"state")

    monkeypatch.setattr(torch, "save", slowly)
    with Store(tmp_path) as store:
        checkpoints = kept(store, every=600)
        now[0] += 1199
        assert not checkpoints.due()
        now[0] += 1
        assert checkpoints.due()


def test_seconds_add_up_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("erasure_bench.bench.storage.checkpoints.time.perf_counter", lambda: now[0])
    with Store(tmp_path) as store:
        for before in (0.0, 30.0):
            checkpoints = StoreCheckpoints(store, ID, 0)
            checkpoints.load("training-1")
            assert checkpoints.seconds == before
            now[0] += 30
            checkpoints.draft("training-1", STATE)({})
        last = StoreCheckpoints(store, ID, 0)
        last.load("training-1")
        assert last.seconds == 60.0


def test_a_full_disk_stops_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(state: object, path: Path) -> None:
        raise OSError(28, "No space left on device")

    with Store(tmp_path) as store:
        kept(store)
        monkeypatch.setattr(torch, "save", full)
        kept(store, STATE | {"step": 8})
        found = StoreCheckpoints(store, ID).load("training-1")
        assert found is not None and found.state["step"] == 7


@pytest.mark.parametrize("number", [errno.EROFS, errno.EPERM, errno.ESTALE])
def test_a_store_that_takes_nothing_at_all_stops_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Not even the first folder, as where it is read-only or its network is silent."""

    def refuse(store: Store) -> Path:
        raise OSError(number, os.strerror(number), str(tmp_path / "tmp"))

    monkeypatch.setattr(Store, "scratch", refuse)
    kept(Store(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_a_kill_left_of_finished_work_is_removed(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        kept(store)
        remove_finished(store)
        assert files(store)
        with store.writing("erase", ID):
            pass
        remove_finished(store)
        assert not (tmp_path / "progress").exists()


def test_two_processes_at_the_same_edit_leave_a_whole_checkpoint(tmp_path: Path) -> None:
    with Store(tmp_path) as store, Store(tmp_path) as other:
        keep, keep_other = (
            StoreCheckpoints(one, ID).draft("training-1", STATE | {"step": step})
            for one, step in ((store, 8), (other, 9))
        )
        keep({})
        keep_other({})
        found = StoreCheckpoints(store, ID).load("training-1")
        assert found is not None and found.state["step"] == 9
        StoreCheckpoints(store, ID).clear()
        StoreCheckpoints(other, ID).draft("training-1", STATE)({})
        assert StoreCheckpoints(other, ID).load("training-1") is not None


@pytest.mark.slow
def test_a_killed_training_makes_the_same_edit(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real process and SIGKILL: SA with its pictures, its Fisher, AdamW and averages."""

    def make(name: str) -> list[str]:
        with Store(tmp_path / name) as store:
            killed_training.main(tiny_model_dir, store)
        return capsys.readouterr().out.splitlines()

    everything = make("whole")
    assert len(everything) == 2 + 3 + 12, "pictures twice, Fisher samples, steps"
    command = [sys.executable, killed_training.__file__, str(tiny_model_dir), str(tmp_path / "killed")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    pick = random.Random()
    said = [process.stdout.readline() for _ in range(pick.randint(3, 12))]
    time.sleep(pick.uniform(0, 0.02))
    process.kill()
    said += process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == -9, "it was killed before it was done"

    rest = make("killed")
    assert len(everything) <= len(said) + len(rest) <= len(everything) + 4, "nothing much was done twice"
    edits = [Edit.load(tmp_path / name / "edit") for name in ("whole", "killed")]
    assert edits[0].losses == edits[1].losses
    assert edits[0].tensors.keys() == edits[1].tensors.keys() != set()
    assert all(torch.equal(edits[1].tensors[name], tensor) for name, tensor in edits[0].tensors.items())
