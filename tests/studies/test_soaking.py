"""The soak tests themselves can fail: they notice what they are there to notice."""

import random
import shutil
from pathlib import Path

import pytest

from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError
from studies import soak_damage, soak_faults, soak_kill
from studies.soaking import Fingerprint, finished, report


def put(root: Path, number: int, seconds: float) -> None:
    with Store(root, lambda line: None) as store, store.writing("erase", f"{number:064x}") as draft:
        (draft.folder / "edit.json").write_text("{}")
        draft.about = {"seconds": seconds}


def test_a_kill_that_loses_rewrites_or_halves_an_entry_is_noticed(tmp_path: Path) -> None:
    store = tmp_path / "killed" / "store"
    soak = soak_kill.Soak(tmp_path, seed=0)
    put(store, 1, 1.0)
    before = finished(store)
    put(store, 2, 1.0)
    soak._check(before)
    assert soak.resumed == 1

    entry = Store(store).folder("erase", f"{1:064x}")
    shutil.rmtree(entry)
    with pytest.raises(AssertionError, match="not the same after"):
        soak._check(before)
    put(store, 1, 2.0)
    with pytest.raises(AssertionError, match="not the same after"):
        soak._check(before)
    (entry / "edit.json").write_text("{")
    with pytest.raises(AssertionError, match="half-written and visible"):
        soak._check({})


def test_each_damage_damages(tmp_path: Path) -> None:
    path = tmp_path / "file"
    whole = bytes(range(50))
    for seed in range(20):
        chance = random.Random(seed)
        for damage in (soak_damage.BYTE, soak_damage.CUT, soak_damage.GONE):
            path.write_bytes(whole)
            damage.do(path, chance)
            assert not path.exists() or path.read_bytes() != whole
            if damage is soak_damage.BYTE:
                assert sum(a != b for a, b in zip(path.read_bytes(), whole, strict=True)) == 1


def test_what_is_made_from_a_damaged_entry_is_what_names_it(tmp_path: Path) -> None:
    put(tmp_path, 1, 1.0)
    with Store(tmp_path) as store:
        for number, erase in ((2, 1), (3, 4)):
            with store.writing("generate", f"{number:064x}") as draft:
                draft.about = {"erase": f"{erase:064x}"}
        edit = store.folder("erase", f"{1:064x}") / "edit.json"
        assert list(soak_damage._made_from(tmp_path, edit)) == [store.folder("generate", f"{2:064x}")]


def test_a_report_says_by_what_and_on_what_it_was_made(tmp_path: Path) -> None:
    report(tmp_path / "page.md", "A title", "python -m it", ["n = 3"], [["a", "b"], [1, 2]])
    text = (tmp_path / "page.md").read_text()
    assert "Made by `python -m it` on 20" in text and "cores" in text and "torch" in text
    assert text.endswith("- n = 3\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n")


@pytest.mark.parametrize(
    ("ended", "noticed"),
    [(["a", "b", "a"], "finished twice"), (["a"], "1 of 2 tasks"), (["a", "b"], "run.json")],
)
def test_a_fault_that_loses_or_repeats_a_task_or_gives_no_results_is_noticed(
    tmp_path: Path, ended: list[str], noticed: str
) -> None:
    def fault(place: soak_faults.Place, chance: random.Random, tasks: int) -> bool:
        place.journal.write_text("".join(f"begin {task}\nend {task}\n" for task in ended))
        return False

    expected = Fingerprint("", "", {}, {})
    with pytest.raises((AssertionError, BenchError), match=noticed):
        soak_faults.one(tmp_path, "a fault", fault, random.Random(0), expected, tasks=2)
