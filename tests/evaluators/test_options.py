"""Texts of the command line become typed settings, or one clear line.

Beside the evaluators' tests because their options go through it; methods use the same function.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.prompt_suites.options import build_from_options

MODEL = "microworld"


@dataclass(frozen=True, kw_only=True)
class Example:
    group: Literal["xattn", "full"]
    rate: float = 1e-5
    steps: int = 200
    strict: bool = False
    layers: tuple[int, ...] = ()
    prefix: str | None = "x"
    width: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError("steps must not be negative")


def _build(settings: dict[str, object], **options: str) -> Example:
    return build_from_options(Example, settings, options, "--method-option", "method 'example'")


def test_texts_are_parsed_by_the_fields_types() -> None:
    built = _build(
        {}, group="full", rate="2e-4", steps="7", strict="true", layers="1, 2", prefix="none", width="8"
    )

    assert built == Example(
        group="full", rate=2e-4, steps=7, strict=True, layers=(1, 2), prefix=None, width=8
    )


def test_options_win_over_settings() -> None:
    assert _build({"group": "xattn", "steps": 5}, steps="6") == Example(group="xattn", steps=6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"group": "attention"}, ["group", "attention", "xattn", "full"]),
        ({"group": "full", "rate": "fast"}, ["rate", "fast", "number"]),
        ({"group": "full", "steps": "1.5"}, ["steps", "1.5", "integer"]),
        ({"group": "full", "layers": "1,two"}, ["layers", "two"]),
        ({"group": "full", "stepz": "1"}, ["stepz", "did you mean steps", "rate"]),
        ({"group": "full", "steps": "-1"}, ["steps must not be negative"]),
        ({"rate": "1"}, ["group"]),
    ],
)
def test_mistakes_are_one_line_that_names_the_flag(options: dict[str, str], words: list[str]) -> None:
    with pytest.raises(BenchError) as refused:
        _build({}, **options)

    message = str(refused.value)
    assert "\n" not in message
    assert all(word in message for word in ("--method-option", "method 'example'", *words))


def test_a_wrong_preset_is_refused_too() -> None:
    with pytest.raises(BenchError, match="rate"):
        _build({"group": "full", "rate": "fast"})


@pytest.mark.parametrize(
    ("name", "preset", "options", "words"),
    [
        ("classifier", "microworld", {"labels": "x.txt"}, "labels has no effect with model=microworld"),
        ("classifier", "microworld", {"weights": "x.pt"}, "weights has no effect with model=microworld"),
        ("classifier", "microworld", {"resolution": "32"}, "resolution has no effect"),
        ("classifier", None, {"output": "probabilities"}, "output has no effect with model=resnet50"),
        ("classifier", None, {"mean": "0.5,0.5,0.5"}, "mean has no effect"),
        (
            "classifier",
            None,
            {"model": "some.onnx", "weights": "x.pt"},
            "weights has no effect with model=some",
        ),
        ("clip", "microworld", {"weights": "x.pt"}, "weights has no effect with backbone=microworld"),
        ("quality", "pickscore", {"weights": "x.pt"}, "weights has no effect with backbone=yuvalkirstain/"),
        ("quality", None, {"backbone": "microworld", "weights": "x.pt"}, "weights has no effect"),
        ("inappropriate", None, {"backbone": "microworld", "weights": "x.pt"}, "weights has no effect"),
    ],
)
def test_an_option_that_an_evaluator_does_not_use_is_refused(
    name: str, preset: str | None, options: dict[str, str], words: str
) -> None:
    with pytest.raises(BenchError, match=f"evaluator '{name}': {words}.*--evaluator-option"):
        build_evaluator(name, preset, options)


def test_an_option_that_repeats_what_holds_anyway_is_no_mistake() -> None:
    build_evaluator("classifier", "microworld", {"output": "logits", "batch_size": "4"})
    build_evaluator("classifier", None, {"model": "some.onnx", "labels": "x.txt", "resolution": "32"})


def test_a_built_in_name_is_not_taken_for_a_folder_that_happens_to_lie_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"clip": "backbone", "classifier": "model"}
    elsewhere = {name: build_evaluator(name, None, {key: MODEL}) for name, key in options.items()}
    protocols = {name: evaluator.protocol() for name, evaluator in elsewhere.items()}
    (tmp_path / MODEL).mkdir()
    monkeypatch.chdir(tmp_path)
    for name, key in options.items():
        assert build_evaluator(name, None, {key: MODEL}).protocol() == protocols[name]
        with pytest.raises(BenchError, match="missing"):
            build_evaluator(name, None, {key: f"./{MODEL}"}).protocol()
