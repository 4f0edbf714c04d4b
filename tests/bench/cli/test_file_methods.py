"""A user's file in a run: its row, its options, its ids, and rows that would be mistaken for each other."""

import json
from pathlib import Path

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.planning.chosen import ChosenMethod, check_unchanged, choose_method, row_name
from erasure_bench.bench.planning.tasks import EraseTask
from erasure_bench.errors import BenchError
from erasure_bench.foreign import sources
from erasure_bench.prompt_suites.concepts import Concept

METHOD = """
from dataclasses import dataclass

from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.edit import new_edit
from erasure_bench.models.guidance import ClassifierFree


@dataclass(frozen=True, kw_only=True)
class Mine:
    words: str = "a tree"

    def erase(self, model, concepts, context):
        return new_edit("mine", self, model, concepts, guidance=ClassifierFree(self.words))


CARD = MethodCard(name="my-card", title="", paper="", formula="", build=Mine, many_concepts=True)
BASE = MethodCard(name="none", title="", paper="", formula="", build=Mine)
"""
CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="animal")
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The method's file in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_STORE", raising=False)
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    return path


def tiny_run(tiny_model_dir: Path, methods: str, *more: str) -> list[str]:
    words = "run --suite microworld-instances --concepts grumpy-cat --evaluators nudity --limit 1 --json"
    where = ["--model", str(tiny_model_dir), "--out", "out", "--store", "store"]
    return [*words.split(), "--methods", methods, *where, *more]


def choose(method: str = "./mine.py:Mine", **options: str) -> ChosenMethod:
    return choose_method(method, "official", options, Path("memory"))


def erase_id(chosen: ChosenMethod) -> str:
    return EraseTask(
        method=chosen.name,
        settings_class=chosen.settings_class,
        settings=chosen.settings,
        code=chosen.code,
        base="0" * 64,
        concepts=(CONCEPT,),
        seed=0,
        dtype="float32",
    ).id


def test_a_row_is_named_by_the_class_or_the_card() -> None:
    assert (choose().name, choose().many_concepts) == ("Mine", False)
    card = choose("./mine.py:CARD")
    assert (card.name, card.many_concepts) == ("my-card", True)
    assert not card.is_baseline and not card.fixed
    assert row_name("esd-x") == "esd-x"


def test_a_chosen_method_is_found_from_any_folder(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose()
    (mine.parent / "elsewhere").mkdir()
    monkeypatch.chdir(mine.parent / "elsewhere")
    assert chosen.file is not None
    assert erase_id(choose(chosen.file)) == erase_id(chosen)


def test_ids_change_with_the_code_and_the_settings_only(mine: Path, tmp_path: Path) -> None:
    before = erase_id(choose())
    assert erase_id(choose(words="a tree")) == before
    assert erase_id(choose(words="a boat")) != before

    mine.write_text(METHOD.replace("\n\n\n@data", "\n\n# a comment\n\n@data") + '\n"""Text."""\n')
    assert erase_id(choose()) == before
    moved = tmp_path / "moved.py"
    moved.write_text(METHOD)
    assert erase_id(choose("./moved.py:Mine")) == before

    mine.write_text(METHOD.replace("(self.words)", "(self.words + 's')"))
    assert erase_id(choose()) != before


def test_ids_cover_what_lies_beside_the_file_and_what_it_imports_from_our_rooms(mine: Path) -> None:
    mine.write_text(METHOD.replace("from dataclasses", "import helper\nfrom dataclasses", 1))
    helper = mine.with_name("helper.py")
    helper.write_text("x = 1\n")
    before = erase_id(choose())
    helper.write_text("x = 2\n")
    assert erase_id(choose()) != before
    helper.write_text("x = 1\n")
    assert erase_id(choose()) == before
    walk = sources._Walk(sources.FILE, mine)
    assert {
        "<file>.helper",
        "erasure_bench.methods.base",
        "erasure_bench.methods.edit",
        "erasure_bench.models.guidance",
    } <= walk.sources.keys()


def test_a_file_that_changes_during_a_run_is_not_taken_for_what_was_planned(mine: Path) -> None:
    chosen = choose()
    check_unchanged(chosen)
    check_unchanged(choose_method("uce", "official", {}, Path("memory")))
    mine.write_text(METHOD.replace("(self.words)", "(self.words + 's')"))
    with pytest.raises(
        BenchError, match=r"mine\.py:Mine: the code changed while the run was going on; run again"
    ):
        check_unchanged(chosen)


def test_settings_that_are_no_plain_values_are_refused(mine: Path) -> None:
    mine.write_text(METHOD.replace('words: str = "a tree"', "words: object = object()"))
    with pytest.raises(BenchError, match=r"\./mine\.py:Mine: settings must be plain values: object"):
        choose()


def test_files_and_names_stand_in_one_list_and_options_find_their_row(
    tiny_model_dir: Path, capsys: Captured
) -> None:
    more = ("--dry-run", "--method-option", "Mine.words=a boat", "--method-option", "my-card.words=a car")
    words = tiny_run(tiny_model_dir, "./mine.py:Mine,negative-prompt,./mine.py:CARD", *more)
    assert run_command(words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [cell["method"] for cell in plan["cells"]] == ["none", "Mine", "negative-prompt", "my-card"]
    assert plan["tasks"]["erase"] == 4


@pytest.mark.parametrize(
    ("methods", "more", "message"),
    [
        ("./mine.py:Mine,./other/mine.py:Mine", [], "there is a row 'Mine' already"),
        ("./mine.py:Mine,./mine.py:Alias", [], "there is a row 'Mine' already"),
        ("./mine.py:BASE", [], "the name 'none' is taken by a registered method"),
        ("./mine.py:Mine", ["--method-option", "Yours.words=x"], "unknown name before the dot 'Yours'"),
        ("./mine.py:Mine", ["--method-option", "Mine.word=x"], "did you mean words"),
        ("./nowhere.py:Mine", [], "./nowhere.py: no such file"),
        ("./mine.py", [], "which method of it? write ./mine.py:NAME; valid: Mine, CARD"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_3(
    tiny_model_dir: Path, mine: Path, methods: str, more: list[str], message: str, capsys: Captured
) -> None:
    mine.write_text(METHOD + "\nAlias = Mine\n")
    other = mine.parent / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(METHOD.replace("a tree", "a boat"))
    assert run_command(tiny_run(tiny_model_dir, methods, "--dry-run", *more)) == 3
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1


def test_a_run_has_the_files_row_and_goes_on_until_the_code_changes(
    tiny_model_dir: Path, mine: Path, capsys: Captured
) -> None:
    words = tiny_run(tiny_model_dir, "./mine.py:Mine")
    assert run_command(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["methods"] == ["none", "Mine"] and document["failures"] == []
    record = json.loads(Path("out/run.json").read_text())
    assert record["method_settings"][1]["settings"] == {"words": "a tree"}

    mine.write_text("# a comment\n" + METHOD)
    assert run_command([*words, "--dry-run"]) == 0
    assert set(json.loads(capsys.readouterr().out)["tasks_to_do"].values()) == {0}
    mine.write_text(METHOD.replace("(self.words)", "(self.words + 's')"))
    assert run_command([*words, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks_to_do"]["erase"] == 1
