"""A user's file may call our rooms by their bare names: it gets our classes, unless the name is its own."""

import sys
from pathlib import Path

import pytest

import erasure_bench
from erasure_bench.foreign.files import file_target
from erasure_bench.foreign.wanted import METHOD
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import check_concepts
from erasure_bench.models import guidance

FILE = """
import models.guidance
import models.guidance as renamed
from methods.base import EraseContext
from models import guidance

class Mine:
    def erase(self, model, concepts, context):
        from methods.edit import check_concepts
        return check_concepts, EraseContext, models.guidance, renamed, guidance
"""


def what_it_got(path: Path) -> tuple[object, ...]:
    module, _, name = file_target(f"{path}:Mine", METHOD).partition(":")
    got: tuple[object, ...] = getattr(sys.modules[module], name)().erase(None, (), None)
    return got


def test_bare_names_are_our_own_modules_at_the_top_and_inside_functions(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    assert what_it_got(path) == (check_concepts, EraseContext, guidance, guidance, guidance)
    assert not {"methods", "models"} & sys.modules.keys()


def test_it_is_so_where_the_source_tree_is_on_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in an editable install: the bare name would be found there, and give a second copy."""
    monkeypatch.syspath_prepend(str(Path(erasure_bench.__file__).parent.parent))
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    assert what_it_got(path)[1] is EraseContext


def test_a_module_of_that_name_beside_the_file_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "models.py").write_text("guidance = 'theirs'\n")
    path = tmp_path / "mine.py"
    path.write_text(
        "from models import guidance\nclass Mine:\n    def erase(self, *_):\n        return (guidance,)\n"
    )
    assert what_it_got(path) == ("theirs",)
    assert "models" not in sys.modules


def test_a_folder_without_our_module_in_it_does_not_hide_ours(tmp_path: Path) -> None:
    """`models/` beside a script mostly holds weights."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.safetensors").touch()
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    assert what_it_got(path)[1] is EraseContext


def test_a_mistake_in_a_bare_name_is_an_import_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import methods.nowhere_at_all\n")
    with pytest.raises(erasure_bench.errors.BenchError, match="No module named 'erasure_bench.methods.nowh"):
        file_target(f"{path}:Mine", METHOD)
