"""A diffusion model that is asked by a condition: what samplers and methods need of its noise predictions.

Latents, noise and images outside the networks are fp32 (fp64 for an fp64 model) whatever dtype the
networks run in; only the networks' own inputs are cast.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from erasure_bench.models.asking import Layout, called_with, laid_out
from erasure_bench.models.image_families import Family
from erasure_bench.models.image_model import settle, wide
from erasure_bench.models.schedulers import training_alphas_cumprod

Prompts = str | Sequence[str] | Tensor
"""One prompt for all images, one prompt each, or embeddings [n, tokens, width] or [1, tokens, width]."""


class NoisePair(NamedTuple):
    """ε_∅ and ε_p, each of shape [n, channels, height, width]."""

    unconditional: Tensor
    conditional: Tensor


class Denoiser(ABC):
    """Networks that predict noise for a condition, with the noise schedule they were trained on.

    `parts` are in eval mode and without gradients until a method asks for them. `preset` names the settings
    that methods and evaluators have for this model, None for the general ones. `EDITED` are the parts whose
    parameters an edit may change, `SHARED` those that no edit changes, and so no copy of the model copies.
    `SUMMED_ELBO` says whether a term of its bound is the sum of the squared errors over channels and places,
    or their mean. The prompt "" is the empty condition ∅.
    """

    FAMILY: ClassVar[Family]
    EDITED: ClassVar[tuple[str, ...]]
    SHARED: ClassVar[frozenset[str]] = frozenset()
    SUMMED_ELBO: ClassVar[bool] = False

    def __init__(
        self,
        *,
        name: str,
        digest: str,
        parts: Mapping[str, nn.Module],
        scheduler_config: dict[str, Any],
        device: torch.device | str,
        dtype: torch.dtype,
        preset: str | None,
    ) -> None:
        """Puts the parts on `device` in `dtype`; `scheduler_config` is `NoiseSchedule.config`."""
        self.name = name
        self.digest = digest
        self.preset = preset
        self.device = torch.device(device)
        self.dtype = dtype
        self.scheduler_config = scheduler_config
        self.parts: dict[str, nn.Module] = dict(parts)
        settle(self.parts, self.device, dtype)
        self.alphas_cumprod = training_alphas_cumprod(self.scheduler_config).to(self.device)

    @property
    def family(self) -> Family:
        """What kind of generator it is."""
        return self.FAMILY

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that it can be asked by; none where it is asked by any text."""
        return ()

    @property
    @abstractmethod
    def resolution(self) -> int:
        """The native image side in pixels."""

    @property
    @abstractmethod
    def size_multiple(self) -> int:
        """Pixels that an image's sides should be a multiple of."""

    @abstractmethod
    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        """(channels, height, width) of the latents of an image; None means the native resolution.

        Raises BenchError when a side (pixels) cannot be drawn.
        """

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings [n, tokens, width] in the model's dtype."""

    @abstractmethod
    def encode_images(self, images: Tensor) -> Tensor:
        """Latents [n, channels, height/f, width/f] of RGB `images` [n, 3, height, width] in [0, 1]."""

    @abstractmethod
    def decode_latents(self, latents: Tensor) -> Tensor:
        """RGB images [n, 3, height, width] in [0, 1] of scaled latents."""

    @abstractmethod
    def run_network(self, latents: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        """What the network says of x_t, ε or v, in its own dtype; `timesteps` [n]."""

    @abstractmethod
    def _probe_shape(self) -> tuple[int, int, int]:
        """The smallest latents that the network takes."""

    @abstractmethod
    def _probe_prompt(self) -> str:
        """A prompt that every model of the family knows."""

    @property
    def prediction_type(self) -> str:
        """What the network predicts: "epsilon" or "v_prediction"."""
        return str(self.scheduler_config.get("prediction_type", "epsilon"))

    @property
    def num_train_timesteps(self) -> int:
        """T: timesteps are 0 … T − 1."""
        return len(self.alphas_cumprod)

    def is_pure_noise(self, timestep: float) -> bool:
        """Whether ᾱ_t is 0: x_t says nothing of the picture, and ε nothing that x_t does not.

        Only a v-prediction can be followed there (Lin et al. 2023, "Common diffusion noise schedules and
        sample steps are flawed").
        """
        return (
            bool(self.scheduler_config["rescale_betas_zero_snr"]) and timestep == self.num_train_timesteps - 1
        )

    def predict_output(self, latents: Tensor, timesteps: Tensor | float, prompts: Prompts) -> Tensor:
        """What the network itself says, ε or v, of shape [n, channels, height, width], fp32.

        Arguments as in `predict_noise`.
        """
        embeddings = self._embeddings(prompts, len(latents))
        steps = torch.as_tensor(timesteps, device=self.device).expand(len(latents))
        with called_with(embeddings, texts_of(prompts, len(latents))):
            return wide(self.run_network(latents.to(self.dtype), steps, embeddings))

    def predict_noise(self, latents: Tensor, timesteps: Tensor | float, prompts: Prompts) -> Tensor:
        """ε_θ(x_t, c, t) of shape [n, channels, height, width], fp32; v-predictions are converted.

        `latents` is x_t of that shape, `timesteps` one for all or shape [n], in [0, T); a
        fraction is between two of them.
        Differentiable in the latents, the embeddings and whatever parameters require gradients.
        """
        output = self.predict_output(latents, timesteps, prompts)
        if self.prediction_type == "epsilon":
            return output
        steps = torch.as_tensor(timesteps, device=self.device).expand(len(latents))
        signal, noise = self._rates(steps, output)
        return signal * output + noise * latents.to(output.dtype)

    def predict_noise_pair(self, latents: Tensor, timesteps: Tensor | int, prompt: Prompts) -> NoisePair:
        """(ε_∅, ε_p), each [n, channels, height, width], from one network call on both."""
        count = len(latents)
        unconditional = self.encode_prompts([""]).expand(count, -1, -1)
        embeddings = torch.cat([unconditional, self._embeddings(prompt, count)])
        steps = torch.as_tensor(timesteps, device=self.device).expand(count).repeat(2)
        texts = texts_of(prompt, count)
        both = None if texts is None else ("",) * count + texts
        with laid_out(Layout(("unconditional", "conditional"), both)):
            return NoisePair(*self.predict_noise(latents.repeat(2, 1, 1, 1), steps, embeddings).chunk(2))

    def network_output(self, noise: Tensor, latents: Tensor, timesteps: Tensor | float) -> Tensor:
        """What the network would have said to mean `noise`: ε itself or v, as a scheduler wants it.

        v = (ε − √(1−ᾱ) x_t) / √ᾱ, the inverse of `predict_noise`'s conversion
        (Salimans and Ho 2022, appendix D). Shapes as in `predict_noise`.
        """
        if self.prediction_type == "epsilon":
            return noise
        signal, rate = self._rates(torch.as_tensor(timesteps, device=self.device).expand(len(noise)), noise)
        return (noise - rate * latents.to(noise.dtype)) / signal

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor | float) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε; `timesteps` is one for all or of shape [n]."""
        latents, noise = wide(latents), wide(noise)
        steps = torch.as_tensor(timesteps, device=self.device).expand(len(latents))
        signal, rate = self._rates(steps, latents)
        return signal * latents + rate * noise

    def named_tensors(self) -> dict[str, Tensor]:
        """The parameters that an edit may change, as "unet.<name>" and so on."""
        return {
            # transformers 5 dropped this level from CLIP's names; an edit must fit either version.
            f"{part}.{name.removeprefix('text_model.') if part == 'text_encoder' else name}": parameter
            for part in self.EDITED
            for name, parameter in self.parts[part].named_parameters()
        }

    def frozen_copy(self, dtype: torch.dtype | None = None) -> Self:
        """The model as it is now, with its own copies of all parts but the `SHARED` ones.

        In another `dtype` if one is given, and then with its own copies of these as well.
        """
        frozen = copy.copy(self)
        frozen.dtype = dtype or self.dtype
        kept = self.SHARED if frozen.dtype == self.dtype else frozenset()
        copies = {name: copy.deepcopy(part) for name, part in self.parts.items() if name not in kept}
        for part in copies.values():
            nn.Module.to(
                part.eval().requires_grad_(False), frozen.dtype
            )  # diffusers' own warns about nothing
        frozen.parts = {name: copies.get(name, part) for name, part in self.parts.items()}
        return frozen

    @torch.no_grad()
    def probe(self, prompt: str | None = None) -> Tensor:
        """A prediction on fixed noise, and the picture that it would be: [k], on the CPU."""
        noise = torch.randn(1, *self._probe_shape(), generator=torch.Generator().manual_seed(0))
        asked = self._probe_prompt() if prompt is None else prompt
        predicted = self.predict_noise(noise.to(self.device), self.num_train_timesteps // 2, asked)
        return torch.cat([predicted.flatten(), self.decode_latents(predicted).flatten()]).cpu()

    def _embeddings(self, prompts: Prompts, count: int) -> Tensor:
        if isinstance(prompts, str):
            prompts = [prompts]
        embeddings = prompts if isinstance(prompts, Tensor) else self.encode_prompts(prompts)
        if len(embeddings) not in (1, count):
            raise ValueError(f"{len(embeddings)} prompts for {count} latents")
        return embeddings.to(self.device, self.dtype).expand(count, -1, -1)

    def _rates(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1−ᾱ_t), each [n, 1, 1, 1], in the dtype of `like`.

        Between two timesteps σ_t = √((1−ᾱ_t) / ᾱ_t) is linear, as schedulers in σ take it.
        """
        alphas = self.alphas_cumprod.to(like.dtype)
        if timesteps.is_floating_point():
            sigmas = ((1 - alphas) / alphas).sqrt()
            below = timesteps.floor().long()
            above = (below + 1).clamp(max=len(sigmas) - 1)
            sigma = torch.lerp(sigmas[below], sigmas[above], (timesteps - below).to(like.dtype))
            signal = (1 / (1 + sigma**2))[:, None, None, None]
        else:
            signal = alphas[timesteps][:, None, None, None]
        return signal.sqrt(), (1 - signal).sqrt()


def texts_of(prompts: Prompts, count: int) -> tuple[str, ...] | None:
    """One text for each of `count` rows; None where the prompts are embeddings."""
    if isinstance(prompts, Tensor):
        return None
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    return texts * count if len(texts) == 1 else texts
