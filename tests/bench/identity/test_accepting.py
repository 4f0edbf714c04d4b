"""A digest is accepted anew only where the numbers are the same; ids hold versions only where it is known."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.identity import accepting, code, table
from erasure_bench.bench.identity.accepting import accept, outdated
from erasure_bench.bench.identity.code import code_of, code_of_maker, code_of_part
from erasure_bench.bench.identity.fingerprints import Fingerprints, NoLonger, NotHere
from erasure_bench.bench.identity.fingerprints.numbers import same, sketch, tolerance_of
from erasure_bench.bench.identity.table import KINDS, Accepted, accepted, bound, write
from erasure_bench.foreign.sources import code_digest
from erasure_bench.prompt_suites.scaffold import new_suite
from erasure_bench.prompt_suites.suite_file import card_of_file, read_suite

NOTHING: frozenset[str] = frozenset()


@dataclasses.dataclass
class World:
    """One method `blur` whose code and numbers a test decides."""

    digest: str = "a" * 64
    version: str = "1"
    settings: dict[str, Any] = dataclasses.field(default_factory=lambda: {"steps": 2})
    defaults: dict[str, Any] = dataclasses.field(default_factory=lambda: {"steps": 1, "eta": 1.0})
    numbers: dict[str, list[float] | str] = dataclasses.field(
        default_factory=lambda: {"float32 weights": [1.0, 0.5, -0.5, 0.1]}
    )
    here: bool = True

    def measure(self, name: str, settings: Mapping[str, Any]) -> dict[str, list[float] | str]:
        if not self.here:
            raise NotHere("no weights")
        if settings.keys() - self.defaults.keys():
            raise NoLonger("no such setting")
        scale = settings.get("eta", self.defaults["eta"])
        return {
            what: taken if isinstance(taken, str) else [scale * number for number in taken]
            for what, taken in self.numbers.items()
        }

    @property
    def fingerprints(self) -> Fingerprints:
        return Fingerprints(
            lambda name: self.version,
            lambda name: self.defaults,
            lambda name: {"official": self.settings},
            self.measure,
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(table, "FOLDER", tmp_path)
    for module in (accepting, code, table):
        monkeypatch.setattr(module, "bound", lambda kind: {"blur": "a.module"} if kind == "method" else {})
    for module in (table, code):
        monkeypatch.setattr(module, "code_digest", lambda module: world.digest)
    monkeypatch.setattr(accepting, "fingerprints_of", lambda kind: world.fingerprints)
    accepted.cache_clear()
    assert accept(NOTHING, NOTHING, everything=False) == []
    yield world
    accepted.cache_clear()


def test_a_suites_own_file_counts_and_its_words_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a YAML file says is part of what its version names, as code is."""
    file = tmp_path / "x.yaml"
    new_suite("x", tmp_path)
    monkeypatch.setattr(table, "bound", lambda kind: {"x": "erasure_bench.prompt_suites.suite_file"})
    monkeypatch.setattr(table, "suite_card", lambda name: card_of_file(read_suite(file)))
    first = table.digest_of("suite", "x")
    text = file.read_text()
    file.write_text(text.replace("title: X", "title: Y  # another"))
    assert table.digest_of("suite", "x") == first
    file.write_text(text.replace("steps: 20", "steps: 20, eta: 0.0"))
    assert table.digest_of("suite", "x") == first, "a default that is written out says nothing"
    file.write_text(text.replace("steps: 20", "steps: 21"))
    assert table.digest_of("suite", "x") != first


def refusals(**how: Any) -> list[str]:
    return [refused.why for refused in accept(NOTHING, how.get("let_pass", NOTHING), everything=False)]


def test_an_id_holds_the_version_of_code_that_is_known_and_else_the_codes_digest(world: World) -> None:
    assert code_of("method", "blur", "a.module") == "blur 1"
    assert code_of("method", "blur", "anothers.module") == world.digest
    assert code_of("method", "sharpen", "a.module") == world.digest
    world.digest = "b" * 64
    assert code_of("method", "blur", "a.module") == world.digest
    assert [(found.name, found.why) for found in outdated()] == [("blur", "its code has another digest")]


def test_a_refactoring_that_changes_no_number_keeps_the_version(world: World) -> None:
    world.digest = "b" * 64
    world.numbers = {"float32 weights": [1.0001, 0.5001, -0.5, 0.1]}
    assert refusals() == []
    assert code_of("method", "blur", "a.module") == "blur 1"
    kept = accepted("method")["blur"].fingerprints["official"].numbers
    assert kept == {"float32 weights": [1.0, 0.5, -0.5, 0.1]}, "what was taken first stays, so nothing drifts"
    assert list(outdated()) == []


class Before:
    """A code of before that measures on this machine what a test says."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def numbers(self, kind: str, name: str, entry: Accepted) -> dict[str, Any]:
        return {"official": {"float32 weights": [self.weight, 0.5, -0.5, 0.1]}}


def test_where_the_machine_rounds_otherwise_the_code_before_is_compared_with(world: World) -> None:
    world.digest, world.numbers = "b" * 64, {"float32 weights": [1.02, 0.5, -0.5, 0.1]}
    (said,) = refusals()
    assert "float32 weights differs" in said
    (refused,) = accept(NOTHING, NOTHING, everything=False, earlier=Before(1.04))
    assert "float32 weights differs by 0.02 of 1.04" in refused.why
    assert accept(NOTHING, NOTHING, everything=False, earlier=Before(1.02)) == []
    assert code_of("method", "blur", "a.module") == "blur 1"
    kept = accepted("method")["blur"].fingerprints["official"].numbers
    assert kept == {"float32 weights": [1.0, 0.5, -0.5, 0.1]}, "the table keeps what was taken first"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"numbers": {"float32 weights": [1.0, 0.502, -0.5, 0.1]}}, "float32 weights differs by 0.002 of 1"),
        ({"numbers": {}}, "float32 weights is gone"),
        ({"numbers": {"float32 weights": [1.0, 0.5, -0.5, 0.1], "texts": "x"}}, "texts is new"),
        ({"defaults": {"steps": 1, "eta": 2.0}}, "defaults of eta have changed"),
        (
            {"defaults": {"eta": 1.0}, "settings": {}},
            "official cannot be asked for any more (no such setting)",
        ),
        ({"here": False}, "not run here: official (or accept it unmeasured: --unmeasured blur)"),
    ],
)
def test_other_numbers_need_another_version(world: World, changes: dict[str, Any], why: str) -> None:
    world.digest = "b" * 64
    for name, value in changes.items():
        setattr(world, name, value)
    (said,) = refusals()
    assert why in said
    assert code_of("method", "blur", "a.module") == world.digest, "nothing was written"
    if "here" not in changes:
        world.version = "2"
        assert refusals() == []
        assert code_of("method", "blur", "a.module") == "blur 2"


def test_other_presets_are_no_other_version_where_the_old_settings_give_the_old_numbers(world: World) -> None:
    world.digest, world.settings = "b" * 64, {"steps": 3, "eta": 2.0}
    world.defaults = {**world.defaults, "new": None}
    assert refusals() == []
    taken = accepted("method")["blur"].fingerprints["official"]
    assert (taken.settings, taken.numbers["float32 weights"][0]) == ({"steps": 3, "eta": 2.0}, 2.0)


def test_what_cannot_be_measured_passes_only_by_name_and_is_noted(world: World) -> None:
    world.digest, world.here = "b" * 64, False
    assert refusals(let_pass=frozenset({"blur"})) == []
    assert accepted("method")["blur"].unmeasured == ("official",)


def test_a_table_is_read_as_it_was_written(world: World) -> None:
    entry = accepted("method")["blur"]
    write("method", {"blur": dataclasses.replace(entry, unmeasured=("official",))})
    assert accepted("method")["blur"] == dataclasses.replace(entry, unmeasured=("official",))
    lines = (table.FOLDER / "methods.json").read_text().splitlines()
    assert '     "float32 weights": [1.0, 0.5, -0.5, 0.1]' in lines, "one line for each measurement"


def test_the_committed_table_has_numbers_for_all_that_can_run_here() -> None:
    for kind in KINDS:
        assert accepted(kind).keys() == bound(kind).keys()
        for entry in accepted(kind).values():
            assert entry.fingerprints
            assert all(
                bool(taken.not_run) or not taken.settings or taken.numbers
                for taken in entry.fingerprints.values()
            )


def test_a_part_and_its_maker_are_named_alike() -> None:
    assert code_of_maker(bound("part")["fisher"]) == code_of_part("fisher")
    assert len(code_of_maker("erasure_bench.methods.uce")) == 64


def test_a_sketch_shows_what_moves_by_more_than_the_tolerance() -> None:
    import torch

    values = {"a": torch.randn(1000, generator=torch.Generator().manual_seed(0)), "b": torch.ones(10)}
    taken = sketch(values)
    assert same(
        taken, sketch({name: tensor + 1e-6 for name, tensor in values.items()}), tolerance_of("float32")
    )
    for other in (
        {**values, "a": values["a"] * 1.01},
        {**values, "a": values["a"].flip(0)},
        {"c": values["a"], "b": values["b"]},
        {**values, "b": values["b"] * 0.9},
        {"a": values["a"]},
    ):
        assert not same(taken, sketch(other), tolerance_of("float32"))
    assert not same([0.0, 0.0], [1e-9, 0.0], 1e-3) and same("x", "x", 0.0) and not same("x", [1.0], 1.0)


def test_show_says_by_what_ids_name_the_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = bound("method")["uce"]
    for known, said in ((code_digest(module), "1"), ("0" * 64, "1, but its code was changed here")):
        entry = Accepted(version="1", code=known)
        monkeypatch.setattr(code, "accepted", lambda kind, entry=entry: {"uce": entry})
        assert run_command(["show", "uce", "--json"]) == 0
        sheet = json.loads(capsys.readouterr().out)
        assert str(sheet["facts"]["version"]).startswith(said)
