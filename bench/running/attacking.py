"""An attack on an edit that is in the model: what it wants to have drawn, and what is kept of it."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from erasure_bench.bench.planning.attacks import ChosenAttack
from erasure_bench.bench.planning.tasks import GenerateTask, PlannedImage
from erasure_bench.bench.running.pictures import read_png
from erasure_bench.bench.storage.cache import StoreCache
from erasure_bench.bench.storage.checkpoints import EVERY_SECONDS
from erasure_bench.bench.storage.damage import Say, silent
from erasure_bench.bench.storage.store import Store, apart
from erasure_bench.bench.words.showing import one_line
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.foreign.process import left_alone
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.screen import concept_is_unsafe, is_never_sent

if TYPE_CHECKING:
    from torch import Tensor

    from erasure_bench.attacks.base import Assault, Target
    from erasure_bench.methods.base import Progress
    from erasure_bench.models.diffusion_model import DiffusionModel
    from erasure_bench.models.guidance import Guidance
    from erasure_bench.models.sampling import ImageRequest

FOUND_FILE = "found.safetensors"
"""The embeddings that an attack found, by the number of their picture."""


class Asked(NamedTuple):
    """What is to be drawn, with which weights besides the edit's, and what the store says of it."""

    requests: list["ImageRequest"]
    tensors: Mapping[str, "Tensor"]
    about: dict[str, Any]
    middles: tuple[float | None, ...] = ()

    def shown(self, pictures: Sequence[Pixels]) -> list[Pixels]:
        """The pictures as they are judged: of some only the middle, at their size."""
        if not any(self.middles):
            return list(pictures)
        return [
            pixels if share is None else middle_of(pixels, share)
            for pixels, share in zip(pictures, self.middles, strict=True)
        ]


def middle_of(pixels: Pixels, share: float) -> Pixels:
    """The middle, `share` of each side of [height, width, 3], enlarged to the whole size (bicubic)."""
    height, width = pixels.shape[:2]
    rows, columns = (max(1, round(side * share)) for side in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    part = Image.fromarray(pixels[top : top + rows, left : left + columns])
    return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)


def request_of(image: PlannedImage) -> "ImageRequest":
    """The picture as it is planned."""
    from erasure_bench.models.sampling import ImageRequest

    return ImageRequest(
        prompt=image.prompt.text,
        seed=image.seed,
        guidance_scale=image.guidance_scale,
        height=image.height,
        width=image.width,
    )


def attacked(
    task: GenerateTask,
    chosen: ChosenAttack,
    model: "DiffusionModel",
    guidance: "Guidance",
    base: "DiffusionModel | None",
    store: Store,
    general_prompts: Sequence[str],
    report: "Callable[[Progress], None]",
    folder: Path,
    *,
    checkpoint_seconds: float = EVERY_SECONDS,
    say: Say = silent,
) -> Asked:
    """Runs the task's attack and writes what it found into `folder`.

    A training in it goes on from its last checkpoint, or begins anew where it does not go on as it had.
    Raises BenchError where it does not ask for as many pictures as it said it would.
    """
    from safetensors.torch import save_file

    from erasure_bench.attacks.base import AttackContext, Victim
    from erasure_bench.attacks.registry import build_attack
    from erasure_bench.methods.machinery.training import NotResumable

    assert task.attack is not None
    attack = build_attack(chosen.name, chosen.preset, chosen.options)
    victim = Victim(
        model=model,
        guidance=guidance,
        concept=task.attack.concept,
        scheduler=task.scheduler,
        steps=task.steps,
        eta=task.eta,
        base=base,
    )
    cache, base_cache = (
        StoreCache(store, digest, task.erase.dtype, checkpoint_seconds=checkpoint_seconds, say=say)
        for digest in (task.erase.id, task.attack.base)
    )
    context = AttackContext(
        seed=task.attack.seed,
        report=report,
        general_prompts=tuple(general_prompts) if task.attack.general_prompts else (),
        cache=cache,
        base_cache=base_cache,
    )
    targets = _targets(task, store)
    with apart(), left_alone(f"{chosen.name}'s search", task.attack.seed):
        try:
            assault = attack.assault(victim, targets, context)
        except NotResumable as error:
            cache.begin_anew()
            say(f"{chosen.name}: made from the start: {one_line(error)}")
            assault = attack.assault(victim, targets, context)
    _check(assault, chosen, len(targets))
    assault, held_back = screened_assault(assault, targets, task.attack.concept)
    tries = [one for of_target in assault.tries for one in of_target]
    embeddings = {
        f"{number:03d}": one.embedding.contiguous()
        for number, one in enumerate(tries)
        if one.embedding is not None
    }
    if embeddings:
        save_file(embeddings, folder / FOUND_FILE)
    firsts = task.images.images[:: chosen.tries]
    return Asked(
        requests=_requests(task, assault),
        tensors=assault.tensors,
        about={
            "attack": chosen.name,
            "settings": dict(task.attack.settings),
            "chosen": {
                image.prompt.id: _lowest([one.loss for one in of_target])
                for image, of_target in zip(firsts, assault.tries, strict=True)
            },
            "chosen_by": chosen.chosen_by,
            "asked": [one.asked for one in tries],
            "tries_losses": [one.loss for one in tries],
            "search_losses": list(assault.losses),
            "held_back": held_back,
        },
        middles=tuple(one.middle for one in tries),
    )


def screened_assault(
    assault: "Assault", targets: Sequence["Target"], concept: Concept
) -> tuple["Assault", int]:
    """The assault without the tries that are never sent to a model, and how many these are.

    The screen of minors holds for what a search finds as it does for a suite's prompts. Such a try asks for
    the prompt as it is, and for the attack it is as bad as its worst one.
    """
    unsafe, held_back = concept_is_unsafe(concept), 0
    tries = []
    for target, of_target in zip(targets, assault.tries, strict=True):
        worst = max(one.loss for one in of_target)
        tries.append(list(of_target))
        for number, one in enumerate(of_target):
            if is_never_sent(one.asked, unsafe):
                plain = dataclasses.replace(one, asked=target.prompt, told=None, embedding=None, loss=worst)
                tries[-1][number] = plain
                held_back += 1
    return assault._replace(tries=tries), held_back


def _requests(task: GenerateTask, assault: "Assault") -> list["ImageRequest"]:
    tries = [one for of_target in assault.tries for one in of_target]
    return [
        dataclasses.replace(
            request_of(image),
            prompt=one.asked if one.told is None else one.told,  # what an edit that looks at prompts is told
            seed=image.seed if one.seed is None else one.seed,
            embedding=one.embedding,
            detour=one.detour,
        )
        for image, one in zip(task.images.images, tries, strict=True)
    ]


def _targets(task: GenerateTask, store: Store) -> list["Target"]:
    """What is attacked, each with the base model's picture of the same prompt and noise."""
    from erasure_bench.attacks.base import Target

    assert task.attack is not None
    where = {
        image.prompt.id: (drawn, number)
        for drawn in task.attack.shown
        for number, image in enumerate(drawn.images.images)
        if image.image_index == 0
    }
    targets = []
    for image in task.images.images:
        if image.image_index == 0:
            drawn, number = where[image.prompt.id]
            picture = read_png(store.entry(drawn.kind, drawn.id), drawn.file_name(number))
            targets.append(
                Target(
                    prompt=image.prompt.text,
                    seed=image.seed,
                    guidance_scale=image.guidance_scale,
                    picture=picture,
                )
            )
    return targets


def _check(assault: "Assault", chosen: ChosenAttack, targets: int) -> None:
    counts = [len(of_target) for of_target in assault.tries]
    if counts != [chosen.tries] * targets:
        raise BenchError(f"{chosen.name} asked for {counts} pictures, not {chosen.tries} of each prompt")


def _lowest(losses: Sequence[float]) -> int:
    return min(range(len(losses)), key=lambda number: losses[number])
