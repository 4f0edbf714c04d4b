"""Pictures that the base model draws for methods to learn from, kept for all edits that want them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, Need, Preparation
from erasure_bench.models.guidance import ClassifierFree
from erasure_bench.models.image_model import ImageModel
from erasure_bench.models.sampling import ImageRequest, Pixels, sample
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.suite import SchedulerName

VERSION = "1"
"""Names what this makes: another one is due where that changes (`bench.identity`)."""
DRAWN = "pictures"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How the base model draws pictures to learn from: `eta` is DDIM's η.

    Raises BenchError for an η outside [0, 1], or above 0 with another scheduler.
    """

    scheduler: SchedulerName
    steps: int
    guidance_scale: float
    eta: float = 0.0
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        most = 1.0 if self.scheduler == "ddim" else 0.0
        if not 0.0 <= self.eta <= most:
            valid = "0 to 1" if most else "0 (only ddim has another)"
            raise BenchError(
                f"eta={self.eta:g} with scheduler={self.scheduler}: valid: {valid} (--method-option eta=…)"
            )


def base_images(
    model: ImageModel,
    prompts: Sequence[str],
    context: EraseContext,
    drawing: Drawing,
    *,
    batch_size: int = 32,
) -> Tensor:
    """RGB uint8 pictures [n, 3, height, width] at the model's own resolution, picture i of prompt i.

    A prompt that comes more than once gets another picture each time. A picture's noise is seeded
    by its prompt, its place among that prompt's pictures and the context's seed. Kept in the
    context's cache; the model must hold its base weights. Drawing that was interrupted goes on after
    the last checkpoint of that cache, to the same pictures.
    """
    places = _places(prompts)
    key = _key(prompts, context.seed, drawing)

    def draw() -> dict[str, Tensor]:
        checkpoints = context.cache.checkpoints(__name__, key)
        found = checkpoints.load(DRAWN)
        drawn = {} if found is None else dict(enumerate(found.state["images"].numpy()))

        def tell(more: int) -> None:
            context.prepared(Preparation(len(drawn), len(prompts), "pictures"))
            if len(drawn) < len(prompts) and checkpoints.due():
                checkpoints.draft(DRAWN, {"images": _stacked(drawn)})({})

        sample(
            model,
            [
                ImageRequest(
                    prompt=prompt,
                    seed=image_seed("base images", prompt, place, context.seed),
                    guidance_scale=drawing.guidance_scale,
                    height=model.resolution,
                    width=model.resolution,
                )
                for prompt, place in zip(prompts, places, strict=True)
            ],
            scheduler=drawing.scheduler,
            steps=drawing.steps,
            eta=drawing.eta,
            guidance=ClassifierFree(drawing.negative_prompt),
            batch_size=batch_size,
            on_batch=tell,
            into=drawn,
        )
        return {"images": _stacked(drawn).movedim(-1, 1)}

    return context.cache.fetch(__name__, key, draw)["images"]


def pictures_needed(prompts: Sequence[str], seed: int, drawing: Drawing) -> Need:
    """What `base_images` draws for a context with that seed."""
    return Need(
        unit="pictures",
        count=len(prompts),
        passes=2 * drawing.steps,
        maker=__name__,
        key=_key(prompts, seed, drawing),
    )


def _key(prompts: Sequence[str], seed: int, drawing: Drawing) -> dict[str, Any]:
    return {"prompts": list(prompts), "seed": seed, **asdict(drawing)}


def _stacked(pictures: Mapping[int, Pixels]) -> Tensor:
    """Pictures 0 … n − 1, all of one size, as [n, height, width, 3]."""
    return torch.stack([torch.from_numpy(pictures[number]) for number in range(len(pictures))])


def as_floats(images: Tensor) -> Tensor:
    """Float pictures in [0, 1] of uint8 ones, shape kept: what `ImageModel.encode_images` takes."""
    return images.float() / 255


def _places(prompts: Sequence[str]) -> list[int]:
    """For each prompt, how many equal ones stand before it."""
    seen: dict[str, int] = {}
    places = []
    for prompt in prompts:
        places.append(seen.get(prompt, 0))
        seen[prompt] = places[-1] + 1
    return places
