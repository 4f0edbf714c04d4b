"""A run compiles where enough is left to draw, goes back where that saves nothing, and remembers either."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from erasure_bench.bench.running.batch_sizes import BatchSizes
from erasure_bench.bench.running.compiled import Compiled
from erasure_bench.models import compiling
from erasure_bench.models.batches import GrowingBatchSize

KIND = ("a machine", "a model")


class FakeUNet:
    """Takes 30 seconds to compile, all of it in its first task."""

    def __init__(self, unet: Any, say: Any = None) -> None:
        self.unet, self.say = unet, say
        self.failed, self.compile_seconds = False, 30.0


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(compiling, "CompiledUNet", FakeUNet)
    monkeypatch.setattr(compiling, "release", lambda: None)
    return SimpleNamespace(parts={"unet": object()}, classes=())


def run(folder: Path, model: Any, pictures: int, *, quick: float = 0.5, asked: Any = "auto") -> list[str]:
    """Tasks of 64 pictures, each a second plain and `quick` compiled: how each was drawn, what was said."""
    compiled, done = Compiled(asked, folder, pictures), []
    for _ in range(pictures // 64):
        unet = compiled.unet(model, KIND, done.append)
        waited = 30.0 if unet and not any(word == "compiled" for word in done) else 0.0
        taken = compiled.drew(64, 64 * (quick if unet else 1.0) + waited, KIND, done.append)
        assert taken == waited
        done.append("compiled" if unet else "plain")
    return done


def test_a_short_run_is_drawn_as_ever_and_a_long_one_compiled_after_its_first_task(
    tmp_path: Path, model: Any
) -> None:
    assert run(tmp_path, model, 6 * 64) == ["plain"] * 6
    done = run(tmp_path, model, 64 * 64)
    assert done[0] == "plain" and done[1].startswith("compiling the network: 4032 pictures are left")
    assert set(done[2:]) == {"compiled"}


def test_what_it_cost_and_saved_is_remembered(tmp_path: Path, model: Any) -> None:
    run(tmp_path, model, 64 * 64)
    # 30 s and half of the time: it pays from 2 · 30 / 0.5 = 120 s on, and of an unknown one from 720 s on.
    assert "compiled" in run(tmp_path, model, 4 * 64)
    assert run(tmp_path, model, 2 * 64) == ["plain", "plain"]
    other_machine = Compiled("auto", tmp_path, 4 * 64)
    other_machine.drew(64, 64.0, ("another", "model"), print)
    assert other_machine.unet(model, ("another", "model"), print) is None


def test_where_it_is_slower_it_is_given_up_for_good(tmp_path: Path, model: Any) -> None:
    done = run(tmp_path, model, 64 * 64, quick=1.1)
    assert done.count("compiled") == 1 and done[-1] == "plain"
    assert any("no quicker here" in word for word in done)
    assert set(run(tmp_path, model, 64 * 64, quick=1.1)) == {"plain"}, "the next run has it from the folder"


def test_on_and_off_are_obeyed(tmp_path: Path, model: Any) -> None:
    assert run(tmp_path, model, 2 * 64, asked="on") == ["compiled"] * 2
    assert run(tmp_path, model, 99 * 64, asked="off") == ["plain"] * 99


def test_a_model_that_is_asked_by_classes_is_drawn_as_it_is(tmp_path: Path, model: Any) -> None:
    model.classes = ("cat", "dog")
    assert run(tmp_path, model, 2 * 64, asked="on") == ["plain"] * 2


def test_a_compiler_that_fails_is_tried_once(tmp_path: Path, model: Any) -> None:
    compiled = Compiled("auto", tmp_path, 10**6)
    compiled.drew(64, 64.0, KIND, print)
    unet = compiled.unet(model, KIND, print)
    assert unet is not None
    unet.failed = True
    assert compiled.drew(64, 94.0, KIND, print) == 30.0
    assert compiled.unet(model, KIND, print) is None


def test_another_model_is_compiled_for_itself(tmp_path: Path, model: Any) -> None:
    compiled = Compiled("on", tmp_path, 0)
    first = compiled.unet(model, KIND, print)
    assert compiled.unet(model, KIND, print) is first
    other: Any = SimpleNamespace(parts={"unet": object()}, classes=())
    assert compiled.unet(other, KIND, print) is not first


def test_a_batch_size_that_was_found_out_is_remembered_for_its_kind_alone(tmp_path: Path) -> None:
    found = BatchSizes("auto", tmp_path).of(KIND, print)
    assert isinstance(found, GrowingBatchSize)
    found.drew(4, 1.0)
    found.drew(4, 1.0)
    found.drew(8, 3.0)
    found.drew(8, 3.0)
    assert not found.growing
    again = BatchSizes("auto", tmp_path)
    assert again.of(KIND, print).size == found.size and not isinstance(
        again.of(KIND, print), GrowingBatchSize
    )
    assert isinstance(again.of(("other",), print), GrowingBatchSize)


def test_a_number_is_one_for_all_and_stays_as_small_as_it_became(tmp_path: Path) -> None:
    sizes = BatchSizes(32, tmp_path)
    sizes.of(KIND, lambda line: None).ran_out(32)
    assert sizes.of(("other",), print).size == 16
    assert not any(tmp_path.iterdir())
