"""Verifying finds all damage and only damage; pruning removes what it says and nothing that is needed."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.record import read_record, write_record
from erasure_bench.bench.storage.memory import remember
from erasure_bench.bench.storage.store import KINDS, Store
from erasure_bench.bench.storage.upkeep import places, prune, sizes, verify

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def root(fake: ModuleType, tmp_path: Path) -> Path:
    """The store of a run in `run`, with a remembered fact."""
    fake.run(fake.tiny_plan(), tmp_path / "store", tmp_path / "run")
    remember(tmp_path / "store" / "settings" / "note.json", {"a": 1})
    return tmp_path / "store"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def test_every_file_is_read(root: Path) -> None:
    files = [path for path in root.rglob("*") if path.is_file()]
    count, damaged = verify(root, move=False)
    assert damaged == [] and count == sum(1 for _ in places(root)) + 1
    for path in files:
        whole = path.read_bytes()
        flip(path)
        _, (found,) = verify(root, move=False)
        assert found.id == (path.stem if found.kind == "settings" else path.parent.name)
        path.write_bytes(whole)


def test_the_command_moves_damage_aside_and_the_next_run_mends_it(
    fake: ModuleType, root: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert run_command(["store", "verify", "--store", str(root)]) == 0
    assert ", 0 damaged" in capsys.readouterr().out
    picture = min(root.glob("generate/*/*/000.png"))
    flip(picture)
    flip(root / "settings" / "note.json")
    for words, code in ((["--dry-run", "--json"], 1), (["--json"], 1), (["--json"], 0)):
        assert run_command(["store", "verify", "--store", str(root), *words]) == code
        document = json.loads(capsys.readouterr().out)
        found = [(damage["kind"], damage["why"]) for damage in document["damaged"]]
        assert (
            found
            == [("generate", "000.png is damaged (sha256 differs)"), ("settings", "it is damaged")][
                : 2 * code
            ]
        )
    worker = fake.FakeWorker(Store(root))
    fake.run(fake.tiny_plan(), root, tmp_path / "run", worker)
    assert worker.calls == [picture.parent.name]
    flip(min(root.glob("score/*/*/scores.parquet")))
    assert run_command(["store", "verify", "--store", str(root)]) == 1
    printed = capsys.readouterr().out
    assert "1 damaged; moved aside" in printed and "scores.parquet is damaged" in printed


def test_an_entry_in_anothers_place_is_damage(root: Path) -> None:
    folder = min(root.glob("generate/*/*"))
    folder.rename(folder.with_name("ab" + "0" * 62))
    _, (found,) = verify(root, move=False)
    assert found.kind == "generate"


def test_a_fact_that_cannot_be_read_is_damage_and_hides_none(root: Path, capsys: Captured) -> None:
    (root / "paces").mkdir()
    (root / "paces" / "a.json").mkdir()
    (root / "paces" / "gone.json").symlink_to("nowhere")
    flip(root / "settings" / "note.json")
    assert run_command(["store", "verify", "--store", str(root), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["damaged"]
    assert [(damage["id"], damage["why"]) for damage in found] == [
        ("note", "it is damaged"),
        ("a", "it cannot be read: Is a directory"),
    ]


def test_sizes_are_those_of_the_files(root: Path, capsys: Captured) -> None:
    found = {size.part: size for size in sizes(root)}
    assert set(found) == {*KINDS, "settings"}
    for kind in KINDS:
        assert found[kind].entries == len(list(root.glob(f"{kind}/*/*")))
    assert sum(size.bytes for size in found.values()) == sum(
        path.stat().st_size for path in root.rglob("*") if path.is_file()
    )
    assert run_command(["store", "size", "--store", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"] == sum(size.bytes for size in found.values())
    assert run_command(["store", "size", "--store", str(root)]) == 0
    assert "pictures" in capsys.readouterr().out


def test_pruning_keeps_what_a_run_needs_and_nothing_else(
    fake: ModuleType, root: Path, tmp_path: Path, capsys: Captured
) -> None:
    small = fake.tiny_plan(RunConfig(suite="tiny", methods=("dim",), concepts=("red ball",)))
    fake.run(small, root, tmp_path / "small")
    before = {place.id for place in places(root)}
    needed = {task.id for task in small.tasks}
    checkpoints = [root / "progress" / name[:2] / name for name in ("a" * 64, small.cells[0].erase.id)]
    for folder in checkpoints:
        folder.mkdir(parents=True)
        (folder / "train-1.json").write_text("{}")
    words = ["store", "prune", "--store", str(root), "--keep", str(tmp_path / "small"), "--json"]
    assert run_command([*words, "--dry-run"]) == 0
    would = json.loads(capsys.readouterr().out)
    assert {place.id for place in places(root)} == before
    assert {"part": "progress", "entries": 1, "bytes": 2} in would["parts"]
    assert all(folder.exists() for folder in checkpoints)

    assert run_command(words) == 0

    assert json.loads(capsys.readouterr().out) == would and would["bytes"] > 0
    after = {place.id for place in places(root)}
    # A score of the other concept that is of the same pictures stays with them.
    assert needed <= after and {place.id for place in places(root) if place.kind != "score"} <= needed
    assert sum(part["entries"] for part in would["parts"]) == len(before - after) + 1 > len(before) / 3
    assert [folder.exists() for folder in checkpoints] == [False, True]
    worker = fake.FakeWorker(Store(root))
    fake.run(small, root, tmp_path / "again", worker)
    assert worker.calls == []
    assert (tmp_path / "again" / "scores.parquet").read_bytes() == (
        tmp_path / "small" / "scores.parquet"
    ).read_bytes()


@pytest.mark.parametrize("concepts", [("red ball",), ("blue-cube>red-ball",)])
def test_pruning_keeps_what_attacks_and_erasures_in_turn_need(
    fake: ModuleType, tmp_path: Path, capsys: Captured, concepts: tuple[str, ...]
) -> None:
    """The tries, the unrelated concept's edit, the edits that came before, and what was learnt from them."""
    config = RunConfig(suite="tiny", methods=("dim",), concepts=concepts)
    attacks = (fake.attack("search", 2, "chance"), fake.attack("chance", 2))
    plan, root, run = fake.tiny_plan(config, attacks=attacks), tmp_path / "store", tmp_path / "run"
    fake.run(plan, root, run)
    others = {task.id for task in plan.tasks if task.kind == "erase"} - {cell.erase.id for cell in plan.cells}
    assert others
    with Store(root) as store:
        for number, base in enumerate((*others, "c" * 64)):
            with store.writing("cache", str(number) * 64) as draft:
                draft.about = {"base": base}
    words = ["store", "prune", "--store", str(root), "--keep", str(run)]
    assert run_command(words) == 0
    after = {place.id for place in places(root)}
    assert {task.id for task in plan.tasks} <= after
    learnt = {place.id[0] for place in places(root) if place.kind == "cache"}
    assert learnt == {str(number) for number in range(len(others))}

    record = read_record(run)
    for cell in record["cells"]:
        del cell["besides"]
    write_record(run, record)
    capsys.readouterr()
    assert run_command(words) == 3
    assert "an earlier version wrote it" in capsys.readouterr().err
    assert {place.id for place in places(root)} == after


def test_pruning_without_a_run_to_keep_removes_only_rubbish(root: Path) -> None:
    before = {place.id for place in places(root)}
    store = Store(root, lambda line: None)
    entry = store.entry("generate", min(root.glob("generate/*/*")).name)
    flip(entry.folder / "000.png")
    entry.damaged("000.png is damaged")
    cut = min(root.glob("score/*/*/scores.parquet"))
    cut.write_bytes(b"PAR1")
    (root / "settings" / ".note.0123456789ab.json").write_text("half")
    begun = root / "progress" / "aa" / ("a" * 64)
    begun.mkdir(parents=True)
    code = (
        "import os, sys; from pathlib import Path; from erasure_bench.bench.storage.store import Store\n"
        "scratch = Store(Path(sys.argv[1])).scratch()\n"
        "(scratch / 'half').write_text('x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(root)], check=False)

    gone = {size.part: size.entries for size in prune(root, None, dry_run=True)}
    assert gone == {"tmp": 1, "damaged": 1, "settings": 1, "score": 1}
    prune(root, None, dry_run=False)
    assert {place.id for place in places(root)} == before - {entry.id, cut.parent.name}
    assert list((root / "tmp").iterdir()) == [] and not (root / "damaged").exists()
    assert [path.name for path in (root / "settings").iterdir()] == ["note.json"] and begun.exists()


def test_nothing_is_pruned_under_a_living_run_or_for_a_run_of_another_store(
    fake: ModuleType, root: Path, tmp_path: Path, capsys: Captured
) -> None:
    before = {place.id for place in places(root)}
    words = ["store", "prune", "--store", str(root), "--keep"]
    with Store(root) as living:
        living.scratch()
        assert run_command([*words, str(tmp_path / "run")]) == 3
        assert "is in use" in capsys.readouterr().err
    fake.run(fake.tiny_plan(), tmp_path / "other", tmp_path / "elsewhere")
    assert run_command([*words, str(tmp_path / "elsewhere")]) == 3
    assert "its pictures are not in" in capsys.readouterr().err
    assert {place.id for place in places(root)} == before


def test_a_store_that_is_not_there_is_one_line(tmp_path: Path, capsys: Captured) -> None:
    for command in ("verify", "size", "prune"):
        assert run_command(["store", command, "--store", str(tmp_path / "none")]) == 3
        said = capsys.readouterr().err
        assert "there is no store" in said and said.count("\n") == 1
    assert not (tmp_path / "none").exists()
