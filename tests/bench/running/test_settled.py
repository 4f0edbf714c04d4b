"""A suite's own evaluators that turn out not to be here are left out by name, unless they were asked for."""

from pathlib import Path

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.running.settled import settled
from erasure_bench.errors import BenchError, NotHere
from erasure_bench.models.zoo import local_copy

pytest.importorskip("torch_fidelity")
if local_copy("microworld") is None:
    pytest.skip("the built-in model is not here", allow_module_level=True)

SUITE = """
name: mine
version: "1"
title: Mine
description: of a test
source: made by hand
licence: CC0-1.0
model: microworld
protocol: {scheduler: ddim, steps: 2, guidance_scale: 4.0}
evaluators: [EVALUATORS]
further_evaluators: [FURTHER]
concepts: [{name: grumpy cat, kind: instance, targets: [grumpy cat], anchor: cat}]
prompts: [{texts: ["a grumpy cat", "a grumpy cat on a hill"], role: target}]
"""


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place without anybody's weights, and without a network."""
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def config(folder: Path, evaluators: str = "distance", further: str = "fidelity, perceptual") -> RunConfig:
    path = folder / "mine.yaml"
    text = SUITE.replace("EVALUATORS", evaluators).replace("FURTHER", further)
    if "fidelity" in text:
        text += "evaluator_options: {fidelity: {network: inception-v3-compat}}\n"
    path.write_text(text)
    return RunConfig(suite=str(path), methods=("none",))


def test_what_lacks_its_weights_is_left_out_by_name_when_they_are_loaded_too(bare: Path) -> None:
    asked = config(bare)
    assert [each.name for each in prepare(asked, bare).plan.evaluators] == ["distance", "fidelity"]
    found, skipped = settled(asked, bare)
    assert [each.name for each in found.plan.evaluators] == ["distance"]
    assert [note.split(":")[1] for note in skipped] == [" evaluator 'perceptual'", " evaluator 'fidelity'"]
    assert "Inception weights" in skipped[1] and "$BENCH_MODELS" in skipped[1]
    assert set(skipped) <= set(found.notes)


def test_the_plan_says_itself_what_is_left_so_that_others_make_the_same(bare: Path) -> None:
    for further, left in (("fidelity, perceptual", ("distance",)), ("perceptual, diversity", None)):
        found, _ = settled(config(bare, further=further), bare)
        assert found.plan.config.evaluators == (left or ("distance", "diversity"))
        assert prepare(found.plan.config, bare).plan.id == found.plan.id
    untouched, skipped = settled(config(bare, further="diversity"), bare)
    assert untouched.plan.config.evaluators == () and skipped == ()


def test_what_was_asked_for_is_never_left_out(bare: Path) -> None:
    named = config(bare).model_copy(update={"evaluators": ("distance", "fidelity")})
    assert len(settled(named, bare).prepared.plan.evaluators) == 2, "loading it says what is missing"
    tuned = config(bare, further="fidelity").model_copy(
        update={"evaluator_options": {"fidelity": {"neighbours": "5"}}}
    )
    with pytest.raises(NotHere, match="Inception weights"):
        settled(tuned, bare)


def test_a_run_with_nothing_to_measure_with_is_an_error(bare: Path) -> None:
    with pytest.raises(BenchError, match="nothing to measure with: skipped: .*Inception weights"):
        settled(config(bare, evaluators="fidelity", further="perceptual"), bare)


def test_an_evaluator_that_stands_in_both_lists_is_refused(bare: Path) -> None:
    with pytest.raises(BenchError, match=r"mine.yaml:11: further_evaluators: distance is there twice"):
        settled(config(bare, further="distance"), bare)


def test_evaluators_are_tried_on_the_device_that_work_runs_on(bare: Path) -> None:
    asked = config(bare, evaluators="classifier", further="")
    assert asked.device == "auto"
    found, skipped = settled(asked, bare)
    assert [each.name for each in found.plan.evaluators] == ["classifier"] and not skipped
