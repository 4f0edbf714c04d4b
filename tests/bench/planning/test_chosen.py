"""Methods and evaluators of a run: settings are resolved once per code, what cannot run is named."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from erasure_bench.bench.planning import chosen, prepare
from erasure_bench.bench.planning.chosen import choose_evaluator, choose_method
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import _evaluators, _methods
from erasure_bench.bench.running.scoring import prepared
from erasure_bench.errors import BenchError
from erasure_bench.models.zoo import ModelSource

SOURCE = ModelSource("fake", Path("."), None, "0" * 64)


def refuse(*anything: object) -> None:
    raise AssertionError("built again")


def test_settings_are_remembered_until_the_code_or_the_options_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = choose_method("sld-medium", "official", {}, tmp_path)
    assert first.settings and "official" in first.presets
    with monkeypatch.context() as patch:
        patch.setattr(chosen, "build_method", refuse)
        assert choose_method("sld-medium", "official", {}, tmp_path) == first
        with pytest.raises(AssertionError):
            choose_method("sld-strong", "official", {}, tmp_path)
        patch.setattr(chosen, "code_digest", lambda module: "another")
        with pytest.raises(AssertionError):
            choose_method("sld-medium", "official", {}, tmp_path)


def test_a_note_that_is_damaged_is_written_again(tmp_path: Path) -> None:
    first = choose_method("sld-medium", "official", {}, tmp_path)
    (note,) = tmp_path.iterdir()
    note.write_text("{")
    assert choose_method("sld-medium", "official", {}, tmp_path) == first


@pytest.mark.parametrize(
    ("asked", "concepts", "taken"),
    [
        ("auto", {"nudity"}, "official-nudity"),
        ("auto", {"grumpy-cat"}, "official"),
        ("auto", {"nudity", "grumpy-cat"}, "official"),
        ("official", {"nudity"}, "official"),
        ("paper-nudity", {"nudity"}, "paper-nudity"),
    ],
)
def test_settings_that_authors_made_for_a_concept_are_taken_unless_others_are_named(
    asked: str, concepts: set[str], taken: str, tmp_path: Path
) -> None:
    config = RunConfig(suite="tiny", methods=("none", "sa", "esd-u"), preset=asked)
    methods = {method.name: method for method in _methods(config, config.methods, SOURCE, concepts, tmp_path)}
    assert methods["sa"].preset == taken
    assert methods["sa"].settings["parameters"] == ("noxattn" if "nudity" in taken else "full")
    assert methods["esd-u"].preset == "official"


def test_device_and_batch_size_of_an_evaluator_are_no_part_of_its_protocol() -> None:
    plain = choose_evaluator("nudity", None, {}, {})
    moved = choose_evaluator("nudity", None, {"batch_size": "3", "device": "cuda"}, {})
    stricter = choose_evaluator("nudity", None, {"threshold": "0.7"}, {})
    assert plain.protocol == moved.protocol != stricter.protocol


def test_an_evaluator_without_its_package_is_skipped_by_name_unless_it_was_asked_for(
    fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "missing_packages", lambda name: ("lpips",) if name == "clip" else ())
    suite = replace(fake.tiny_suite(), evaluators=("clip", "nudity"))
    config = RunConfig(suite="tiny", methods=("none",))
    chosen, skipped = _evaluators(config, suite, SOURCE)
    assert [evaluator.name for evaluator in chosen] == ["nudity"]
    assert skipped == ["skipped: evaluator 'clip' needs lpips, which is not installed"]
    with pytest.raises(BenchError, match="leave clip out of --evaluators"):
        _evaluators(config.model_copy(update={"evaluators": ("clip", "nudity")}), suite, SOURCE)
    with pytest.raises(BenchError, match="nothing to measure with"):
        _evaluators(config, replace(suite, evaluators=("clip",)), SOURCE)


def test_an_evaluator_without_its_weights_is_skipped_by_name_unless_it_was_asked_for(
    fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    suite = replace(fake.tiny_suite(), evaluators=("perceptual", "nudity"))
    config = RunConfig(suite="tiny", methods=("none",))
    chosen, skipped = _evaluators(config, suite, SOURCE)
    assert [evaluator.name for evaluator in chosen] == ["nudity"]
    (said,) = skipped
    assert said.startswith("skipped: evaluator 'perceptual': ") and "bench weights lpips" in said
    for asked in (
        {"evaluators": ("perceptual", "nudity")},
        {"evaluator_options": {"perceptual": {"weights": "my.safetensors"}}},
    ):
        with pytest.raises(BenchError, match="weights are missing"):
            _evaluators(config.model_copy(update=asked), suite, SOURCE)


@dataclass(frozen=True)
class Movable:
    """An evaluator that runs on some devices only."""

    runs_on: tuple[str, ...]
    device: str = "cpu"
    loaded: list[str] = field(default_factory=list, compare=False)

    def prepare(self) -> None:
        if self.device not in self.runs_on:
            raise BenchError(f"cannot run on {self.device}")
        self.loaded.append(self.device)


def test_an_evaluator_moves_to_the_runs_device_where_it_can() -> None:
    def device_of(evaluator: Any, *, may_move: bool = True) -> str:
        return str(prepared(evaluator, "cuda", may_move=may_move).device)  # type: ignore[attr-defined]

    assert device_of(Movable(("cpu", "cuda"))) == "cuda"
    assert device_of(Movable(("cpu",))) == "cpu"
    assert device_of(Movable(("cpu", "cuda")), may_move=False) == "cpu"
    with pytest.raises(BenchError):
        device_of(Movable(()))


def test_the_preset_that_was_used_is_recorded(tmp_path: Path) -> None:
    used = {name: choose_method(name, "paper", {}, tmp_path).preset for name in ("esd-x", "sld-medium")}
    assert used == {"esd-x": "paper", "sld-medium": "official"}
