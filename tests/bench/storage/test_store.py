"""The store: what is in it is whole, whoever is killed, whoever else writes, whatever the disk does."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from erasure_bench.bench.storage.store import DamagedEntry, Store, StoreError, apart

ID = "ab" + "0" * 62
ROOT = Path(__file__).resolve().parents[3]

WRITER = """
import sys, time
from pathlib import Path
from erasure_bench.bench.storage.store import Store
root, count = Path(sys.argv[1]), int(sys.argv[2])
with Store(root) as store:
    print("ready", flush=True)
    for number in range(count):
        with store.writing("generate", f"{number:02x}" + "0" * 62) as draft:
            for name in ("a.bin", "b.bin"):
                (draft.folder / name).write_bytes(bytes([number]) * 200_000)
            draft.about = {"number": number}
"""


def put(store: Store, content: bytes = b"data", task_id: str = ID) -> None:
    with store.writing("generate", task_id) as draft:
        (draft.folder / "a.bin").write_bytes(content)
        draft.about = {"seconds": 1}


def writer(root: Path, count: int = 40) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def check_whole(store: Store) -> int:
    """Every entry that lies in its place is whole; returns how many there are."""
    folders = list(store.root.glob("generate/*/*"))
    for folder in folders:
        assert store.has("generate", folder.name)
        entry = store.entry("generate", folder.name)
        assert entry.read("a.bin") == entry.read("b.bin") == bytes([entry.about["number"]]) * 200_000
    return len(folders)


def test_an_entry_comes_back_as_it_was_written(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert not store.has("generate", ID)
        put(store)
        assert store.has("generate", ID)
    entry = Store(tmp_path).entry("generate", ID)
    assert (entry.read("a.bin"), entry.about) == (b"data", {"seconds": 1})
    assert entry.folder == tmp_path / "generate" / "ab" / ID
    manifest = json.loads((entry.folder / "manifest.json").read_text())
    assert manifest["files"]["a.bin"]["bytes"] == 4


def test_looking_into_a_store_creates_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert not store.has("erase", ID)
    assert store.clean() == 0
    store.close()
    assert not (tmp_path / "none").exists()


def test_many_are_asked_for_at_once_with_the_same_answers(tmp_path: Path) -> None:
    said: list[str] = []
    store, other = Store(tmp_path, said.append), "cd" + "0" * 62
    assert store.lacking([("generate", ID)]) == {ID} and not any(tmp_path.iterdir())
    put(store)
    put(store, task_id=other)
    fresh = Store(tmp_path, said.append)
    near = ID[:-1] + "1"
    assert fresh.lacking([("generate", ID), ("generate", near), ("score", ID)]) == {near, ID}
    (fresh.folder("generate", other) / "a.bin").unlink()
    assert Store(tmp_path, said.append).lacking([("generate", ID), ("generate", other)]) == {other}
    assert len(said) == 1 and "counts as missing" in said[0]


def test_a_failed_write_leaves_no_entry_and_no_rubbish(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="halfway"), store.writing("generate", ID) as draft:
        (draft.folder / "a.bin").write_bytes(b"half")
        raise RuntimeError("halfway")
    assert not store.has("generate", ID)
    store.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_visibly_damaged_counts_as_missing_is_said_once_and_is_replaced(tmp_path: Path) -> None:
    put(Store(tmp_path))
    folder = tmp_path / "generate" / "ab" / ID
    for damage, why in (
        ((folder / "manifest.json").unlink, "manifest.json: No such file"),
        (lambda: (folder / "a.bin").write_bytes(b"da"), "a.bin is damaged (2 of 4 bytes)"),
        ((folder / "a.bin").unlink, "a.bin: No such file"),
        (lambda: (folder / "manifest.json").write_text("[]"), "manifest.json is damaged"),
    ):
        damage()
        said: list[str] = []
        store = Store(tmp_path, said.append)
        assert not store.has("generate", ID) and not store.has("generate", ID)
        (line,) = said
        assert why in line and line.endswith("it counts as missing") and "\n" not in line
        put(store)
        assert store.entry("generate", ID).read("a.bin") == b"data"
        store.close()


def test_any_character_of_a_manifest_that_means_something_is_bound(tmp_path: Path) -> None:
    put(Store(tmp_path))
    path = tmp_path / "generate" / "ab" / ID / "manifest.json"
    whole = path.read_bytes()
    meaning = json.loads(whole)
    noticed = 0
    for place in range(len(whole)):
        for bit in (0, 5):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            if Store(tmp_path, lambda line: None).has("generate", ID):
                assert json.loads(changed) == meaning, "only white space may change unseen"
            else:
                noticed += 1
    assert noticed > 1.5 * len(whole)


def test_an_entry_of_another_name_or_kind_is_not_taken(tmp_path: Path) -> None:
    store = Store(tmp_path, lambda line: None)
    put(store)
    other = "ab" + "1" * 62
    shutil.copytree(store.folder("generate", ID), store.folder("generate", other))
    shutil.copytree(store.folder("generate", ID), store.folder("erase", ID))
    assert not store.has("generate", other) and not store.has("erase", ID) and store.has("generate", ID)


def test_a_manifest_of_an_earlier_version_cannot_be_checked_and_counts_as_missing(tmp_path: Path) -> None:
    put(Store(tmp_path))
    path = tmp_path / "generate" / "ab" / ID / "manifest.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    path.write_text(json.dumps(content))
    said: list[str] = []
    assert not Store(tmp_path, said.append).has("generate", ID)
    assert "has no digest of its own" in said[0]


def test_a_changed_byte_is_noticed_and_the_entry_moved_aside(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(tmp_path, said.append)
    put(store)
    for read in (lambda entry: entry.read("a.bin"), lambda entry: entry.checked()):
        entry = store.entry("generate", ID)
        (entry.folder / "a.bin").write_bytes(b"datA")
        with pytest.raises(DamagedEntry, match="sha256 differs"):
            read(entry)
        assert not store.has("generate", ID) and not entry.folder.exists()
        put(store)
        assert store.entry("generate", ID).read("a.bin") == b"data"
    assert len(said) == len(list((tmp_path / "damaged").iterdir())) == 2


def test_a_damaged_entry_that_another_process_made_anew_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    store, other = Store(tmp_path, said.append), Store(tmp_path)
    put(store)
    entry = store.entry("generate", ID)
    (entry.folder / "a.bin").write_bytes(b"datA")
    put(other)
    with pytest.raises(DamagedEntry):
        raise entry.damaged("was read before the other had made it anew")
    assert said == [] and store.entry("generate", ID).read("a.bin") == b"data"


def test_a_disk_that_keeps_nothing_stops_the_run_in_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path, lambda line: None)
    with pytest.raises(StoreError, match="the disk does not keep what is written to it") as caught:
        for _ in range(10):
            put(store)
            entry = store.entry("generate", ID)
            (entry.folder / "a.bin").write_bytes(b"datA")
            with suppress(DamagedEntry):
                entry.read("a.bin")
    assert "--store" in str(caught.value) and "\n" not in str(caught.value)


def test_the_second_writer_of_one_entry_keeps_the_firsts(tmp_path: Path) -> None:
    first, second = Store(tmp_path), Store(tmp_path)
    with first.writing("generate", ID) as mine:
        (mine.folder / "a.bin").write_bytes(b"first")
        put(second, b"second")
    assert Store(tmp_path).entry("generate", ID).read("a.bin") == b"second"
    assert first.has("generate", ID)


def test_a_killed_writer_leaves_only_whole_entries_and_its_rubbish_is_removed(tmp_path: Path) -> None:
    pause = random.Random(0)
    entries = 0
    for _ in range(6):
        process = writer(tmp_path, count=60)
        time.sleep(pause.uniform(0.0, 0.12))
        process.kill()
        process.wait()
        now = check_whole(Store(tmp_path))
        assert now >= entries
        entries = now
    assert list((tmp_path / "tmp").glob("*.lock")), "a kill must have hit an open session"
    store = Store(tmp_path)
    assert store.clean() >= 1
    assert list((tmp_path / "tmp").iterdir()) == []
    assert check_whole(store) == entries


def test_cleaning_leaves_a_living_process_alone(tmp_path: Path) -> None:
    writing = Store(tmp_path)
    with writing.writing("generate", ID) as draft:
        (draft.folder / "a.bin").write_bytes(b"still here")
        assert Store(tmp_path).clean() == 0
        child = subprocess.run(
            [sys.executable, "-c", "import sys; from pathlib import Path; "
             "from erasure_bench.bench.storage.store import Store; "
             "sys.exit(Store(Path(sys.argv[1])).clean())", str(tmp_path)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert child.returncode == 0
    assert writing.entry("generate", ID).read("a.bin") == b"still here"


def test_two_processes_at_once_end_with_one_whole_store(tmp_path: Path) -> None:
    processes = [writer(tmp_path), writer(tmp_path)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert check_whole(Store(tmp_path)) == 40
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    """A really full file system needs root: the error is raised where it would come up."""
    store = Store(tmp_path)
    put(store)
    other = "cd" + "0" * 62
    with pytest.raises(StoreError) as caught, store.writing("generate", other):
        raise OSError(28, "No space left on device")
    assert "disk is full" in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert store.has("generate", ID) and not store.has("generate", other)


def test_a_full_disk_is_known_under_a_librarys_own_error(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(StoreError, match="disk is full"), store.writing("generate", ID):
        raise ValueError("I/O error: No space left on device (os error 28)")


def test_trouble_with_a_file_elsewhere_is_not_the_stores(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for number in (13, 28):
        with pytest.raises(OSError) as caught, store.writing("generate", ID):
            raise OSError(number, os.strerror(number), str(tmp_path / "elsewhere"))
        assert not isinstance(caught.value, StoreError)
        with pytest.raises(StoreError), store.writing("generate", ID):
            raise OSError(number, os.strerror(number), str(tmp_path / "store" / "file"))


def test_someone_elses_trouble_while_an_entry_is_written_is_not_the_stores(tmp_path: Path) -> None:
    """A network's number, or a library's words; but a file of the store's is the store's."""
    store = Store(tmp_path)
    for error in (OSError(110, "Connection timed out"), RuntimeError("No space left on device")):
        with pytest.raises(type(error)) as caught, store.writing("generate", ID), apart():
            raise error
        assert caught.value is error
    with pytest.raises(StoreError, match="disk is full"), store.writing("generate", ID), apart():
        raise OSError(28, "No space left on device", str(tmp_path / "tmp" / "file"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="no permission"):
        put(Store(tmp_path))


def test_an_interrupt_is_no_store_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Store(tmp_path).writing("generate", ID):
        raise KeyboardInterrupt
