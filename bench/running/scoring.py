"""Scores and features of pictures that are in the store, by evaluators that are loaded once."""

import dataclasses
import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from erasure_bench.bench.planning.chosen import (
    ChosenEvaluator,
    check_unchanged,
    check_weights,
    with_its_option,
)
from erasure_bench.bench.planning.tasks import FeatureTask, ScoreTask
from erasure_bench.bench.running.kept_features import take_features
from erasure_bench.bench.running.pictures import picture_names, read_pictures
from erasure_bench.bench.running.versions import package_versions
from erasure_bench.bench.storage.store import Store, apart
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Evaluator, ImageSet, scored
from erasure_bench.evaluators.score_frames import checked_scores
from erasure_bench.foreign.errors import in_one_line
from erasure_bench.foreign.process import left_alone

SCORES_FILE, DETAILS_FILE = "scores.parquet", "details.parquet"


class Scoring:
    """The evaluators of a plan, each loaded when the first task needs it, on the device that is `picked`."""

    def __init__(
        self, evaluators: Iterable[ChosenEvaluator], store: Store, picked: Callable[[], str]
    ) -> None:
        self._chosen = {evaluator.name: evaluator for evaluator in evaluators}
        self._store, self._picked = store, picked
        self._loaded: dict[str, Evaluator] = {}
        self._base_pictures: tuple[object, ImageSet] | None = None

    def evaluator(self, name: str) -> Evaluator:
        """Raises BenchError where it cannot be loaded, or its code has changed since it was chosen."""
        if name not in self._loaded:
            chosen = self._chosen[name]
            check_unchanged(chosen)
            self._loaded[name] = loaded(chosen, self._picked())
        return self._loaded[name]

    def score(self, task: ScoreTask) -> None:
        """Scores the pictures, read back from the store."""
        evaluator = self.evaluator(task.evaluator)
        pictures = read_pictures(self._store.entry("generate", task.generate.id), task.generate)
        images = ImageSet(concept=task.concept, pictures=pictures)
        base = self._pictures_of_base(task) if task.base else None
        with self._store.writing(task.kind, task.id) as draft:
            started = time.perf_counter()
            with apart(), left_alone(f"{task.evaluator}'s score"):
                given = scored(evaluator, images, base)
            seconds = time.perf_counter() - started
            with in_one_line(task.evaluator):
                metrics = self._chosen[task.evaluator].metrics
                scores = checked_scores(given, metrics, picture_names(task.generate))
                scores.values.to_parquet(draft.folder / SCORES_FILE, index=False)
                if scores.details is not None:
                    scores.details.to_parquet(draft.folder / DETAILS_FILE, index=False)
            draft.about = {
                "evaluator": task.evaluator,
                "protocol": dict(task.protocol),
                "generate": task.generate.id,
                "concept": task.concept.name,
                "score_seconds": seconds,
                "versions": package_versions(),
            }

    def features(self, task: FeatureTask) -> None:
        """Takes the features of the pictures, read back from the store or from the user's files."""
        evaluator = self.evaluator(task.evaluator)
        with left_alone(f"{task.evaluator}'s features"), in_one_line(task.evaluator):
            take_features(self._store, task, evaluator)

    def _pictures_of_base(self, task: ScoreTask) -> ImageSet:
        """The base model's pictures that the scores compare with; the last are kept for the next task."""
        key = (task.concept, *((drawn.id, drawn.images.asked) for drawn in task.base))
        if self._base_pictures is None or self._base_pictures[0] != key:
            pictures = (read_pictures(self._store.entry("generate", drawn.id), drawn) for drawn in task.base)
            images = ImageSet(concept=task.concept, pictures=tuple(chain.from_iterable(pictures)))
            self._base_pictures = key, images
        return self._base_pictures[1]


def loaded(chosen: ChosenEvaluator, device: str) -> Evaluator:
    """The evaluator with its weights, on `device` where the user has not named another one.

    Raises BenchError where it cannot be loaded, NotHere where what it needs is not on this machine.
    """
    from erasure_bench.evaluators.registry import build_evaluator

    own = build_evaluator(chosen.registered, chosen.preset, chosen.options, chosen.settings)
    what = f"evaluator {chosen.name!r} cannot be prepared"
    with with_its_option(chosen.name), in_one_line(what), left_alone("its prepare"):
        check_weights(chosen, own)
        return prepared(own, device, may_move="device" not in chosen.options)


def prepared(evaluator: Evaluator, device: str, *, may_move: bool) -> Evaluator:
    """The evaluator, loaded; on `device` where it has such a setting and can run there."""
    if may_move and getattr(evaluator, "device", device) != device:
        settings: Any = evaluator
        moved: Evaluator = dataclasses.replace(settings, device=device)
        try:
            moved.prepare()
            return moved
        except BenchError:
            pass  # its runtime may know only the CPU (onnxruntime without CUDA)
    evaluator.prepare()
    return evaluator
