"""A latent text-to-image diffusion model: Stable Diffusion 1.x and 2.x, or any small model of their layout.

Latents, noise and images outside the networks are fp32 (fp64 for an fp64 model) whatever dtype the
networks run in; only the networks' own inputs are cast.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from erasure_bench.errors import BenchError
from erasure_bench.models.asking import Layout, called_with, laid_out
from erasure_bench.models.digest import weights_digest
from erasure_bench.models.fitness import check_parts, check_pipeline, check_tokenizer, text_config
from erasure_bench.models.headers import check_weights
from erasure_bench.models.json_files import read_json
from erasure_bench.models.noise_schedule import noise_schedule
from erasure_bench.models.schedulers import training_alphas_cumprod
from erasure_bench.models.weight_files import weight_files
from erasure_bench.user_paths import user_path

Prompts = str | Sequence[str] | Tensor
"""One prompt for all images, one prompt each, or embeddings [n, tokens, width] or [1, tokens, width]."""


class NoisePair(NamedTuple):
    """ε_∅ and ε_p, each of shape [n, channels, height, width]."""

    unconditional: Tensor
    conditional: Tensor


class DiffusionModel:
    """Tokenizer, text encoder, denoising UNet and autoencoder, with the noise schedule they were trained on.

    `parts` holds "unet", "text_encoder" and "vae", all in eval mode and without gradients until a
    method asks for them. `resolution` (the native image side) and `size_multiple` are in pixels;
    `latent_factor` is the pixels along the side of one latent. `preset` names the settings that
    methods and evaluators have for this model, None for the general ones.
    """

    def __init__(
        self,
        *,
        name: str,
        digest: str,
        tokenizer: Any,
        text_encoder: nn.Module,
        unet: nn.Module,
        vae: nn.Module,
        scheduler_config: dict[str, Any],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        preset: str | None = None,
    ) -> None:
        """Puts the parts on `device` in `dtype`; raises BenchError when they do not fit together."""
        self.name = name
        self.digest = digest
        self.preset = preset
        self.device = torch.device(device)
        self.dtype = dtype
        self.tokenizer = tokenizer
        self.scheduler_config = noise_schedule(scheduler_config).config
        self.parts: dict[str, nn.Module] = {"unet": unet, "text_encoder": text_encoder, "vae": vae}
        for part in self.parts.values():
            part.eval().requires_grad_(False).to(self.device)
            if any(parameter.dtype != dtype for parameter in part.parameters()):
                part.to(dtype)
        text = text_config(self.text_encoder.config.to_dict())
        try:
            check_parts(self.unet.config, self.vae.config, text)
            # A tokenizer whose files name no length has an endless one, which no text encoder has.
            length = check_tokenizer(tokenizer.model_max_length, len(tokenizer), text)
        except BenchError as error:
            raise BenchError(f"model {name}: {error}") from error
        self.tokenizer.model_max_length = length
        self.alphas_cumprod = training_alphas_cumprod(self.scheduler_config).to(self.device)

    @classmethod
    def from_directory(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        preset: str | None = None,
    ) -> Self:
        """Loads a diffusers pipeline directory of the `StableDiffusionPipeline` layout.

        safetensors are preferred to pickles, which are read with weights_only. `name` defaults to
        the directory's. Raises BenchError when files are missing or cannot be read, or when the
        pipeline is of another kind.
        """
        directory = user_path(path)
        check_pipeline(directory)
        check_weights(directory)
        try:
            parts = _load_parts(directory, dtype)
        except BenchError:
            raise
        except Exception as error:  # a damaged file can fail in any of four libraries
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise BenchError(f"{directory}: cannot be loaded: {reason}") from error
        return cls(
            name=name or directory.resolve().name,
            digest=weights_digest(directory),
            scheduler_config=read_json(directory / "scheduler" / "scheduler_config.json"),
            device=device,
            dtype=dtype,
            preset=preset,
            **parts,
        )

    @property
    def unet(self) -> Any:
        """The denoiser, a diffusers `UNet2DConditionModel`."""
        return self.parts["unet"]

    @property
    def text_encoder(self) -> Any:
        """The prompt encoder, a transformers `CLIPTextModel`."""
        return self.parts["text_encoder"]

    @property
    def vae(self) -> Any:
        """The autoencoder, a diffusers `AutoencoderKL` or `AutoencoderTiny`."""
        return self.parts["vae"]

    @property
    def prediction_type(self) -> str:
        """What the UNet predicts: "epsilon" or "v_prediction"."""
        return str(self.scheduler_config.get("prediction_type", "epsilon"))

    @property
    def num_train_timesteps(self) -> int:
        """T: timesteps are 0 … T − 1."""
        return len(self.alphas_cumprod)

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.vae.config.latent_channels)

    @property
    def latent_factor(self) -> int:
        """Pixels along the side of one latent."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def resolution(self) -> int:
        """The native image side in pixels."""
        size = self.unet.config.sample_size
        return int(size if isinstance(size, int) else size[0]) * self.latent_factor

    @property
    def size_multiple(self) -> int:
        """Pixels that an image's sides should be a multiple of, so that the UNet halves them evenly."""
        return self.latent_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        """(channels, height, width) of the latents of an image; None means the native resolution.

        Raises BenchError when a side (pixels) is not a positive multiple of `latent_factor`.
        """
        height, width = height or self.resolution, width or self.resolution
        for side in (height, width):
            if side <= 0 or side % self.latent_factor:
                raise BenchError(
                    f"image size {height}x{width} for the model {self.name}: sides must be multiples "
                    f"of {self.latent_factor} pixels, best of {self.size_multiple}"
                )
        return self.latent_channels, height // self.latent_factor, width // self.latent_factor

    def encode_prompts(self, prompts: Sequence[str]) -> Tensor:
        """Text embeddings [n, tokens, width] in the model's dtype.

        Padded and truncated to the tokenizer's length. Differentiable where the text encoder's
        parameters require gradients.
        """
        tokens = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return self.encode_tokens(tokens.input_ids, tokens.attention_mask)

    def encode_tokens(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The same of token ids and their mask (1 up to the end token, 0 for padding), each [n, tokens]."""
        mask = attention_mask.to(self.device) if self._uses_attention_mask else None
        return cast(Tensor, self.text_encoder(ids.to(self.device), attention_mask=mask)[0])

    @property
    def _uses_attention_mask(self) -> bool:
        return bool(getattr(self.text_encoder.config, "use_attention_mask", False))

    def is_pure_noise(self, timestep: int) -> bool:
        """Whether ᾱ_t is 0: x_t says nothing of the picture, and ε nothing that x_t does not.

        Only a v-prediction can be followed there (Lin et al. 2023, "Common diffusion noise schedules and
        sample steps are flawed").
        """
        return (
            bool(self.scheduler_config["rescale_betas_zero_snr"]) and timestep == self.num_train_timesteps - 1
        )

    def predict_output(self, latents: Tensor, timesteps: Tensor | int, prompts: Prompts) -> Tensor:
        """What the UNet itself says, ε or v, of shape [n, channels, height, width], fp32.

        Arguments as in `predict_noise`.
        """
        embeddings = self._embeddings(prompts, len(latents))
        steps = torch.as_tensor(timesteps, device=self.device).expand(len(latents))
        noisy = latents.to(self.dtype)
        with called_with(embeddings, texts_of(prompts, len(latents))):
            return wide(self.unet(noisy, steps, encoder_hidden_states=embeddings, return_dict=False)[0])

    def predict_noise(self, latents: Tensor, timesteps: Tensor | int, prompts: Prompts) -> Tensor:
        """ε_θ(x_t, c, t) of shape [n, channels, height, width], fp32; v-predictions are converted.

        `latents` is x_t of that shape, `timesteps` one for all or shape [n], in [0, T).
        Differentiable in the latents, the embeddings and whatever parameters require gradients.
        """
        output = self.predict_output(latents, timesteps, prompts)
        if self.prediction_type == "epsilon":
            return output
        steps = torch.as_tensor(timesteps, device=self.device).expand(len(latents))
        signal, noise = self._rates(steps, output)
        return signal * output + noise * latents.to(output.dtype)

    def predict_noise_pair(self, latents: Tensor, timesteps: Tensor | int, prompt: Prompts) -> NoisePair:
        """(ε_∅, ε_p), each [n, channels, height, width], from one UNet call on both."""
        count = len(latents)
        unconditional = self.encode_prompts([""]).expand(count, -1, -1)
        embeddings = torch.cat([unconditional, self._embeddings(prompt, count)])
        steps = torch.as_tensor(timesteps, device=self.device).expand(count).repeat(2)
        texts = texts_of(prompt, count)
        both = None if texts is None else ("",) * count + texts
        with laid_out(Layout(("unconditional", "conditional"), both)):
            return NoisePair(*self.predict_noise(latents.repeat(2, 1, 1, 1), steps, embeddings).chunk(2))

    def network_output(self, noise: Tensor, latents: Tensor, timesteps: Tensor | int) -> Tensor:
        """What the UNet would have said to mean `noise`: ε itself or v, as a scheduler wants it.

        v = (ε − √(1−ᾱ) x_t) / √ᾱ, the inverse of `predict_noise`'s conversion
        (Salimans and Ho 2022, appendix D). Shapes as in `predict_noise`.
        """
        if self.prediction_type == "epsilon":
            return noise
        signal, rate = self._rates(torch.as_tensor(timesteps, device=self.device).expand(len(noise)), noise)
        return (noise - rate * latents.to(noise.dtype)) / signal

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor | int) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε; `timesteps` is one for all or of shape [n]."""
        latents, noise = wide(latents), wide(noise)
        steps = torch.as_tensor(timesteps, device=self.device).expand(len(latents))
        signal, rate = self._rates(steps, latents)
        return signal * latents + rate * noise

    def encode_images(self, images: Tensor) -> Tensor:
        """Latents [n, channels, height/f, width/f], scaled, of RGB `images` [n, 3, height, width] in [0, 1].

        The mean of the autoencoder's posterior, where it has one.
        """
        encoded = self.vae.encode((2 * images - 1).to(self.device, self.dtype))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return wide(latents) * self.vae.config.scaling_factor

    def decode_latents(self, latents: Tensor) -> Tensor:
        """RGB images [n, 3, height, width] in [0, 1] of scaled latents."""
        scaled = (latents / self.vae.config.scaling_factor).to(self.device, self.dtype)
        return (wide(self.vae.decode(scaled, return_dict=False)[0]) / 2 + 0.5).clamp(0, 1)

    def named_tensors(self) -> dict[str, Tensor]:
        """The parameters that an edit may change, as "unet.<name>" and "text_encoder.<name>"."""
        return {
            # transformers 5 dropped this level from CLIP's names; an edit must fit either version.
            f"{part}.{name.removeprefix('text_model.') if part == 'text_encoder' else name}": parameter
            for part in ("unet", "text_encoder")
            for name, parameter in self.parts[part].named_parameters()
        }

    def frozen_copy(self, dtype: torch.dtype | None = None) -> "DiffusionModel":
        """The model as it is now, with its own UNet and text encoder; tokenizer and autoencoder shared.

        In another `dtype` if one is given, and then with an autoencoder of its own.
        """
        frozen = copy.copy(self)
        frozen.dtype = dtype or self.dtype
        kept = {"vae"} if frozen.dtype == self.dtype else set()
        copies = {name: copy.deepcopy(part) for name, part in self.parts.items() if name not in kept}
        for part in copies.values():
            nn.Module.to(
                part.eval().requires_grad_(False), frozen.dtype
            )  # diffusers' own warns about nothing
        frozen.parts = {name: copies.get(name, part) for name, part in self.parts.items()}
        return frozen

    def _embeddings(self, prompts: Prompts, count: int) -> Tensor:
        if isinstance(prompts, str):
            prompts = [prompts]
        embeddings = prompts if isinstance(prompts, Tensor) else self.encode_prompts(prompts)
        if len(embeddings) not in (1, count):
            raise ValueError(f"{len(embeddings)} prompts for {count} latents")
        return embeddings.to(self.device, self.dtype).expand(count, -1, -1)

    def _rates(self, timesteps: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1−ᾱ_t), each [n, 1, 1, 1], in the dtype of `like`."""
        alphas = self.alphas_cumprod.to(like.dtype)[timesteps][:, None, None, None]
        return alphas.sqrt(), (1 - alphas).sqrt()


def texts_of(prompts: Prompts, count: int) -> tuple[str, ...] | None:
    """One text for each of `count` rows; None where the prompts are embeddings."""
    if isinstance(prompts, Tensor):
        return None
    texts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
    return texts * count if len(texts) == 1 else texts


def wide(tensor: Tensor) -> Tensor:
    """`tensor` in fp32, or in fp64 where it already is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _load_parts(directory: Path, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    autoencoders = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
    kind = read_json(directory / "vae" / "config.json")["_class_name"]

    def load(library_class: Any, part: str, **options: Any) -> Any:
        files = weight_files(directory / part, part)
        assert files is not None, "checked by missing_files"
        return library_class.from_pretrained(
            directory / part,
            use_safetensors=files.safetensors,
            variant=files.variant,
            local_files_only=True,
            **options,
        )

    with _quiet_loading():
        return {
            "tokenizer": CLIPTokenizer.from_pretrained(directory / "tokenizer", local_files_only=True),
            "text_encoder": load(CLIPTextModel, "text_encoder", dtype=dtype),
            "unet": load(UNet2DConditionModel, "unet", torch_dtype=dtype),
            "vae": load(autoencoders[kind], "vae", torch_dtype=dtype),
        }


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without transformers' progress bar: the weights are there already, and stderr is the bench's."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
