"""The digest of code covers every source that a module rests on, and what is installed by its version."""

import sys
from pathlib import Path

import pytest

from erasure_bench.foreign import sources
from erasure_bench.foreign.files import file_target
from erasure_bench.foreign.sources import code_digest, digest_of_file, module_file
from erasure_bench.foreign.wanted import METHOD


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `codeversiontest` with a method module that imports a helper, relatively and lazily."""
    folder = tmp_path / "codeversiontest"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Doc."""\n')
    (folder / "method.py").write_text(
        '"""Doc."""\nfrom . import helper\n\n\ndef erase():\n    """Doc."""\n'
        "    from codeversiontest.late import g\n"
        "    return helper.f() + g()  # sum\n"
    )
    (folder / "helper.py").write_text("def f():\n    return 1\n")
    (folder / "late.py").write_text("def g():\n    return 1\n")
    (folder / "unused.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_comments_docstrings_and_layout_keep_the_code_digest(package: Path) -> None:
    before = code_digest("codeversiontest.method")
    (package / "method.py").write_text(
        '"""Another docstring."""\n# a comment\nfrom . import helper\ndef erase():\n'
        "    from codeversiontest.late import g\n    return (helper.f()\n            + g())\n"
    )
    (package / "unused.py").write_text("x = 2\n")
    assert code_digest("codeversiontest.method") == before


@pytest.mark.parametrize("changed", ["method.py", "helper.py", "late.py", "__init__.py"])
def test_code_changes_the_version_through_every_import(package: Path, changed: str) -> None:
    before = code_digest("codeversiontest.method")
    with (package / changed).open("a") as file:
        file.write("\nextra = 1\n")
    assert code_digest("codeversiontest.method") != before


def test_the_closure_follows_our_rooms_and_no_library() -> None:
    assert module_file("erasure_bench.prompt_suites.suite") is not None
    version = code_digest("erasure_bench.prompt_suites.suite")
    assert version != code_digest("erasure_bench.prompt_suites.concepts")
    assert len(version) == 64
    with pytest.raises(ModuleNotFoundError):
        code_digest("erasure_bench.prompt_suites.nothing_here")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file that imports from beside itself in every way: plainly, relatively, lazily, from a package."""
    folder = tmp_path / "one"
    (folder / "parts" / "deep").mkdir(parents=True)
    (folder / "loose").mkdir()
    (folder / "mine.py").write_text(
        "import helper\n"
        "from parts import inner\n"
        "import parts.deep.well as well\n"
        "from .sibling import SIBLING\n"
        "import loose.end\n"
        "class Mine:\n"
        "    def erase(self, model, concepts, context):\n"
        "        from late import LATE\n"
        "        return helper.VALUE, inner.VALUE, well.VALUE, SIBLING, loose.end.VALUE, LATE\n"
    )
    (folder / "helper.py").write_text("import helpers_helper\nVALUE = helpers_helper.VALUE\n")
    (folder / "helpers_helper.py").write_text("VALUE = 1\n")
    (folder / "sibling.py").write_text("SIBLING = 1\n")
    (folder / "late.py").write_text("LATE = 1\n")
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "inner.py").write_text("from .deep import well\nVALUE = well.VALUE\n")
    (folder / "parts" / "deep" / "__init__.py").write_text("")
    (folder / "parts" / "deep" / "well.py").write_text("import helper\nVALUE = helper.VALUE\n")
    (folder / "loose" / "end.py").write_text("VALUE = 1\n")
    (folder / "unused.py").write_text("VALUE = 1\n")
    return folder / "mine.py"


BESIDE = (
    "helper.py",
    "helpers_helper.py",
    "sibling.py",
    "late.py",
    "parts/__init__.py",
    "parts/inner.py",
    "parts/deep/__init__.py",
    "parts/deep/well.py",
    "loose/end.py",
)


def made(path: Path) -> tuple[int, ...]:
    module, _, name = file_target(f"{path}:Mine", METHOD).partition(":")
    numbers: tuple[int, ...] = getattr(sys.modules[module], name)().erase(None, (), None)
    return numbers


def test_what_lies_beside_a_file_is_imported_and_lent_to_nobody(mine: Path) -> None:
    before = set(sys.modules)
    assert made(mine) == (1, 1, 1, 1, 1, 1)
    assert all(name.startswith("user_file_") for name in set(sys.modules) - before)
    assert not list(mine.parent.rglob("__pycache__")), "nothing is left beside the user's files"
    assert str(mine.parent) not in sys.path


def test_two_files_do_not_get_each_others_helpers(mine: Path, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(mine.parent, tmp_path / "two") / "mine.py"
    (other.parent / "helpers_helper.py").write_text("VALUE = 2\n")
    (other.parent / "late.py").write_text("LATE = 2\n")
    target = file_target(f"{mine}:Mine", METHOD)
    assert made(other) == (2, 2, 2, 1, 1, 2)
    assert made(mine) == (1, 1, 1, 1, 1, 1)
    assert file_target(f"{mine}:Mine", METHOD) == target


@pytest.mark.parametrize("changed", BESIDE)
def test_a_change_beside_a_file_is_another_digest_and_imported_anew(mine: Path, changed: str) -> None:
    made(mine)
    target = file_target(f"{mine}:Mine", METHOD)
    before = code_digest(target.partition(":")[0])
    path = mine.parent / changed
    path.write_text(path.read_text().replace("= 1", "= 5") + "EXTRA = 1\n")
    assert digest_of_file(mine) != before
    assert file_target(f"{mine}:Mine", METHOD) != target
    assert digest_of_file(mine) == code_digest(file_target(f"{mine}:Mine", METHOD).partition(":")[0])
    if "= 5" in path.read_text():
        assert 5 in made(mine)


def test_what_a_file_does_not_import_and_where_it_lies_count_for_nothing(mine: Path, tmp_path: Path) -> None:
    before = digest_of_file(mine)
    (mine.parent / "unused.py").write_text("VALUE = 2\n")
    (mine.parent / "helper.py").write_text(
        "# a comment\n" + (mine.parent / "helper.py").read_text() + '\n"""Words."""\n'
    )
    assert digest_of_file(mine) == before
    moved = mine.parent.rename(tmp_path / "elsewhere")
    assert digest_of_file((moved / "mine.py").rename(moved / "another_name.py")) == before


def test_a_module_of_the_search_path_counts_where_nothing_installed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "found_by_path.py").write_text("from erasure_bench.models import guidance\nX = 1\n")
    monkeypatch.syspath_prepend(str(library))
    path = tmp_path / "mine.py"
    path.write_text("def f():\n    import found_by_path\n")
    before = digest_of_file(path)
    (library / "found_by_path.py").write_text("X = 2\n")
    assert digest_of_file(path) != before


def test_what_is_installed_counts_by_name_and_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import json\nimport numpy.linalg\nfrom nowhere_at_all import x\n")
    before = digest_of_file(path)
    sources._distributions.cache_clear()
    monkeypatch.setattr(sources, "version", lambda name: "0.0.1")
    assert digest_of_file(path) != before
    sources._distributions.cache_clear()


def test_ours_do_not_count_by_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*anything: object) -> None:
        raise AssertionError("asked for a distribution")

    monkeypatch.setattr(sources, "_distributions", refuse)
    assert code_digest("erasure_bench.methods.uce")


def test_what_cannot_be_parsed_beside_a_file_counts_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("try:\n    import broken\nexcept SyntaxError:\n    pass\n")
    (tmp_path / "broken.py").write_text("(")
    before = digest_of_file(path)
    (tmp_path / "broken.py").write_text("((")
    assert digest_of_file(path) != before


CARD = """
NOTES = "some words"
VALUE = "a value"

def _card(name, title, preset):
    return MethodCard(name=name, title=f"{name}: {title}", notes=NOTES, presets={"x": preset}, other=VALUE)

CARD = _card("x", "a title", {"steps": 3})
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("some words", "other words", True),
        ("a title", "another title", True),
        ("{name}: ", "{name}, ", True),
        ("a value", "another value", False),
        ('"steps": 3', '"steps": 4', False),
        ('{"x"', '{"y"', False),
        ("other=VALUE", 'other=VALUE, version="2"', False),
        ("other=VALUE", "other=NOTES", False),
    ],
)
def test_a_cards_words_are_no_code_and_its_settings_are(
    tmp_path: Path, old: str, new: str, same: bool
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(CARD)
    before = digest_of_file(path)
    assert CARD.count(old) == 1
    path.write_text(CARD.replace(old, new))
    assert (digest_of_file(path) == before) is same
