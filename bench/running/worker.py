"""Does one task: the same function whoever hands out the tasks.

The base model and each evaluator are loaded once, when the first task needs them.
"""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast

from erasure_bench.bench.planning.attacks import ChosenAttack
from erasure_bench.bench.planning.chosen import (
    ChosenEvaluator,
    ChosenMethod,
    check_unchanged,
    with_its_label,
)
from erasure_bench.bench.planning.config import Compiling
from erasure_bench.bench.planning.devices import pick_device
from erasure_bench.bench.planning.tasks import EraseTask, FeatureTask, GenerateTask, ScoreTask
from erasure_bench.bench.running.attacking import Asked, attacked, request_of
from erasure_bench.bench.running.batch_sizes import FOLDER as BATCH_SIZES
from erasure_bench.bench.running.batch_sizes import BatchSizes
from erasure_bench.bench.running.compiled import FOLDER as COMPILING
from erasure_bench.bench.running.compiled import Compiled
from erasure_bench.bench.running.in_turn import following, on_top_of
from erasure_bench.bench.running.kept_features import take_features
from erasure_bench.bench.running.libraries import full_precision, quiet_libraries
from erasure_bench.bench.running.pictures import picture_names, read_pictures, write_png
from erasure_bench.bench.running.versions import device_name, package_versions
from erasure_bench.bench.storage.cache import StoreCache
from erasure_bench.bench.storage.checkpoints import EVERY_SECONDS, StoreCheckpoints
from erasure_bench.bench.storage.store import Store, apart
from erasure_bench.bench.words.showing import one_line
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Evaluator, ImageSet, Pixels, scored
from erasure_bench.evaluators.score_frames import checked_scores
from erasure_bench.foreign.errors import in_one_line
from erasure_bench.foreign.meaning import PACKAGE
from erasure_bench.foreign.process import LeftBehind, left_alone
from erasure_bench.prompt_suites.concepts import Concept

if TYPE_CHECKING:
    from erasure_bench.methods.edit import Edit
    from erasure_bench.methods.machinery.cost import Cost
    from erasure_bench.methods.machinery.traces import ModelState
    from erasure_bench.methods.machinery.user_weights import UserEdit
    from erasure_bench.models.datasets.base import LabelledParts
    from erasure_bench.models.diffusion_model import DiffusionModel
    from erasure_bench.models.guidance import Guidance
    from erasure_bench.models.image_model import ImageModel

SCORES_FILE, DETAILS_FILE = "scores.parquet", "details.parquet"


class Source(Protocol):
    """Where the base model's weights lie (`models.zoo.ModelSource`)."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> Path: ...

    @property
    def preset(self) -> str | None: ...

    @property
    def digest(self) -> str: ...


class Watcher(Protocol):
    """Is told how work goes on; never changes it."""

    def preparing(self, made: int, total: int, unit: str) -> None: ...

    def step(self, step: int, steps: int, loss: float) -> None: ...

    def images(self, count: int) -> None: ...

    def aside(self, seconds: float) -> None: ...

    def note(self, line: str) -> None: ...


class Worker:
    """Loads what tasks need and does them; every result goes to the store.

    At most one edit is in the model at a time: `use` puts it there, `close` takes it out again.
    """

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
        self.checkpoint_seconds = checkpoint_seconds
        self.general_prompts = tuple(general_prompts)
        self.data_dir = data_dir
        self._sources = {
            base.digest: base for base in (source, *(method.base for method in methods if method.base))
        }
        self._loaded: ImageModel | None = None
        self._pristine: ModelState | None = None
        self._with_edit: ModelState | None = None
        self.asked_device, self.dtype = device, dtype
        self._batch_sizes = BatchSizes(batch_size, store.root / BATCH_SIZES)
        self._compiled = Compiled(compiling, store.root / COMPILING, pictures)
        self._methods = {method.name: method for method in methods}
        self._attacks = {attack.name: attack for attack in attacks}
        self._unedited: ImageModel | None = None
        self._chosen_evaluators = {evaluator.name: evaluator for evaluator in evaluators}
        self._evaluators: dict[str, Evaluator] = {}
        self._base_pictures: tuple[object, ImageSet] | None = None
        self._in_use: str | None = None
        self._guidance: Guidance | None = None
        self._edit_stack = ExitStack()

    def close(self) -> None:
        """Puts the base model's own weights back."""
        self._in_use, self._guidance, self._with_edit = None, None, None
        self._edit_stack.close()

    @cached_property
    def device(self) -> str:
        """The device that work runs on: the one asked for, or with `auto` a GPU where there is one."""
        full_precision()
        return pick_device(self.asked_device)

    def model(self, digest: str) -> "ImageModel":
        """The base model with these weights; one is in memory at a time.

        Raises BenchError where the weights are not those that were planned for.
        """
        if self._loaded is None or self._loaded.digest != digest:
            self.forget_model()
            self._loaded = self._load(self._sources[digest])
            self._pristine = _state_of(self._loaded)
        return self._loaded

    def _ready(self, digest: str, watcher: Watcher) -> "ImageModel":
        """`model`, and the watcher is told how long it took to load: that is no part of the task."""
        started = time.perf_counter()
        model = self.model(digest)
        watcher.aside(time.perf_counter() - started)
        return model

    def _load(self, source: Source) -> "ImageModel":
        import torch

        from erasure_bench.models.layouts import layout_of

        quiet_libraries()
        model = layout_of(source.path).load(
            source.path,
            name=source.name,
            device=self.device,
            dtype=getattr(torch, self.dtype),
            preset=source.preset,
        )
        if model.digest != source.digest:
            raise BenchError(f"{source.path}: the weights changed while the run was starting; run again")
        return model

    def erase(self, task: EraseTask, concept: Concept, watcher: Watcher) -> None:
        """Makes the edit, or reads a user's; `concept` is what a method that depends on none is told."""
        self.close()
        chosen = self._methods[task.method]
        concepts = task.concepts or (concept,)
        checkpoints = StoreCheckpoints(self.store, task.id, self.checkpoint_seconds, watcher.note)
        with self.store.writing(task.kind, task.id) as draft:
            read_as: list[str] = []
            cost: dict[str, Any] = {"erase_seconds": None, "peak_memory_bytes": 0}
            with apart():
                if chosen.weights is None:
                    made = self._make(task, chosen, concepts, watcher, checkpoints)
                    edit, cost = made.edit, made.about
                else:
                    found = self._read(task, chosen.weights, concepts)
                    edit, read_as = found.edit, [found.format, *found.notes]
            edit.save(draft.folder)
            self._prove_untouched(task)
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
                **self._where(),
            }
        checkpoints.clear()

    def _make(
        self,
        task: EraseTask,
        chosen: ChosenMethod,
        concepts: Sequence[Concept],
        watcher: Watcher,
        checkpoints: StoreCheckpoints,
    ) -> "_Made":
        """What the method makes; from the start where it does not go on from its checkpoint as it had."""
        from erasure_bench.methods.machinery.training import NotResumable

        try:
            return self._made(task, chosen, concepts, watcher, checkpoints)
        except NotResumable as error:
            checkpoints.clear()
            watcher.note(f"{task.method}: made from the start: {one_line(error)}")
            anew = StoreCheckpoints(self.store, task.id, self.checkpoint_seconds, watcher.note)
            return self._made(task, chosen, concepts, watcher, anew)

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
            self.store,
            task.learns_from,
            task.dtype,
            checkpoint_seconds=self.checkpoint_seconds,
            say=watcher.note,
        )
        context = EraseContext(
            seed=task.seed or 0,
            report=lambda progress: watcher.step(progress.step, progress.steps, progress.loss),
            prepared=lambda preparation: watcher.preparing(*preparation),
            general_prompts=self.general_prompts if task.general_prompts else (),
            cache=cache,
            checkpoints=checkpoints,
            training_data=partial(self._training_data, task.base) if chosen.training_data else None,
        )
        model = self._ready(task.base, watcher)
        with (
            on_top_of(task, model, self.store) as earlier,
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

        return training_data(self._sources[digest].path, self.data_dir)

    def _read(self, task: EraseTask, path: Path, concepts: Sequence[Concept]) -> "UserEdit":
        from erasure_bench.methods.machinery.user_weights import read_user_edit
        from erasure_bench.models.checkpoints.files import checkpoint_digest

        settings = dict(task.settings)
        digest = settings.pop("digest")
        found = read_user_edit(path, self.model(task.base), concepts, **settings)
        if checkpoint_digest(path) != digest:
            raise BenchError(f"{path}: the file changed while the run was starting; run again")
        return found

    def generate(self, task: GenerateTask, watcher: Watcher) -> None:
        """Draws the pictures with the task's edit in the model, or those that the task's attack asks for."""
        from erasure_bench.models.compiling import drawn_with
        from erasure_bench.models.sampling import sample
        from erasure_bench.models.weights import swapped

        self._ready(task.erase.base, watcher)
        base = self._base_of(task)
        guidance = self._use(task.erase)
        model = self.model(task.erase.base)
        kind = self._kind(task, guidance)
        batch = self._batch_sizes.of(kind, watcher.note)
        unet = self._compiled.unet(model, kind, watcher.note)
        with self.store.writing(task.kind, task.id) as draft:
            started = time.perf_counter()
            asked = Asked(list(map(request_of, task.images.images)), {}, {})
            if task.attack is not None:
                asked = attacked(
                    task,
                    self._attacks[task.attack.name],
                    cast("DiffusionModel", model),  # the plan attacks no other family
                    guidance,
                    cast("DiffusionModel | None", base),
                    self.store,
                    self.general_prompts,
                    lambda progress: watcher.step(progress.step, progress.steps, progress.loss),
                    draft.folder,
                    checkpoint_seconds=self.checkpoint_seconds,
                    say=watcher.note,
                )
            searched = time.perf_counter() - started
            started += searched
            written = None if any(asked.middles) else partial(self._keep_picture, task, draft.folder)
            with (
                apart(),
                left_alone(f"{task.erase.method}'s guidance"),
                swapped(model, asked.tensors),
                drawn_with(unet),
            ):
                pictures = sample(
                    model,
                    asked.requests,
                    scheduler=task.scheduler,
                    steps=task.steps,
                    eta=task.eta,
                    guidance=guidance,
                    batch_size=batch,
                    on_batch=watcher.images,
                    keep=written,
                )
            seconds = time.perf_counter() - started
            compiling = self._compiled.drew(len(pictures), seconds, kind, watcher.note)
            watcher.aside(compiling)
            if self._with_edit is not None:
                self._prove_same(self._with_edit, task.erase.base, f"{task.erase.method}'s guidance")
            if written is None:
                for index, pixels in enumerate(asked.shown(pictures)):
                    self._keep_picture(task, draft.folder, index, pixels)
            draft.about = {
                "erase": task.erase.id,
                "role": task.images.role,
                "images": [
                    {
                        "file": task.file_name(index),
                        "prompt_id": image.prompt.id,
                        "image_index": image.image_index,
                        "seed": request.seed,  # an attack's tries have their own
                        "guidance_scale": image.guidance_scale,
                        "height": image.height,
                        "width": image.width,
                    }
                    for index, (image, request) in enumerate(
                        zip(task.images.images, asked.requests, strict=True)
                    )
                ],
                "scheduler": task.scheduler,
                "steps": task.steps,
                "eta": task.eta,
                "generate_seconds": seconds - compiling,
                "batch_size": batch.size,
                "compiled": unet is not None and not unet.failed,
                **self._where(),
                **({"attack": {**asked.about, "search_seconds": searched}} if asked.about else {}),
            }

    def _keep_picture(self, task: GenerateTask, folder: Path, index: int, pixels: Pixels) -> None:
        """Raises StoreError where the disk is full: it is called in the midst of someone's code."""
        with self.store.disk_told():
            write_png(folder / task.file_name(index), pixels)

    def _base_of(self, task: GenerateTask) -> "ImageModel | None":
        """A copy of the base model with its own weights, where the task's attack needs one.

        The run's: what another base model, a row of its own, draws of the concept is what is to be found out.
        """
        if task.attack is None or not self._attacks[task.attack.name].needs_base:
            return None
        digest = task.attack.base
        if self._unedited is None or self._unedited.digest != digest:
            self.close()
            unedited = self.model(digest).frozen_copy()
            self.model(task.erase.base)  # which forgets the copy, where it is another one
            self._unedited = unedited
        return self._unedited

    def score(self, task: ScoreTask) -> None:
        """Scores the pictures, read back from the store."""
        evaluator = self._evaluator(task.evaluator)
        pictures = read_pictures(self.store.entry("generate", task.generate.id), task.generate)
        images = ImageSet(concept=task.concept, pictures=pictures)
        base = self._pictures_of_base(task) if task.base else None
        with self.store.writing(task.kind, task.id) as draft:
            started = time.perf_counter()
            with apart(), left_alone(f"{task.evaluator}'s score"):
                given = scored(evaluator, images, base)
            seconds = time.perf_counter() - started
            with in_one_line(task.evaluator):
                metrics = self._chosen_evaluators[task.evaluator].metrics
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
        evaluator = self._evaluator(task.evaluator)
        with left_alone(f"{task.evaluator}'s features"), in_one_line(task.evaluator):
            take_features(self.store, task, evaluator)

    def _pictures_of_base(self, task: ScoreTask) -> ImageSet:
        """The base model's pictures that the scores compare with; the last are kept for the next task."""
        key = (task.concept, *((drawn.id, drawn.images.asked) for drawn in task.base))
        if self._base_pictures is None or self._base_pictures[0] != key:
            pictures = (read_pictures(self.store.entry("generate", drawn.id), drawn) for drawn in task.base)
            images = ImageSet(concept=task.concept, pictures=tuple(chain.from_iterable(pictures)))
            self._base_pictures = key, images
        return self._base_pictures[1]

    def prepare(self, evaluators: Iterable[str]) -> None:
        """Loads these evaluators now; raises BenchError where one cannot be, before anything is drawn."""
        for name in evaluators:
            self._evaluator(name)

    def forget_model(self) -> None:
        """Has the base model loaded anew: after a failure nobody knows what state it is in."""
        self.close()
        if self._pristine is not None:
            self._pristine.put_back()  # a patched class would serve the next model, too
        self._compiled.forget()
        self._loaded = self._pristine = self._unedited = None

    def _use(self, task: EraseTask) -> "Guidance":
        from erasure_bench.methods.edit import Edit, applied

        if self._in_use != task.id or self._guidance is None:
            self.close()
            edit: Edit = Edit.load(self.store.entry(task.kind, task.id).checked())
            self._guidance = self._edit_stack.enter_context(applied(self.model(task.base), edit))
            self._in_use = task.id
            acting = (self._guidance, *edit.attachments)
            if not all(type(one).__module__.startswith(f"{PACKAGE}.") for one in acting):
                self._with_edit = _state_of(self.model(task.base))
        return self._guidance

    def _prove_untouched(self, task: EraseTask) -> None:
        """Raises LeftBehind where the base model is not what it was when it was loaded."""
        if self._pristine is not None:
            self._prove_same(self._pristine, task.base, f"{task.method}'s erase")

    def _prove_same(self, state: "ModelState", base: str, whose: str) -> None:
        if left := state.changes(self.model(base)):
            raise LeftBehind(f"{whose} left the model changed: {left}; it is loaded anew")

    def _evaluator(self, name: str) -> Evaluator:
        if name not in self._evaluators:
            chosen = self._chosen_evaluators[name]
            check_unchanged(chosen)
            self._evaluators[name] = loaded(chosen, self.device)
        return self._evaluators[name]

    def _kind(self, task: GenerateTask, guidance: "Guidance") -> tuple[object, ...]:
        """All that says how quickly pictures are drawn, and how many fit into memory."""
        pixels = max(image.height * image.width for image in task.images.images)
        passes = 2 + len(guidance.texts)
        torch = package_versions()["torch"]
        return (device_name(self.device), torch, task.erase.base, self.dtype, pixels, passes)

    def _where(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "device_name": device_name(self.device),
            "versions": package_versions(),
        }


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


def _state_of(model: "ImageModel") -> "ModelState":
    """Raises LeftBehind where a user's file patched the model's classes before any state was taken."""
    from erasure_bench.methods.machinery.traces import ModelState, patches

    if patched := patches(model):
        raise LeftBehind(f"a user's file patched {patched} when it was imported: every row would have it")
    return ModelState.of(model)


def loaded(chosen: ChosenEvaluator, device: str) -> Evaluator:
    """The evaluator with its weights, on `device` where the user has not named another one.

    Raises BenchError where it cannot be loaded, NotHere where what it needs is not on this machine.
    """
    from erasure_bench.evaluators.registry import build_evaluator

    own = build_evaluator(chosen.registered, chosen.preset, chosen.options, chosen.settings)
    what = f"evaluator {chosen.name!r} cannot be prepared"
    with with_its_label(chosen.registered), in_one_line(what), left_alone("its prepare"):
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
