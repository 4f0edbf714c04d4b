"""Edits: what a method makes of a base model, or a user's own weights, read."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from erasure_bench.bench.planning.chosen import ChosenMethod, check_unchanged
from erasure_bench.bench.planning.tasks import EraseTask
from erasure_bench.bench.running.base_models import BaseModels
from erasure_bench.bench.running.in_turn import following, on_top_of
from erasure_bench.bench.running.versions import made_on
from erasure_bench.bench.running.watcher import Watcher
from erasure_bench.bench.storage.cache import StoreCache
from erasure_bench.bench.storage.checkpoints import StoreCheckpoints
from erasure_bench.bench.storage.store import Store, apart
from erasure_bench.bench.words.showing import one_line
from erasure_bench.errors import BenchError
from erasure_bench.foreign.process import left_alone
from erasure_bench.prompt_suites.concepts import Concept

if TYPE_CHECKING:
    from erasure_bench.methods.edit import Edit
    from erasure_bench.methods.machinery.cost import Cost
    from erasure_bench.methods.machinery.user_weights import UserEdit
    from erasure_bench.models.datasets.base import LabelledParts


class Erasing:
    """The methods of a plan at work; what one is given is kept in the store, and its long trainings too."""

    def __init__(
        self,
        methods: Sequence[ChosenMethod],
        models: BaseModels,
        store: Store,
        *,
        general_prompts: tuple[str, ...],
        data_dir: Path | None,
        checkpoint_seconds: float,
    ) -> None:
        self._methods = {method.name: method for method in methods}
        self._models, self._store = models, store
        self._general_prompts, self._data_dir = general_prompts, data_dir
        self._checkpoint_seconds = checkpoint_seconds

    def erase(self, task: EraseTask, concept: Concept, watcher: Watcher) -> None:
        """Makes the edit, or reads a user's; `concept` is what a method that depends on none is told."""
        self._models.close()
        chosen = self._methods[task.method]
        concepts = task.concepts or (concept,)
        checkpoints = StoreCheckpoints(self._store, task.id, self._checkpoint_seconds, watcher.note)
        with self._store.writing(task.kind, task.id) as draft:
            read_as: list[str] = []
            cost: dict[str, Any] = {"erase_seconds": None, "peak_memory_bytes": 0}
            with apart():
                if chosen.weights is None:
                    make = partial(self._made, task, chosen, concepts, watcher)
                    made = self._gone_on_with(checkpoints, make, task, watcher)
                    edit, cost = made.edit, made.about
                else:
                    found = self._read(task, chosen.weights, concepts)
                    edit, read_as = found.edit, [found.format, *found.notes]
            edit.save(draft.folder)
            self._models.prove_untouched(task)
            draft.about = {
                "method": task.method,
                "settings": dict(task.settings),
                "read_as": read_as,
                "concepts": [concept.name for concept in task.concepts],
                "seed": task.seed,
                "base": task.base,
                "dtype": task.dtype,
                "memory": edit.cost.memory,
                "steps": edit.cost.steps,
                **cost,
                **made_on(self._models.device),
            }
        checkpoints.clear()

    def _gone_on_with(
        self,
        checkpoints: StoreCheckpoints,
        make: "Callable[[StoreCheckpoints], _Made]",
        task: EraseTask,
        watcher: Watcher,
    ) -> "_Made":
        """What the method makes; from the start where it does not go on from its checkpoint as it had."""
        from erasure_bench.methods.machinery.training import NotResumable

        try:
            return make(checkpoints)
        except NotResumable as error:
            checkpoints.clear()
            watcher.note(f"{task.method}: made from the start: {one_line(error)}")
            anew = StoreCheckpoints(self._store, task.id, self._checkpoint_seconds, watcher.note)
            return make(anew)

    def _made(
        self,
        task: EraseTask,
        chosen: ChosenMethod,
        concepts: Sequence[Concept],
        watcher: Watcher,
        checkpoints: StoreCheckpoints,
    ) -> "_Made":
        """The method's edit with the cost that was measured here, whatever the method says of itself."""
        from erasure_bench.methods.base import EraseContext
        from erasure_bench.methods.edit import Edit, check_edit
        from erasure_bench.methods.machinery.cost import Meter
        from erasure_bench.methods.registry import build_method

        check_unchanged(chosen)
        cache = StoreCache(
            self._store,
            task.learns_from,
            task.dtype,
            checkpoint_seconds=self._checkpoint_seconds,
            say=watcher.note,
        )
        context = EraseContext(
            seed=task.seed or 0,
            report=lambda progress: watcher.step(progress.step, progress.steps, progress.loss),
            prepared=lambda preparation: watcher.preparing(*preparation),
            general_prompts=self._general_prompts if task.general_prompts else (),
            cache=cache,
            checkpoints=checkpoints,
            training_data=partial(self._training_data, task.base) if chosen.training_data else None,
        )
        model = self._models.ready(task.base, watcher.aside)
        with (
            on_top_of(task, model, self._store) as earlier,
            left_alone(f"{task.method}'s erase", task.seed or 0),
        ):
            method = build_method(chosen.registered, chosen.preset, chosen.options)
            with Meter(model.device) as meter:
                given = method.erase(model, concepts, context)
            check_edit(given, model, concepts)
        measured = meter.cost(given.cost.steps)
        elsewhere = cache.kept_seconds + checkpoints.trained_seconds
        cost = dataclasses.replace(measured, seconds=measured.seconds + elsewhere)
        fields = {field.name: getattr(given, field.name) for field in dataclasses.fields(Edit)}
        made = Edit(**{**fields, "cost": cost})
        made = made if earlier is None else following(earlier, made)
        return _Made(made, made.cost, cache.kept_seconds, given.cost)

    def _training_data(self, digest: str) -> "LabelledParts":
        from erasure_bench.models.conditional.origin import training_data

        return training_data(self._models.source(digest).path, self._data_dir)

    def _read(self, task: EraseTask, path: Path, concepts: Sequence[Concept]) -> "UserEdit":
        from erasure_bench.methods.machinery.user_weights import read_user_edit
        from erasure_bench.models.checkpoints.files import checkpoint_digest

        settings = dict(task.settings)
        digest = settings.pop("digest")
        found = read_user_edit(path, self._models.model(task.base), concepts, **settings)
        if checkpoint_digest(path) != digest:
            raise BenchError(f"{path}: the file changed while the run was starting; run again")
        return found


class _Made(NamedTuple):
    """An edit, what it cost, how much of that was spent for an earlier edit, and what its method claims."""

    edit: "Edit"
    cost: "Cost"
    kept_seconds: float
    claimed: "Cost"

    @property
    def about(self) -> dict[str, Any]:
        """The cost in JSON's types: `erase_seconds` is of everything that the edit needed, `kept_seconds` the
        part of it that went into what the store kept from an earlier edit (pictures, a Fisher diagonal)."""
        return {
            "erase_seconds": self.cost.seconds,
            "kept_seconds": self.kept_seconds,
            "peak_memory_bytes": self.cost.peak_memory_bytes,
            "claimed": dataclasses.asdict(self.claimed),
        }
