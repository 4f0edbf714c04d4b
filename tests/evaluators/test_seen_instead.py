"""What is there instead: the anchor, something known, nothing; and an entropy that nobody can win."""

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.evaluators.classifier import ClassProbability
from erasure_bench.evaluators.seen_instead import content_places, sees_known, sees_nothing
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

torch = pytest.importorskip("torch")

HEADS = {
    "object": ("cat", "dog", "boat", "nothing"),
    "style": ("plain", "mosaic", "nothing"),
    "fire": ("no fire", "fire", "nothing"),
    "member": ("none", "grumpy cat", "nothing"),
}
FIRST_EDITION = {head: labels[:-1] for head, labels in HEADS.items()}


def seen(heads: dict[str, tuple[str, ...]], **shares: tuple[str, float]) -> dict[str, np.ndarray]:
    """A distribution for each head: this label with this probability, the others alike."""
    found = {}
    for head, labels in heads.items():
        label, share = shares.get(head, (labels[0], 1 / len(labels)))
        rest = (1 - share) / (len(labels) - 1)
        found[head] = np.array([share if each == label else rest for each in labels])
    return found


@pytest.mark.parametrize("heads", [HEADS, FIRST_EDITION])
def test_manner_and_absence_are_nothing_known(heads: dict[str, tuple[str, ...]]) -> None:
    places = content_places(heads)

    assert {head: [heads[head][place] for place in places[head]] for head in places} == {
        "object": ["cat", "dog", "boat"],
        "fire": ["fire"],
        "member": ["grumpy cat"],
    }
    unsure = {"object": ("cat", 0.49), "style": ("mosaic", 0.99), "fire": ("no fire", 1.0)}
    assert not sees_known(places, seen(heads, **unsure, member=("none", 1.0)))
    assert sees_known(places, seen(heads, **unsure | {"object": ("dog", 0.5)}, member=("none", 1.0)))
    assert sees_known(places, seen(heads, **unsure, member=("grumpy cat", 0.9)))


def test_nothing_is_the_first_heads_to_say() -> None:
    assert sees_nothing(HEADS, seen(HEADS, object=("nothing", 0.5)))
    assert not sees_nothing(HEADS, seen(HEADS, object=("cat", 0.9), style=("nothing", 0.9)))


class Brightness(torch.nn.Module):  # type: ignore[name-defined]
    """Black is nothing, grey is a dog, white is a cat: for sure."""

    heads = HEADS

    @classmethod
    def load(cls, folder: Path) -> "Brightness":
        return cls()

    def forward(self, images: Any) -> dict[str, Any]:
        darkness = 2 - (images.mean(dim=(1, 2, 3)) * 2).round().long()
        return {head: self._sure(labels, darkness) for head, labels in HEADS.items()}

    @staticmethod
    def _sure(labels: tuple[str, ...], darkness: Any) -> Any:
        """20 for the label: of `object` the cat, the dog or nothing, of the others the first or nothing."""
        answers = torch.tensor([0, min(1, len(labels) - 3), len(labels) - 1])
        return 20.0 * torch.nn.functional.one_hot(answers[darkness], len(labels)).float()


def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heads: Any) -> Path:
    module = types.ModuleType("brightness_of_the_test")
    module.Brightness = Brightness  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    description = {"network": "brightness_of_the_test:Brightness", "image_size": 8}
    (tmp_path / "oracle.json").write_text(json.dumps(description | {"architecture": {"heads": heads}}))
    return tmp_path


def test_of_three_pictures_each_shows_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    concept = Concept(
        name="cat",
        kind="object",
        targets=("cat",),
        anchor="a dog",
        label="object/cat",
        anchor_label="object/dog",
    )
    prompt = Prompt(id="p", text="a cat", role="target", subject="cat")
    shades = enumerate((255, 128, 0))
    images = ImageSet(
        concept, tuple(Picture(prompt, i, np.full((8, 8, 3), shade, np.uint8)) for i, shade in shades)
    )
    evaluator = ClassProbability(model=str(_folder(tmp_path, monkeypatch, HEADS)))

    scores = evaluator.score(images).values.pivot(index="image_index", columns="metric", values="value")

    assert scores.class_accuracy.tolist() == [1, 0, 0]
    assert scores.anchor_share.tolist() == [0, 1, 0]
    assert scores.known_share.tolist() == [1, 1, 0]
    assert scores.nothing_share.tolist() == [0, 0, 1]
    assert scores.anchor_probability.tolist() == pytest.approx([0, 1, 0], abs=1e-6)


def test_without_the_label_nothing_there_is_no_such_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = ClassProbability(model=str(_folder(tmp_path, monkeypatch, FIRST_EDITION)))

    assert "nothing_share" not in [metric.name for metric in evaluator.metrics]


def test_an_anchor_that_the_classifier_lacks_is_missing(
    colour_classifier: tuple[Path, Path], image_set: Callable[..., ImageSet]
) -> None:
    network, labels = map(str, colour_classifier)
    concept = Concept(name="red", kind="object", targets=("red",), anchor="a purple ball", label="red")

    frame = ClassProbability(model=network, labels=labels).score(image_set(("target", None), concept=concept))

    rows = frame.values.set_index("metric")
    assert rows.status["anchor_share"] == "missing" and "purple" in rows.reason["anchor_share"]
    assert rows.status["class_accuracy"] == "ok"


def test_entropy_and_the_anchor_only_describe() -> None:
    directions = {metric.name: set(metric.better.values()) for metric in ClassProbability().metrics}

    assert directions["entropy"] == directions["anchor_share"] == {"neither"}
    assert directions["known_share"] == {"higher"}
