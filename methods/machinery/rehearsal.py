"""A method tried out on a model: its runs, each made once, with what each left behind."""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

from erasure_bench.foreign.process import ProcessState, RandomStates, left_alone, seed_all
from erasure_bench.methods.base import (
    Cache,
    Checkpoints,
    EraseContext,
    Method,
    MethodCard,
    NoCache,
    NoCheckpoints,
    Progress,
)
from erasure_bench.methods.edit import Edit, applied
from erasure_bench.methods.machinery.traces import ModelState, Values
from erasure_bench.methods.registry import DEFAULT_PRESET, build_method, method_card
from erasure_bench.models.datasets.base import LabelledParts
from erasure_bench.models.guidance import ClassifierFree, Guidance
from erasure_bench.models.image_model import ImageModel
from erasure_bench.models.sampling import sample_images
from erasure_bench.prompt_suites.concepts import Concept

GLOBAL_SEED, OTHER_GLOBAL_SEED = 54321, 12345
"""Of the global random states that runs find: none that a method would seed, which could then not be seen."""
PICTURE_SEED = 1

Watch = Callable[[int, int, str], None]


def unwatched(made: int, total: int, unit: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A method, as `build_method` takes it, and what it is tried on.

    The first of `concepts` is erased, and all of them together where the method's card says that it
    can. `prompt` asks for the first; its picture is drawn in `steps` steps with `guidance_scale`.
    `general_prompts` and `training_data` are for methods whose card asks for them. `watch` is told how many
    of how many of what (steps, pictures) an erasure has done.
    """

    method: str
    model: ImageModel
    concepts: Sequence[Concept]
    prompt: str
    preset: str = DEFAULT_PRESET
    options: Mapping[str, str] = field(default_factory=dict)
    general_prompts: tuple[str, ...] = ()
    training_data: Callable[[], LabelledParts] | None = None
    steps: int = 4
    guidance_scale: float = 7.5
    watch: Watch = unwatched


class Run(NamedTuple):
    """One call of `erase`: what it gave, what it reported, and what it left behind (empty: nothing)."""

    edit: Edit
    reported: tuple[Progress, ...]
    left_changed: str
    generators_used: str


class Rehearsal:
    """Runs of one method, each made once, when it is first asked for.

    Raises BenchError where the method cannot be built.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.card: MethodCard = method_card(trial.method)
        self.method: Method = build_method(trial.method, trial.preset, trial.options)
        self.before, self.values = ModelState.of(trial.model, trial.prompt), Values.of(trial.model)
        self.kept = _Memory()

    def left_changed(self) -> str:
        """What of the model is not as it was at first; empty where everything is."""
        return self.before.changes(self.trial.model)

    @cached_property
    def first(self) -> Run:
        """The first concept, seed 0."""
        return self.run(self.trial.concepts[:1])

    @cached_property
    def again(self) -> Run:
        """The first run once more, nothing kept, with other global random states: these must not matter."""
        return self.run(self.trial.concepts[:1], global_seed=OTHER_GLOBAL_SEED, cache=NoCache())

    @cached_property
    def other_seed(self) -> Run:
        """The first concept, seed 1."""
        return self.run(self.trial.concepts[:1], seed=1)

    @cached_property
    def reloaded(self) -> Edit:
        """The first run's edit, saved and loaded."""
        with tempfile.TemporaryDirectory() as folder:
            self.first.edit.save(folder)
            loaded = Edit.load(folder)
            return dataclasses.replace(
                loaded, tensors={name: tensor.clone() for name, tensor in loaded.tensors.items()}
            )

    def run(
        self,
        concepts: Sequence[Concept],
        seed: int = 0,
        global_seed: int = GLOBAL_SEED,
        cache: Cache | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Run:
        """One erasure; whatever it changed is put back afterwards. Runs share a cache of their own."""
        reported: list[Progress] = []

        def report(progress: Progress) -> None:
            reported.append(progress)
            self.trial.watch(progress.step, progress.steps, "steps")

        general = self.trial.general_prompts if self.card.general_prompts else ()
        context = EraseContext(
            seed=seed,
            report=report,
            prepared=lambda preparation: self.trial.watch(*preparation),
            general_prompts=general,
            training_data=self.trial.training_data if self.card.training_data else None,
            cache=cache or self.kept,
            checkpoints=checkpoints or NoCheckpoints(),
        )
        states, process = RandomStates.now(), ProcessState.now()
        try:
            seed_all(global_seed)
            started = RandomStates.now()
            edit = self.method.erase(self.trial.model, concepts, context)
            used = started.differences(RandomStates.now())
            left = ", ".join(filter(None, [*process.put_back(), self.left_changed()]))
            return Run(edit, tuple(reported), left, used)
        finally:
            states.put_back()
            process.put_back()
            self.before.put_back()
            self.values.put_back(self.trial.model)

    def draw(self, edit: Edit | None) -> Tensor:
        """The picture of the prompt, [1, 3, height, width] in [0, 1], with the edit, or without any."""
        if edit is None:
            return self._picture(ClassifierFree())
        with applied(self.trial.model, edit) as guidance, left_alone("its guidance"):
            return self._picture(guidance)

    def _picture(self, guidance: Guidance) -> Tensor:
        return sample_images(
            self.trial.model,
            [self.trial.prompt],
            [PICTURE_SEED],
            scheduler="ddim",
            steps=self.trial.steps,
            guidance_scale=self.trial.guidance_scale,
            guidance=guidance,
        )


class _Memory(NoCache):
    """`methods.base.Cache` in memory: a rehearsal draws its pictures of the base model once."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], dict[str, Tensor]] = {}

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        name = maker, json.dumps(key, sort_keys=True)
        if name not in self.entries:
            self.entries[name] = make()
        return {each: tensor.detach().cpu().clone() for each, tensor in self.entries[name].items()}
