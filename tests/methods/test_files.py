"""Methods in a user's file: found, imported under a name of their own, and clear about mistakes."""

import os
import pickle
import sys
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.foreign.files import absolute, in_file
from erasure_bench.foreign.targets import load_target
from erasure_bench.methods.registry import build_method, method_card, method_target

METHOD = '''"""A method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.edit import new_edit


@dataclass(frozen=True, kw_only=True)
class Mine:
    """Does as little as it can.

    And says no more of it.
    """

    steps: int = 7
    how: Literal["well", "badly"] | None = None

    def erase(self, model, concepts, context):
        """Nothing."""
        return new_edit("mine", self, model, concepts)


CARD = MethodCard(
    name="my-card", title="T", paper="P", formula="F", build=Mine, settings={"steps": 3},
    presets={"official": {"how": "well"}},
)
number = 5
'''


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    return path


@pytest.mark.parametrize("text", ["./a.py:A", "/x/a.py:A", "a.py", "../a.b.py:A"])
def test_a_path_means_a_file(text: str) -> None:
    assert in_file(text)


@pytest.mark.parametrize("text", ["esd-x", "a:b", "py", "package.module:CARD"])
def test_anything_else_is_a_name(text: str) -> None:
    assert not in_file(text)


def test_a_class_gets_a_card_from_its_docstring_and_defaults(mine: Path) -> None:
    card = method_card(f"{mine}:Mine")

    assert (card.name, card.title, card.paper, card.many_concepts) == (
        "Mine",
        "Does as little as it can",
        "",
        False,
    )
    assert build_method(f"{mine}:Mine") == card.build() == card.build(steps=7, how=None)


def test_a_card_is_taken_as_it_is(mine: Path) -> None:
    card = method_card(f"{mine}:CARD")
    method = build_method(f"{mine}:CARD", options={"how": "none"})

    assert (card.name, card.title) == ("my-card", "T")
    assert (method.steps, method.how) == (3, None)  # type: ignore[attr-defined]


def test_settings_are_parsed_by_their_types(mine: Path) -> None:
    method = build_method(f"{mine}:Mine", "paper", {"steps": "12", "how": "badly"})
    assert (method.steps, method.how) == (12, "badly")  # type: ignore[attr-defined]


def test_a_relative_path_is_found_from_the_current_folder(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(mine.parent)
    assert method_target("./mine.py:Mine") == method_target("mine.py:Mine") == method_target(f"{mine}:Mine")
    assert absolute("mine.py:Mine") == f"{mine}:Mine"


def test_a_method_can_be_pickled(mine: Path) -> None:
    method = build_method(f"{mine}:Mine", options={"steps": "1"})
    assert pickle.loads(pickle.dumps(method)) == method


def test_two_files_of_one_name_do_not_meet(mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(METHOD.replace("= 7", "= 8"))

    first, second = build_method(f"{mine}:Mine"), build_method(f"{other}:Mine")
    assert (first.steps, second.steps) == (7, 8)  # type: ignore[attr-defined]
    assert type(first).__module__ != type(second).__module__
    assert pickle.loads(pickle.dumps(first)) == first


def test_a_file_lends_no_name_to_others_and_gets_no_compiled_twin(mine: Path) -> None:
    method_target(f"{mine}:Mine")
    assert "mine" not in sys.modules
    assert [path.name for path in mine.parent.iterdir()] == ["mine.py"]


def test_the_module_is_named_by_what_the_code_does(mine: Path, tmp_path: Path) -> None:
    before = method_target(f"{mine}:Mine")

    moved = tmp_path / "moved.py"
    comment = "# a comment\n" + METHOD.replace("A method.", "Another text.").replace("Nothing.", "Not much.")
    moved.write_text(comment)
    assert method_target(f"{moved}:Mine") == before

    moved.write_text(METHOD.replace("= 7", "= 8"))
    assert method_target(f"{moved}:Mine") != before


def test_a_file_that_was_changed_is_imported_anew(mine: Path) -> None:
    """Even where neither its size nor its time says so."""
    times = mine.stat()
    assert build_method(f"{mine}:Mine").steps == 7  # type: ignore[attr-defined]
    mine.write_text(METHOD.replace("= 7", "= 9"))
    os.utime(mine, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert build_method(f"{mine}:Mine").steps == 9  # type: ignore[attr-defined]


def test_the_same_file_is_imported_once(mine: Path) -> None:
    classes = {load_target(method_target(f"{mine}:Mine"), "it") for _ in range(3)}
    assert len(classes) == 1


DECORATOR = "@dataclass(frozen=True, kw_only=True)"
DATACLASS = f"from dataclasses import dataclass\n{DECORATOR}\nclass M:\n"
LATER = "from __future__ import annotations\n"
ERASE = "    def erase(self, model, concepts, context):\n        return None\n"


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        (METHOD, "", r"mine\.py: which method of it\? write .*mine\.py:NAME; valid: Mine, CARD$"),
        (METHOD, "Mein", r"unknown name in .*mine\.py 'Mein': did you mean Mine\? valid: CARD, Mine$"),
        ("x = 1", "Mine", r"mine\.py has no 'Mine': the file has no class with `erase` and no MethodCard$"),
        ("x = (\n", "M", r"mine\.py, line 1: SyntaxError: '\(' was never closed$"),
        (
            "\nimport nowhere_at_all",
            "M",
            r"imported: line 2: ModuleNotFoundError: No module named 'nowhere_at",
        ),
        ("def f():\n    raise ValueError('a\\nb')\n\nf()", "M", r"imported: line 2: ValueError: a b$"),
        (
            "raise SystemExit(3)",
            "M",
            r"imported: the file tried to end the program \(line 1: SystemExit: 3\)$",
        ),
        ("class Out(BaseException): ...\nraise Out", "M", r"tried to end the program \(line 2: Out\)$"),
        (METHOD, "number", r"mine\.py:number is no method: it is of type int; a method is a frozen"),
        ("class M:\n    pass", "M", r"it has no erase; a method is a frozen dataclass with erase\(self"),
        ("class M:\n" + ERASE, "M", r"it is no dataclass \(put @dataclass"),
        (DATACLASS.replace("frozen=True, ", "") + ERASE, "M", r"it can be changed \(put @dataclass\(frozen"),
        (
            DATACLASS + "    def erase(self, model): ...",
            "M",
            r"cannot be called with model, concepts and cont",
        ),
        (LATER + DATACLASS + "    a: Nowhere = 1\n" + ERASE, "M", r"settings cannot be read \(NameError"),
        (METHOD.replace("build=Mine", "build=int"), "CARD", r"CARD: build=int is no method: it has no erase"),
        (METHOD.replace('"my-card"', '""'), "CARD", r"its card has no name"),
    ],
)
def test_a_mistake_in_a_file_is_one_clear_line(mine: Path, code: str, name: str, message: str) -> None:
    mine.write_text(code)
    with pytest.raises(BenchError, match=message) as refused:
        method_card(f"{mine}:{name}" if name else str(mine))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "options", "message"),
    [
        (
            METHOD,
            {"step": "5"},
            r"unknown setting of .*mine\.py:Mine 'step' \(--method-option\): did you mean ste",
        ),
        (
            METHOD,
            {"steps": "many"},
            r"mine\.py:Mine: --method-option steps=many: input should be a valid int",
        ),
        (METHOD, {"how": "so"}, "'well'.*'badly'"),
        (METHOD.replace("= 7", ""), {}, r"mine\.py:Mine: give steps \(--method-option steps=…\)"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(
    mine: Path, code: str, options: dict[str, str], message: str
) -> None:
    mine.write_text(code)
    with pytest.raises(BenchError, match=message) as refused:
        build_method(f"{mine}:Mine", options=options)
    assert "\n" not in str(refused.value)


def test_what_a_settings_class_refuses_is_one_clear_line(mine: Path) -> None:
    check = "    def __post_init__(self):\n        raise ValueError('not\\nso')\n\n    def erase("
    mine.write_text(METHOD.replace("    def erase(", check))
    with pytest.raises(BenchError, match=r"mine\.py:Mine: ValueError: not so \(--method-option\)$"):
        build_method(f"{mine}:Mine")


def test_a_value_that_no_text_can_give_is_refused(mine: Path) -> None:
    mine.write_text(
        METHOD.replace("steps: int = 7", "steps: Thing = None").replace(
            DECORATOR, f"class Thing: ...\n{DECORATOR}"
        )
    )
    with pytest.raises(BenchError, match="steps=1: a value of type .*Thing.* cannot be given as text"):
        build_method(f"{mine}:Mine", options={"steps": "1"})


def test_a_file_that_is_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        BenchError, match=r"nowhere\.py: no such file \(a method in a file is PATH\.py:NAME\)"
    ):
        method_card(f"{tmp_path}/nowhere.py:Mine")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(BenchError, match=r"folder\.py: cannot be read: Is a directory"):
        method_card(f"{tmp_path}/folder.py:Mine")
    (tmp_path / "latin.py").write_bytes("# é".encode("latin-1"))
    with pytest.raises(BenchError, match=r"latin\.py: cannot be read"):
        method_card(f"{tmp_path}/latin.py:Mine")
