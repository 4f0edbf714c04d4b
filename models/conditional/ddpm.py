"""A class-conditional denoising diffusion model of pixels (Ho et al. 2020; Ho and Salimans 2022).

    q(x_t | x_0) = N(√ᾱ_t x_0, (1−ᾱ_t) I),    β_t linear in t,    x_0 in [−1, 1]
    L = Σ over channels and places of (ε − ε_θ(x_t, c, t))²,    in training c is now and then ∅

The network is diffusers' `UNet2DModel`; a class is an embedding, with one for ∅, that two layers bring to
what the time embedding is added to. Selective Amnesia's official network concatenates the two instead.
"""

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from erasure_bench.errors import BenchError
from erasure_bench.models.conditional.classes import as_grey_or_rgb, as_rgb, one_hot
from erasure_bench.models.conditional.description import DDPMSizes, Description
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.image_families import Family
from erasure_bench.models.image_model import wide
from erasure_bench.models.roles import CLASS_EMBEDDING, Roles

PART = "unet"


def guidance_scale_of(weight: float) -> float:
    """The guidance scale s_g of (1 + w) ε_c − w ε_∅ = ε_∅ + s_g (ε_c − ε_∅), w the papers' weight."""
    return 1.0 + weight


class ClassUNet(nn.Module):
    """ε_θ(x_t, c, t) for x_t [n, channels, side, side], t [n], one-hot c [n, classes + 1] (the last is ∅)."""

    roles: ClassVar[Roles] = CLASS_EMBEDDING

    def __init__(self, sizes: DDPMSizes, *, classes: int, side: int, channels: int) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        widths = tuple(sizes.channels * multiplier for multiplier in sizes.multipliers)
        attends = [side // 2**level in sizes.attention for level in range(len(widths))]
        self.label = ClassEmbedding(classes + 1, sizes.channels, 4 * sizes.channels)
        self.network = UNet2DModel(
            sample_size=side,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=widths,
            layers_per_block=sizes.blocks,
            down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
            up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
            attention_head_dim=None,
            norm_num_groups=sizes.norm_groups,
            dropout=sizes.dropout,
            class_embed_type="identity",
        )

    def forward(self, noisy: Tensor, timesteps: Tensor, classes: Tensor) -> Tensor:
        """The predicted noise, of the shape of `noisy`."""
        answer = self.network(noisy, timesteps, class_labels=self.label(classes), return_dict=False)
        return cast(Tensor, answer[0])


class ClassEmbedding(nn.Module):
    """A learnt vector for each place of a one-hot [n, places], and two layers: [n, `out`]."""

    def __init__(self, places: int, width: int, out: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(places, width)
        self.first = nn.Linear(width, out)
        self.second = nn.Linear(out, out)

    def forward(self, one_hot: Tensor) -> Tensor:
        """A mixture of places is the same mixture of their vectors."""
        return cast(Tensor, self.second(nn.functional.silu(self.first(one_hot @ self.embedding.weight))))


class ConditionalDDPM(Denoiser):
    """`ClassUNet` with its classes' names and its noise schedule; "" is ∅. Latents are pixels in [−1, 1]."""

    FAMILY: ClassVar[Family] = "class-ddpm"
    EDITED: ClassVar[tuple[str, ...]] = (PART,)
    SUMMED_ELBO: ClassVar[bool] = True

    def __init__(
        self,
        network: ClassUNet,
        description: Description,
        *,
        name: str,
        digest: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        schedule = description.schedule
        assert schedule is not None, "the description of a DDPM"
        self.description = description
        super().__init__(
            name=name,
            digest=digest,
            parts={PART: network},
            scheduler_config=schedule.config,
            device=device,
            dtype=dtype,
            preset=description.preset,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that it can be asked by."""
        return self.description.classes

    @property
    def resolution(self) -> int:
        """The side of a picture in pixels."""
        return self.description.side

    @property
    def size_multiple(self) -> int:
        """That side: the network knows no other."""
        return self.description.side

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        """(channels, side, side). Raises BenchError for another size."""
        return self.description.channels, *native_size(self.description, self.name, height, width)

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """One-hot rows [n, 1, classes + 1] of classes' names; raises UnknownName for any other."""
        rows = one_hot(prompts, self.description.classes, self.name, none=True)
        return rows.to(self.device, self.dtype)

    def encode_images(self, images: Tensor) -> Tensor:
        """Pixels [n, channels, side, side] in [−1, 1] of RGB `images` [n, 3, side, side] in [0, 1]."""
        return wide(2 * as_grey_or_rgb(images, self.description.channels).to(self.device) - 1)

    def decode_latents(self, latents: Tensor) -> Tensor:
        """RGB images [n, 3, side, side] in [0, 1] of pixels in [−1, 1]; what lies outside is cut off."""
        return as_rgb((wide(latents) / 2 + 0.5).clamp(0, 1))

    def run_network(self, latents: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        """ε_θ, in the network's dtype; `timesteps` [n], `embeddings` [n, 1, classes + 1]."""
        return cast(Tensor, self.parts[PART](latents, timesteps, embeddings[:, 0]))

    def _probe_prompt(self) -> str:
        return self.description.classes[0]

    def _probe_shape(self) -> tuple[int, int, int]:
        return self.latent_shape()


def native_size(
    description: Description, name: str, height: int | None, width: int | None
) -> tuple[int, int]:
    """The model's height and width; raises BenchError where others are asked for."""
    side = description.side
    if (height or side, width or side) != (side, side):
        raise BenchError(f"image size {height}x{width} for the model {name}: it draws {side}x{side} alone")
    return side, side


def build_ddpm(description: Description) -> ClassUNet:
    """The network that a description asks for, with fresh weights."""
    assert isinstance(description.sizes, DDPMSizes)
    return ClassUNet(
        description.sizes,
        classes=len(description.classes),
        side=description.side,
        channels=description.channels,
    )
