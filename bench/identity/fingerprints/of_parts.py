"""What else results rest on: the sampler, a user's weights as they are read, what edits share."""

import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from erasure_bench.bench.identity.fingerprints import Json
from erasure_bench.bench.identity.fingerprints.inputs import CONCEPTS, GENERAL_PROMPTS, noise, tiny_model
from erasure_bench.bench.identity.fingerprints.numbers import sketch
from erasure_bench.bench.identity.table import Numbers, bound
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit
from erasure_bench.methods.machinery.base_images import Drawing, base_images
from erasure_bench.methods.machinery.user_weights import read_user_edit
from erasure_bench.methods.selective_amnesia.general_set import GeneralSet, pictures
from erasure_bench.models.generative import DiffusionGenerative
from erasure_bench.models.guidance import ClassifierFree, Guidance, Guided, StepNoise
from erasure_bench.models.sampling import ImageRequest, partly_denoised, sample, sample_latents
from erasure_bench.models.schedulers import BETWEEN_TIMESTEPS, OVERRIDES
from erasure_bench.prompt_suites.suite import SchedulerName

SAMPLER = "sampler"
FIRST: tuple[SchedulerName, ...] = ("ddim", "dpm-solver++", "pndm")
PROMPTS = ("a grumpy cat", "a red boat", "")
SCALES = (7.5, 1.0, 3.0)
SEEDS = (1, 2, 3)
DRAWING = Drawing(scheduler="ddim", steps=3, guidance_scale=4.0)


def version(name: str) -> str:
    """The constant `VERSION` of the part's module."""
    return str(importlib.import_module(bound("part")[name]).VERSION)


def defaults(name: str) -> Json:
    """None: a part has no settings."""
    return {}


def cases(name: str) -> Mapping[str, Json]:
    """One, and of the sampler one more for each scheduler that came later."""
    later = [scheduler for scheduler in OVERRIDES if scheduler not in FIRST] if name == SAMPLER else []
    return {"default": {}} | {scheduler: {"scheduler": scheduler} for scheduler in later}


def measure(name: str, settings: Json) -> Numbers:
    """What the part makes of the tiny model."""
    return _sampler(settings) if name == SAMPLER else _MEASURES[name]()


def _sampler(settings: Json) -> Numbers:
    """Latents by the first schedulers, or by that of the settings, with every kind of guidance, for both
    predictions, and decoded pictures."""
    schedulers = cast(Sequence[SchedulerName], [settings["scheduler"]] if settings else FIRST)
    numbers: dict[str, list[float] | str] = {}
    for dtype in ("float32", "bfloat16"):
        for scheduler in schedulers:
            for title, guidance in GUIDANCES.items():
                latents = sample_latents(
                    tiny_model(dtype),
                    PROMPTS,
                    SEEDS,
                    scheduler=scheduler,
                    steps=12,
                    guidance_scale=SCALES,
                    guidance=guidance,
                )
                numbers[f"{dtype} {scheduler} {title}"] = sketch({"latents": latents})
    model, v_model = tiny_model("float32"), tiny_model("float32", "v_prediction")
    for scheduler in schedulers:
        latents = sample_latents(
            v_model, PROMPTS, SEEDS, scheduler=scheduler, steps=4, guidance_scale=SCALES, height=72
        )
        numbers[f"float32 {scheduler} v-prediction"] = sketch({"latents": latents})
        if scheduler not in BETWEEN_TIMESTEPS:
            numbers[f"float32 {scheduler} stopped"] = sketch(
                {
                    "latents": partly_denoised(
                        model, PROMPTS, SEEDS, steps=4, stop=2, guidance_scale=3.0, scheduler=scheduler
                    ).latents
                }
            )
        requests = [ImageRequest("a boat", seed, 3.0, 64, 64 + 8 * (seed % 2)) for seed in SEEDS]
        images = sample(model, requests, scheduler=scheduler, steps=3, batch_size=2)
        numbers[f"float32 {scheduler} pictures"] = sketch(_pixels(images))
    if "ddim" in schedulers:
        latents = sample_latents(
            model, PROMPTS, SEEDS, scheduler="ddim", steps=4, guidance_scale=3.0, eta=1.0
        )
        numbers["float32 ddim eta"] = sketch({"latents": latents})
    return numbers


@dataclass(frozen=True)
class _Remembering:
    """A guidance with everything that one may have: an unconditional text, further texts and a state."""

    unconditional_text: str = "a dog"
    texts: tuple[str, ...] = ("a tree", "a boat")

    def combine(self, step: StepNoise, state: Tensor | None = None) -> Guided:
        """Away from the mean of what it was told before."""
        one, other = step.extra
        told = 0.5 * (one + other) if state is None else 0.5 * state + 0.25 * (one + other)
        share = (step.index + 1) / step.steps
        away = step.conditional - step.unconditional - share * (told - step.unconditional)
        return Guided(step.unconditional + step.scale * away, told)


GUIDANCES: dict[str, Guidance] = {
    "plain": ClassifierFree(),
    "negative prompt": ClassifierFree("a dog"),
    "texts and state": _Remembering(),
}


def _user_weights() -> Numbers:
    """A file of weights in diffusers' names, and a folder of an edit."""
    model = tiny_model("float32")
    numbers: dict[str, list[float] | str] = {}
    base = {key: tensor.detach().clone() for key, tensor in model.named_tensors().items()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unet.safetensors"
        changed = {key: tensor + 0.01 * noise(key, tuple(tensor.shape)) for key, tensor in base.items()}
        save_file({key: changed[key] for key in changed if key.startswith("unet.")}, path)
        read = {"float32 file": read_user_edit(path, model, CONCEPTS[:1])}
        Edit(
            method="any",
            settings={},
            concepts=("grumpy cat",),
            base_digest=model.digest,
            tensors={key: changed[key] for key in sorted(changed)[:5]},
            guidance=ClassifierFree("a dog"),
        ).save(Path(folder) / "edit")
        read["float32 edit"] = read_user_edit(Path(folder) / "edit", model, CONCEPTS[:1])
    for what, found in read.items():
        numbers[what] = sketch({key: tensor - base[key] for key, tensor in found.edit.tensors.items()})
        numbers[f"{what} guidance"] = repr(found.edit.guidance)
    return numbers


def _base_images() -> Numbers:
    context = EraseContext(seed=1)
    prompts = [*GENERAL_PROMPTS[:3], *GENERAL_PROMPTS[:2]]
    drawings = {
        "plain": DRAWING,
        "negative prompt": Drawing(scheduler="ddim", steps=3, guidance_scale=4.0, negative_prompt="a cat"),
        "eta": Drawing(scheduler="ddim", steps=3, guidance_scale=4.0, eta=1.0),
        "dpm": Drawing(scheduler="dpm-solver++", steps=3, guidance_scale=4.0),
    }
    return {
        f"float32 {title}": sketch({"images": base_images(tiny_model("float32"), prompts, context, drawing)})
        for title, drawing in drawings.items()
    }


def _fisher() -> Numbers:
    model = tiny_model("float32")
    context = EraseContext(seed=1)
    generative = DiffusionGenerative(model, pictures(model, DRAWING, context))
    general = GeneralSet(prompts=GENERAL_PROMPTS[:2], seed=3, drawing=DRAWING)
    return {
        f"float32 {title}": sketch(
            dict(general.fisher(generative, context, terms=terms, samples=samples, batch_size=250))
        )
        for title, terms, samples in (("exact", None, 1), ("fast", 4, None))
    }


def _pixels(images: list[np.ndarray]) -> dict[str, Tensor]:
    return {str(place): torch.from_numpy(image.astype(float)) for place, image in enumerate(images)}


_MEASURES: dict[str, Callable[[], Numbers]] = {
    "user-weights": _user_weights,
    "base-images": _base_images,
    "fisher": _fisher,
}
