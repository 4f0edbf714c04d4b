"""The house stands: imports run downwards only, nothing is special-cased by its name outside its own room."""

import ast
from pathlib import Path

import pytest

from evaluators.registry import EVALUATORS
from methods.registry import METHODS
from models.zoo import ZOO
from prompt_suites.registry import SUITES

ROOT = Path(__file__).resolve().parent.parent
BELOW = {
    "prompt_suites": set(),
    "models": {"prompt_suites"},
    "methods": {"models", "prompt_suites"},
    "evaluators": {"models", "prompt_suites"},
    "bench": {"methods", "evaluators", "models", "prompt_suites"},
}
FILES = [path for room in BELOW for path in sorted((ROOT / room).rglob("*.py"))]

HOMES = {
    "methods": (METHODS, ("methods/registry.py",)),
    "evaluators": (EVALUATORS, ("evaluators/registry.py",)),
    "models": (ZOO, ("models/zoo.py",)),
    "prompt_suites": (SUITES, ("prompt_suites/registry.py",)),
}
"""Room -> its registered names, and where they may stand besides the file that defines the thing itself."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_downwards(path: Path) -> None:
    room = name_of(path).split("/")[0]
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            imported.add(node.module.split(".")[0])
    assert (imported & set(BELOW)) - BELOW[room] - {room} == set()


def constants_compared(tree: ast.AST) -> set[str]:
    """Strings that decide something: in comparisons and in match cases."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        else:
            continue
        found |= {
            leaf.value
            for part in parts
            for leaf in ast.walk(part)
            if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
        }
    return found


@pytest.mark.parametrize("room", HOMES)
def test_no_name_decides_anything_outside_its_registry(room: str) -> None:
    """An if on a registered name is a special case; "none" is also an option's word."""
    names, homes = HOMES[room]
    guilty = {
        name_of(path): decided
        for path in FILES
        if name_of(path) not in homes
        and (
            decided := constants_compared(ast.parse(path.read_text(encoding="utf-8")))
            & (set(names) - {"none"})
        )
    }
    assert {path: decided for path, decided in guilty.items() if decided} == {}
