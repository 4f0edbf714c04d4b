"""Labels that ask several questions: probabilities equal a sum over joint answers, mistakes are one line."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.classifier import ClassProbability
from erasure_bench.evaluators.composed_labels import WantedAnswers, wanted_answers
from erasure_bench.evaluators.labelled_classifier import entropy

HEADS = {
    "left": ("none", "cat", "boat", "grumpy cat"),
    "right": ("none", "cat", "boat"),
    "right colour": ("red", "blue"),
    "count": ("one", "two", "salt & pepper", "either | or"),
}
BOTH = "left/cat & right/boat | left/boat & right/cat"


@pytest.fixture
def seen() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {head: random.dirichlet(np.ones(len(labels))) for head, labels in HEADS.items()}


def _asked(label: str) -> WantedAnswers:
    asked = wanted_answers(label, HEADS)
    assert isinstance(asked, WantedAnswers), asked
    return asked


def _by_enumeration(asked: WantedAnswers, seen: dict[str, np.ndarray]) -> float:
    """The probability of every joint answer under which some alternative holds, added up."""
    total = 0.0
    for answers in itertools.product(*(range(len(labels)) for labels in HEADS.values())):
        given = dict(zip(HEADS, answers, strict=True))
        if any(all(given[head] == place for head, place in wanted.items()) for wanted in asked.alternatives):
            total += math.prod(seen[head][place] for head, place in given.items())
    return total


@pytest.mark.parametrize(
    "label",
    [
        "left/grumpy cat",
        "left/grumpy cat & right/boat & right colour/red",
        "grumpy cat & red",
        BOTH,
        "left/cat | right/cat | right colour/red & count/two",
        "left/cat & left/cat",
        "left/cat | left/cat",
        "salt & pepper",
        "either | or",
        "count/salt & pepper",
    ],
)
def test_the_probability_is_that_of_all_joint_answers(label: str, seen: dict[str, np.ndarray]) -> None:
    asked = _asked(label)

    assert asked.probability(seen) == pytest.approx(_by_enumeration(asked, seen), abs=1e-12)


def test_all_must_be_right_in_one_alternative() -> None:
    def of(**places: int) -> dict[str, np.ndarray]:
        return {head: np.eye(len(labels))[places.get(head, 0)] for head, labels in HEADS.items()}

    asked = _asked(BOTH)

    assert asked.all_right(of(left=1, right=2)) and asked.all_right(of(left=2, right=1))
    assert not asked.all_right(of(left=1, right=1)) and not asked.all_right(of(left=1))


def test_the_entropy_is_that_of_every_head_asked_once(seen: dict[str, np.ndarray]) -> None:
    assert _asked(BOTH).heads == ("left", "right")
    assert _asked(BOTH).entropy(seen) == pytest.approx(entropy(seen["left"]) + entropy(seen["right"]))


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("left/cat & ", "a part is empty"),
        ("left/cat &", "a part is empty"),
        ("left/cat | ", "a part is empty"),
        ("| left/cat", "a part is empty"),
        ("left/cat & right/dog", "no label 'right/dog'"),
        ("cat & right colour/red", "several heads"),
        ("left/cat & left/boat", "cannot both hold"),
        (" | ".join(["left/cat"] * 9), "at most 8"),
        ("purple", "no label 'purple'"),
    ],
)
def test_a_label_that_cannot_be_asked_says_why_in_one_line(label: str, word: str) -> None:
    reason = wanted_answers(label, HEADS)

    assert isinstance(reason, str) and word in reason and "\n" not in reason


def test_the_classifier_scores_composed_prompts(
    colour_classifier: tuple[Path, Path], image_set: Callable[..., ImageSet]
) -> None:
    """One head, so alternatives add up, and two of its labels at once are missing with the reason."""
    network, labels = map(str, colour_classifier)
    images = image_set(("retention", "red"), ("retention", "red | blue"), ("retention", "red & blue"))
    same = tuple(picture.pixels for picture in images.pictures[:1]) * 3
    pictures = [
        picture._replace(pixels=pixels) for picture, pixels in zip(images.pictures, same, strict=True)
    ]
    blue = pictures[0]._replace(prompt=replace(pictures[0].prompt, label="blue"), image_index=9)
    evaluator = ClassProbability(model=network, labels=labels)

    scores = evaluator.score(ImageSet(images.concept, (*pictures, blue)))
    table = scores.values.pivot(index="image_index", columns="metric", values="value")

    assert table.class_probability[1] == pytest.approx(
        table.class_probability[0] + table.class_probability[9]
    )
    assert math.isnan(table.class_accuracy[2]) and not math.isnan(table.known_share[2])
    assert scores.details is not None and list(scores.details.label) == ["red", "red | blue", "blue"]
