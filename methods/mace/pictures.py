"""Pictures of a concept with the region that it covers: generated and looked at, or drawn and known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, Need
from erasure_bench.methods.mace.words import Alike, places
from erasure_bench.methods.machinery.attention_maps import attention_maps, looked_at
from erasure_bench.methods.machinery.base_images import as_floats, base_images, pictures_needed
from erasure_bench.methods.machinery.drawn_pictures import DrawnPictures
from erasure_bench.methods.machinery.examples import clean_latents, in_turn
from erasure_bench.methods.machinery.prompt_pairs import prompt_pairs
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.microworld.drawing import Scene, draw
from erasure_bench.models.microworld.drawing.asked import asked_scene, subject_mask
from erasure_bench.models.seeds import image_seed
from erasure_bench.prompt_suites.concepts import Concept


@dataclass(frozen=True, kw_only=True)
class WithMasks(DrawnPictures):
    """The settings of such pictures.

    `images` pictures of each concept; M is the cross-attention's answer where `masks` is `attention`: on
    pictures that the base model draws with `denoise_steps` steps of `scheduler`, `eta` and `guidance_scale`,
    with the noise of `mask_timestep`, M is 1 where the mean of its maps of `mask_side` × `mask_side`
    positions, scaled to [0, 1], is at least `mask_threshold`. With `known`, a prompt that the built-in world
    can draw has that drawing as its picture, and what the concept covers in it as M.
    """

    images: PositiveInt = 8
    masks: Literal["attention", "known"] = "attention"
    mask_side: PositiveInt = 16
    mask_threshold: NonNegativeFloat = 0.3
    mask_timestep: NonNegativeInt = 300

    def pictures_needed(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Those that the base model draws."""
        drawn = [self._drawn_by_model(self._asked(concept, context.seed)) for concept in concepts]
        return tuple(pictures_needed(prompts, context.seed, self.drawing()) for prompts in drawn if prompts)

    def _asked(self, concept: Concept, seed: int) -> "list[Asked]":
        """A concept's pictures: their prompts, and their scenes where the built-in world's drawings serve."""
        found = []
        for number, pair in enumerate(in_turn(prompt_pairs(concept), self.images, "target")):
            (prompt,) = pair.targets
            scene_seed = image_seed("drawing", prompt, number, seed)
            scene = asked_scene(prompt, scene_seed) if self.masks == "known" else None
            found.append(Asked(prompt, pair.anchor, scene))
        return found

    def _drawn_by_model(self, asked: "Sequence[Asked]") -> list[str]:
        return [one.prompt for one in asked if one.scene is None]

    def pictures(self, model: DiffusionModel, concept: Concept, context: EraseContext) -> "Pictures":
        """The concept's; the model must hold its base weights.

        Raises BenchError for a `mask_timestep` that the model lacks.
        """
        if self.mask_timestep >= model.num_train_timesteps:
            raise BenchError(
                f"mask_timestep={self.mask_timestep}: valid: 0 to {model.num_train_timesteps - 1} "
                "(--method-option mask_timestep=…)"
            )
        asked = self._asked(concept, context.seed)
        prompts = [one.prompt for one in asked]
        drawn = iter(self._images(model, self._drawn_by_model(asked), context))
        images = [next(drawn) if one.scene is None else drawing(one.scene, model.resolution) for one in asked]
        latents = clean_latents(model, as_floats(torch.stack(images)))
        with torch.no_grad():
            embeddings = model.encode_prompts(prompts)
        words = [Alike.of(model.tokenizer, one.prompt, one.anchor).words for one in asked]
        noise = torch.randn(latents.shape, generator=Generator().manual_seed(context.seed)).to(latents)
        noisy = model.add_noise(latents, noise, self.mask_timestep)
        masks = [
            self._looked_at(model, noisy[row : row + 1], embeddings[row : row + 1], words[row])
            if one.scene is None
            else torch.from_numpy(subject_mask(one.scene))[None, None].float()
            for row, one in enumerate(asked)
        ]
        size = latents.shape[2:]
        return Pictures(
            latents,
            embeddings,
            torch.stack([places(own, embeddings.shape[1]) for own in words]).to(model.device),
            torch.cat([interpolate(mask, size=size, mode="area").to(latents) for mask in masks]),
        )

    def _images(self, model: DiffusionModel, prompts: list[str], context: EraseContext) -> Tensor:
        if not prompts:
            return torch.empty(0)
        return base_images(model, prompts, context, self.drawing())

    def _looked_at(self, model: DiffusionModel, noisy: Tensor, embedding: Tensor, words: slice) -> Tensor:
        with attention_maps(model.unet) as maps, torch.no_grad():
            model.predict_noise(noisy, self.mask_timestep, embedding)
        return looked_at(maps, words, self.mask_side, self.mask_threshold)


class Asked(NamedTuple):
    """A picture's prompt, its twin's, and its scene if it is drawn and not generated."""

    prompt: str
    anchor: str
    scene: Scene | None


class Pictures(NamedTuple):
    """n pictures of a concept: latents x_0 [n, channels, height, width] and their prompts' embeddings.

    `words` [n, tokens] is true at the concept's own, `masks` is M, [n, 1, height, width], from 0 to 1.
    """

    latents: Tensor
    embeddings: Tensor
    words: Tensor
    masks: Tensor

    def chosen(self, rows: Sequence[int]) -> "Pictures":
        """Those of these rows."""
        return Pictures(*(part[list(rows)] for part in self))


def drawing(scene: Scene, side: int) -> Tensor:
    """A scene's picture, RGB uint8 [3, side, side]."""
    picture = torch.tensor(draw(scene)).movedim(-1, 0)
    return interpolate(picture[None], size=(side, side), mode="nearest")[0]
