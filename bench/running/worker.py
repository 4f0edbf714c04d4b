"""Does one task: the same function whoever hands out the tasks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from erasure_bench.bench.planning.attacks import ChosenAttack
from erasure_bench.bench.planning.chosen import ChosenEvaluator, ChosenMethod
from erasure_bench.bench.planning.config import Compiling
from erasure_bench.bench.planning.tasks import EraseTask, FeatureTask, GenerateTask, ScoreTask
from erasure_bench.bench.running.base_models import BaseModels, Source
from erasure_bench.bench.running.compiled import FOLDER as COMPILING
from erasure_bench.bench.running.compiled import Compiled
from erasure_bench.bench.running.drawing import Drawing
from erasure_bench.bench.running.erasing import Erasing
from erasure_bench.bench.running.scoring import Scoring
from erasure_bench.bench.running.watcher import Watcher
from erasure_bench.bench.storage.checkpoints import EVERY_SECONDS
from erasure_bench.bench.storage.store import Store
from erasure_bench.prompt_suites.concepts import Concept

if TYPE_CHECKING:
    from erasure_bench.models.image_model import ImageModel


class Worker:
    """Loads what tasks need, once, and does them; every result goes to the store."""

    def __init__(
        self,
        source: Source,
        methods: Sequence[ChosenMethod],
        evaluators: Sequence[ChosenEvaluator],
        store: Store,
        *,
        device: str,
        dtype: str,
        batch_size: int | Literal["auto"],
        general_prompts: Sequence[str] = (),
        data_dir: Path | None = None,
        checkpoint_seconds: float = EVERY_SECONDS,
        attacks: Sequence[ChosenAttack] = (),
        compiling: Compiling = "off",
        pictures: int = 0,
    ) -> None:
        """`pictures` are those that this worker has to draw, as far as one knows: long runs are compiled."""
        self.store = store
        compiled = Compiled(compiling, store.root / COMPILING, pictures)
        sources = (source, *(method.base for method in methods if method.base))
        self._models = BaseModels(sources, store, device, dtype, compiled.forget)
        self._erasing = Erasing(
            methods,
            self._models,
            store,
            general_prompts=tuple(general_prompts),
            data_dir=data_dir,
            checkpoint_seconds=checkpoint_seconds,
        )
        self._drawing = Drawing(
            attacks,
            self._models,
            store,
            compiled,
            batch_size=batch_size,
            general_prompts=tuple(general_prompts),
            checkpoint_seconds=checkpoint_seconds,
        )
        self._scoring = Scoring(evaluators, store, lambda: self.device)

    @property
    def device(self) -> str:
        """The device that work runs on: the one asked for, or with `auto` a GPU where there is one."""
        return self._models.device

    def model(self, digest: str) -> "ImageModel":
        """The base model with these weights; raises BenchError where they are not those of the plan."""
        return self._models.model(digest)

    def prepare(self, evaluators: Iterable[str]) -> None:
        """Loads these evaluators now; raises BenchError where one cannot be, before anything is drawn."""
        for name in evaluators:
            self._scoring.evaluator(name)

    def erase(self, task: EraseTask, concept: Concept, watcher: Watcher) -> None:
        """Makes the edit, or reads a user's; `concept` is what a method that depends on none is told."""
        self._erasing.erase(task, concept, watcher)

    def generate(self, task: GenerateTask, watcher: Watcher) -> None:
        """Draws the pictures with the task's edit in the model, or those that the task's attack asks for."""
        self._drawing.generate(task, watcher)

    def score(self, task: ScoreTask) -> None:
        """Scores the pictures, read back from the store."""
        self._scoring.score(task)

    def features(self, task: FeatureTask) -> None:
        """Takes the features of the pictures, read back from the store or from the user's files."""
        self._scoring.features(task)

    def close(self) -> None:
        """Puts the base model's own weights back."""
        self._models.close()

    def forget_model(self) -> None:
        """Has the base model loaded anew: after a failure nobody knows what state it is in."""
        self._models.forget()
