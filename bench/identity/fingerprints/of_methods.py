"""What methods make of the tiny model: the weights they change, their losses, their guidance."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, get_args

import torch

from erasure_bench.bench.identity.fingerprints import Json
from erasure_bench.bench.identity.fingerprints.inputs import CONCEPTS, GENERAL_PROMPTS, noise, tiny_model
from erasure_bench.bench.identity.fingerprints.numbers import sketch
from erasure_bench.bench.identity.fingerprints.settings import built, defaults_of
from erasure_bench.bench.identity.ids import content_id, plain
from erasure_bench.bench.identity.table import Numbers
from erasure_bench.methods.base import EraseContext, NoCache
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.attachments import describe
from erasure_bench.methods.registry import method_card
from erasure_bench.models.conditional.tiny import Kind, tiny_class_model, tiny_pictures
from erasure_bench.models.guidance import Guidance, StepNoise
from erasure_bench.models.image_families import Family
from erasure_bench.models.sampling import sample_latents
from erasure_bench.prompt_suites.concepts import Concept

DTYPES = {"float32": CONCEPTS, "bfloat16": CONCEPTS[:1]}
"""In which dtypes a model edits which concepts here; float16 on a processor is no path that anyone takes."""
STEPS = 40
"""Of the sampling that a guidance is followed through, on noise without a network."""


def version(name: str) -> str:
    """The version in the card."""
    return method_card(name).version


def defaults(name: str) -> Json:
    """The settings of the method's class that nobody needs to name."""
    return defaults_of(method_card(name).build)


def cases(name: str) -> Mapping[str, Json]:
    """Every preset, made cheap by the card's own `quick` settings."""
    card = method_card(name)
    return {
        preset: plain({**card.settings, **settings, **card.quick})
        for preset, settings in card.presets.items()
    }


def measure(name: str, settings: Json) -> Numbers:
    """Edits of every concept in every dtype. Raises NoLonger for settings that the class has not.

    Of a method that knows text-to-image models, of the tiny one; else of the tiny class-conditional ones.
    """
    card, text = method_card(name), json.dumps(settings, sort_keys=True)
    if "text-to-image" in card.families:
        return _measured(card.build, text)
    return _measured_on_classes(card.build, text, card.families)


def _measured_on_classes(build: type, text: str, families: tuple[Family, ...]) -> Numbers:
    method = built(build, json.loads(text))
    numbers: dict[str, list[float] | str] = {}
    for kind in get_args(Kind):
        model = tiny_class_model(kind)
        if model.family not in families:
            continue
        base = {key: tensor.detach().clone() for key, tensor in model.named_tensors().items()}
        context = EraseContext(seed=1, general_prompts=model.classes, training_data=tiny_pictures)
        name = model.classes[0]
        concept = Concept(name=name, kind="object", targets=(name,), anchor=model.classes[1])
        edit = method.erase(model, [concept], context)
        numbers[f"{kind} weights"] = sketch(
            {key: new.double() - base[key].double() for key, new in edit.tensors.items()}
        )
        numbers[f"{kind} losses"] = sketch({"losses": torch.tensor(edit.losses)})
    return numbers


@functools.cache
def _measured(build: type, text: str) -> Numbers:
    method = built(build, json.loads(text))
    numbers: dict[str, list[float] | str] = {}
    for dtype, concepts in DTYPES.items():
        model = tiny_model(dtype)
        base = {key: tensor.detach().clone() for key, tensor in model.named_tensors().items()}
        context = EraseContext(seed=1, general_prompts=GENERAL_PROMPTS, cache=_shared(dtype))
        for concept in concepts:
            edit = method.erase(model, [concept], context)
            what = f"{dtype} {concept.kind}"
            if edit.tensors:
                changes = {key: new.double() - base[key].double() for key, new in edit.tensors.items()}
                # In bf16 rounding decides which weights move at all: only how far they do together holds.
                taken = sketch(changes)
                numbers[f"{what} weights"] = taken[:1] if model.dtype == torch.bfloat16 else taken
            if edit.losses:
                numbers[f"{what} losses"] = sketch({"losses": torch.tensor(edit.losses)})
            if edit.attachments:
                numbers[f"{what} attachments"] = json.dumps(
                    [
                        describe(attachment).saved.model_dump(exclude={"tensors"})
                        for attachment in edit.attachments
                    ]
                )
                with applied(model, edit):
                    latents = sample_latents(
                        model,
                        [concept.target, "a red boat"],
                        (1, 2),
                        scheduler="ddim",
                        steps=4,
                        guidance_scale=7.5,
                    )
                numbers[f"{what} attached"] = sketch({"latents": latents})
            if edit.guidance is not None:
                numbers[f"{what} texts"] = json.dumps(
                    [edit.guidance.unconditional_text, *edit.guidance.texts]
                )
                numbers[f"{what} guidance"] = sketch(_followed(edit.guidance, getattr(torch, dtype)))
    return numbers


class _Memory(NoCache):
    """Keeps what edits share while the fingerprints are taken."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, torch.Tensor]] = {}

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], dict[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """What was made for this maker and key, made now where it was not."""
        name = content_id([maker, key])
        if name not in self._kept:
            self._kept[name] = {part: tensor.detach().cpu() for part, tensor in make().items()}
        return self._kept[name]


@functools.cache
def _shared(dtype: str) -> _Memory:
    return _Memory()


def _followed(guidance: Guidance, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The noise that a guidance makes of fixed predictions at every step; all texts' lie near each other."""
    shape = (2, 4, 8, 8)
    state: Any = None
    noises = {}
    for index in range(STEPS):
        common = noise(f"common {index}", shape)
        near = [(common + 0.1 * noise(f"text {text} {index}", shape)).to(dtype) for text in range(9)]
        step = StepNoise(
            unconditional=near[0],
            conditional=near[1],
            extra=tuple(near[2 : 2 + len(guidance.texts)]),
            scale=torch.tensor([1.0, 7.5], dtype=dtype)[:, None, None, None],
            index=index,
            steps=STEPS,
        )
        guided = guidance.combine(step, state)
        state = guided.state
        noises[f"step {index}"] = guided.noise
    return noises
