"""The house stands: imports run downwards only, nothing is special-cased by its name outside its own room."""

import ast
from pathlib import Path

import pytest

from erasure_bench.attacks.registry import ATTACKS
from erasure_bench.evaluators.registry import EVALUATORS
from erasure_bench.methods.registry import METHODS
from erasure_bench.models.datasets.registry import DATASETS
from erasure_bench.models.zoo import ZOO
from erasure_bench.prompt_suites.registry import SUITES
from erasure_bench.prompt_suites.transformations.registry import TRANSFORMATIONS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "erasure_bench"
BELOW = {
    "prompt_suites": set(),
    "models": {"prompt_suites"},
    "methods": {"models", "prompt_suites"},
    "evaluators": {"models", "prompt_suites"},
    "attacks": {"methods", "models", "prompt_suites"},
    "bench": {"methods", "evaluators", "attacks", "models", "prompt_suites"},
}
SUB_ROOMS = {
    "words": set(),
    "identity": set(),
    "storage": {"identity", "words"},
    "planning": {"identity", "storage", "words"},
    "running": {"identity", "storage", "planning", "words"},
    "statistics": set(),
    "reporting": {"identity", "storage", "planning", "running", "statistics", "words"},
    "comparing": {"identity", "storage", "planning", "running", "statistics", "reporting", "words"},
    "sharing": {
        *("identity", "storage", "planning", "running", "statistics", "reporting", "comparing", "words"),
    },
    "tracking": {"identity", "storage", "planning", "running", "statistics", "reporting", "words"},
    "typesetting": {"identity", "storage", "planning", "running", "statistics", "reporting", "words"},
    "site": {
        *("identity", "storage", "planning", "running", "statistics", "reporting", "typesetting"),
        "words",
    },
    "cli": {
        *("identity", "storage", "planning", "running", "statistics", "reporting", "comparing", "site"),
        *("sharing", "tracking", "typesetting", "words"),
    },
}
"""Along the data's way through bench/: each sub-room knows those before it."""
GROUND = [
    path
    for folder in (ROOT / PACKAGE, ROOT / PACKAGE / "foreign")
    for path in sorted(folder.glob("*.py"))
    if path.name != "__main__.py"
]
"""What every room stands on: errors, the environment, other people's code."""
FILES = [path for room in BELOW for path in sorted((ROOT / room).rglob("*.py"))]

HOMES = {
    "methods": (METHODS, ("methods/registry.py",)),
    "evaluators": (EVALUATORS, ("evaluators/registry.py",)),
    "attacks": (ATTACKS, ("attacks/registry.py",)),
    "models": (ZOO, ("models/zoo.py",)),
    "datasets": (DATASETS, ("models/datasets/registry.py",)),
    "prompt_suites": (SUITES, ("prompt_suites/registry.py",)),
    "transformations": (TRANSFORMATIONS, ("prompt_suites/transformations/registry.py",)),
}
"""Room, or part of one -> its registered names, and where they may stand besides the thing's own file."""

OPTIONS_WORDS = {"none", "unlearncanvas", "noise"}
"""No value of an option, what `classifier` is to report, and what Concept Ablation's target is made of: names
of a method, a suite and an attack as well."""


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_by(path: Path) -> set[str]:
    """The modules of this project that a file imports, by their full names without the package's."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix(f"{PACKAGE}.") for name in found if name.startswith(f"{PACKAGE}.")}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_run_downwards(path: Path) -> None:
    room = name_of(path).split("/")[0]
    rooms = {name.split(".")[0] for name in imported_by(path)}
    assert (rooms & set(BELOW)) - BELOW[room] - {room} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "bench").rglob("*.py")), ids=name_of)
def test_the_harness_falls_into_sub_rooms_along_the_datas_way(path: Path) -> None:
    _, *above, _ = name_of(path).split("/")
    assert above or path.name == "__init__.py", "every file of bench/ is in one of its sub-rooms"
    used = {name.split(".")[1] for name in imported_by(path) if name.startswith("bench.")}
    assert used - {above[0] if above else ""} <= (SUB_ROOMS[above[0]] if above else set())


@pytest.mark.parametrize("path", sorted((ROOT / "methods").rglob("*.py")), ids=name_of)
def test_a_family_of_methods_knows_no_other_and_the_machinery_knows_none(path: Path) -> None:
    shared = {"base", "edit", "machinery"}
    families = {Path(place.name).stem for place in (ROOT / "methods").iterdir() if place.name[0] not in "._"}
    own = Path(name_of(path).split("/")[1]).stem
    used = {name.split(".")[1] for name in imported_by(path) if name.startswith("methods.")} & families
    may = {*shared, "registry"} if own in {"registry", "machinery"} else shared
    assert used - {own} <= may


@pytest.mark.parametrize("path", GROUND, ids=name_of)
def test_what_lies_below_every_room_knows_none(path: Path) -> None:
    assert {name.split(".")[0] for name in imported_by(path)} & set(BELOW) == set()


def test_nothing_is_imported_by_the_bare_name_of_a_room() -> None:
    """`models` may be anybody's; two names for one module would make two of each of its classes."""
    places = [path for folder in (*BELOW, "studies", "tests") for path in (ROOT / folder).rglob("*.py")]
    guilty = {}
    for path in places:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            if bare := [name for name in names if name.split(".")[0] in BELOW]:
                guilty[name_of(path)] = bare
    assert guilty == {}


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
    """An if on a registered name is a special case, but where the name is an option's word as well."""
    names, homes = HOMES[room]
    guilty = {
        name_of(path): decided
        for path in FILES
        if name_of(path) not in homes
        and (
            decided := constants_compared(ast.parse(path.read_text(encoding="utf-8")))
            & (set(names) - OPTIONS_WORDS)
        )
    }
    assert {path: decided for path, decided in guilty.items() if decided} == {}
