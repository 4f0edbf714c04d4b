"""Pictures: drawn with an edit in the model, or as an attack on it asks."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from erasure_bench.bench.planning.attacks import ChosenAttack
from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.bench.running.attacking import Asked, attacked, request_of
from erasure_bench.bench.running.base_models import BaseModels
from erasure_bench.bench.running.batch_sizes import FOLDER as BATCH_SIZES
from erasure_bench.bench.running.batch_sizes import BatchSizes
from erasure_bench.bench.running.compiled import Compiled
from erasure_bench.bench.running.pictures import write_png
from erasure_bench.bench.running.versions import device_name, made_on, package_versions
from erasure_bench.bench.running.watcher import Watcher
from erasure_bench.bench.storage.store import Store, apart
from erasure_bench.evaluators.base import Pixels
from erasure_bench.foreign.process import left_alone

if TYPE_CHECKING:
    from erasure_bench.models.diffusion_model import DiffusionModel
    from erasure_bench.models.guidance import Guidance
    from erasure_bench.models.image_model import ImageModel


class Drawing:
    """Draws in batches of the size that memory allows, with a compiled network where that pays."""

    def __init__(
        self,
        attacks: Sequence[ChosenAttack],
        models: BaseModels,
        store: Store,
        compiled: Compiled,
        *,
        batch_size: int | Literal["auto"],
        general_prompts: tuple[str, ...],
        checkpoint_seconds: float,
    ) -> None:
        self._attacks = {attack.name: attack for attack in attacks}
        self._models, self._store, self._compiled = models, store, compiled
        self._batch_sizes = BatchSizes(batch_size, store.root / BATCH_SIZES)
        self._general_prompts, self._checkpoint_seconds = general_prompts, checkpoint_seconds

    def generate(self, task: GenerateTask, watcher: Watcher) -> None:
        """Draws the pictures with the task's edit in the model, or those that the task's attack asks for."""
        from erasure_bench.models.compiling import drawn_with
        from erasure_bench.models.sampling import sample
        from erasure_bench.models.weights import swapped

        self._models.ready(task.erase.base, watcher.aside)
        base = self._base_of(task)
        guidance = self._models.use(task.erase)
        model = self._models.model(task.erase.base)
        kind = self._kind(task, guidance)
        batch = self._batch_sizes.of(kind, watcher.note)
        unet = self._compiled.unet(model, kind, watcher.note)
        with self._store.writing(task.kind, task.id) as draft:
            started = time.perf_counter()
            asked = Asked(list(map(request_of, task.images.images)), {}, {})
            if task.attack is not None:
                asked = attacked(
                    task,
                    self._attacks[task.attack.name],
                    cast("DiffusionModel", model),  # the plan attacks no other family
                    guidance,
                    cast("DiffusionModel | None", base),
                    self._store,
                    self._general_prompts,
                    lambda progress: watcher.step(progress.step, progress.steps, progress.loss),
                    draft.folder,
                    checkpoint_seconds=self._checkpoint_seconds,
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
            self._models.prove_edit_untouched(task.erase)
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
                **made_on(self._models.device),
                **({"attack": {**asked.about, "search_seconds": searched}} if asked.about else {}),
            }

    def _keep_picture(self, task: GenerateTask, folder: Path, index: int, pixels: Pixels) -> None:
        """Raises StoreError where the disk is full: it is called in the midst of someone's code."""
        with self._store.disk_told():
            write_png(folder / task.file_name(index), pixels)

    def _base_of(self, task: GenerateTask) -> "ImageModel | None":
        """A copy of the base model with its own weights, where the task's attack needs one.

        The run's: what another base model, a row of its own, draws of the concept is what is to be found out.
        """
        if task.attack is None or not self._attacks[task.attack.name].needs_base:
            return None
        return self._models.unedited(task.attack.base, task.erase.base)

    def _kind(self, task: GenerateTask, guidance: "Guidance") -> tuple[object, ...]:
        """All that says how quickly pictures are drawn, and how many fit into memory."""
        pixels = max(image.height * image.width for image in task.images.images)
        passes = 2 + len(guidance.texts)
        torch = package_versions()["torch"]
        return (device_name(self._models.device), torch, task.erase.base, self._models.dtype, pixels, passes)
