"""Scores of made-up faces: what a version of the evaluator is known by where no picture has a face."""

from collections.abc import Mapping, Sequence

import numpy as np

from erasure_bench.evaluators.base import ImageSet, Metric, Picture, Pixels, Scores
from erasure_bench.evaluators.face_match import match_metrics, score_matches
from erasure_bench.evaluators.face_names import NameMetrics, score_names
from erasure_bench.evaluators.faces import Box, Distance, Face, distances
from erasure_bench.evaluators.labelled_classifier import softmax
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role

NAMES = ("Ada", "Bert", "Cora")
NOBODY = len(NAMES)
SIZE = 16

CONCEPT = Concept(name="Ada", kind="identity", targets=("Ada",), anchor="a person", neighbours=("Bert",))


class _Reader:
    """A picture's first pixel says how many faces there are, whose is the first, and how it varies."""

    names = NAMES

    def __init__(self, distance: Distance | None) -> None:
        self.distance = distance

    def read(self, pixels: Sequence[Pixels]) -> list[list[Face]]:
        return [[self._face(picture, number) for number in range(picture[0, 0, 0])] for picture in pixels]

    def _face(self, picture: Pixels, number: int) -> Face:
        _, whose, variation = map(int, picture[0, 0])
        people = np.random.default_rng(0).normal(size=(NOBODY + 1, SIZE))
        place = (whose + number) % len(people)
        noise = np.random.default_rng((place, variation)).normal(size=SIZE)
        features = people[place] + noise
        if self.distance is None:
            features = softmax(-distances(features[None], people[:NOBODY], "Euclidean"))[0]
        return Face(Box(4.0 * number, 2.0, 30.0, 28.0, 0.9 - 0.1 * number), features)


def made_up_scores(naming: Sequence[NameMetrics]) -> Mapping[str, Sequence[float]]:
    """Every metric and the details' numbers, by either distance and by names; what is missing is −1."""
    kinds: tuple[Distance, ...] = ("cosine", "Euclidean")
    numbers: dict[str, Sequence[float]] = {}
    for kind in kinds:
        given = score_matches(_drawn(edited=True), _drawn(), _Reader(kind), kind, None, 8)
        numbers |= _numbers(f"{kind} ", given, match_metrics(kind, calibrated=True))
    for metrics in naming:
        numbers |= _numbers(
            "names ", score_names(_drawn(edited=True), _Reader(None), metrics, 8), metrics.all
        )
    return numbers


def _drawn(edited: bool = False) -> ImageSet:
    """Six pictures of each role and name, one without a face; edited, a third of them show somebody else."""
    asked: tuple[tuple[Role, str], ...] = (
        ("target", "Ada"),
        ("attack", "Ada"),
        ("neighbour", "Bert"),
        ("retention", "Cora"),
        ("anchor", "a person"),
    )
    pictures = []
    for place, (role, name) in enumerate(asked):
        whose = NAMES.index(name) if name in NAMES else NOBODY
        for number in range(6):
            pixels = np.zeros((32, 32, 3), np.uint8)
            faces = (1, 1, 2, 1, 1, 0)[number]
            pixels[0, 0] = (faces, whose + (edited and number % 3 == 1), 10 * place + number + 100 * edited)
            prompt = Prompt(id=f"{role}/{name}", text=name, role=role, subject=name)
            pictures.append(Picture(prompt, number, pixels))
    return ImageSet(CONCEPT, tuple(pictures))


def _numbers(of: str, given: Scores, metrics: Sequence[Metric]) -> dict[str, list[float]]:
    values, details = given.values.fillna({"value": -1.0}), given.details
    found = {of + metric.name: list(values.value[values.metric == metric.name]) for metric in metrics}
    if details is not None:
        numbers = details.select_dtypes("float").fillna(-1.0)
        found |= {f"{of}details, {column}": numbers[column].to_list() for column in numbers}
    return found
