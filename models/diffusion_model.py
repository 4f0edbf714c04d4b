"""A latent text-to-image diffusion model: Stable Diffusion 1.x and 2.x, or any small model of their layout.

Latents, noise and images outside the networks are fp32 (fp64 for an fp64 model) whatever dtype the
networks run in; only the networks' own inputs are cast.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from erasure_bench.errors import BenchError
from erasure_bench.models.compiling import network_of
from erasure_bench.models.denoiser import Denoiser, NoisePair, Prompts, texts_of
from erasure_bench.models.digest import weights_digest
from erasure_bench.models.fitness import check_parts, check_pipeline, check_tokenizer, text_config
from erasure_bench.models.headers import check_weights
from erasure_bench.models.image_families import Family
from erasure_bench.models.image_model import wide
from erasure_bench.models.json_files import read_json
from erasure_bench.models.noise_schedule import noise_schedule
from erasure_bench.models.weight_files import weight_files
from erasure_bench.user_paths import user_path

__all__ = ["DiffusionModel", "NoisePair", "Prompts", "texts_of", "wide"]


class DiffusionModel(Denoiser):
    """Tokenizer, text encoder, denoising UNet and autoencoder, with the noise schedule they were trained on.

    `parts` holds "unet", "text_encoder" and "vae", all in eval mode and without gradients until a
    method asks for them. `resolution` (the native image side) and `size_multiple` are in pixels;
    `latent_factor` is the pixels along the side of one latent. `preset` names the settings that
    methods and evaluators have for this model, None for the general ones.
    """

    FAMILY: ClassVar[Family] = "text-to-image"
    EDITED: ClassVar[tuple[str, ...]] = ("unet", "text_encoder")
    SHARED: ClassVar[frozenset[str]] = frozenset({"vae"})

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
        super().__init__(
            name=name,
            digest=digest,
            parts={"unet": unet, "text_encoder": text_encoder, "vae": vae},
            scheduler_config=noise_schedule(scheduler_config).config,
            device=device,
            dtype=dtype,
            preset=preset,
        )
        self.tokenizer = tokenizer
        text = text_config(self.text_encoder.config.to_dict())
        try:
            check_parts(self.unet.config, self.vae.config, text)
            # A tokenizer whose files name no length has an endless one, which no text encoder has.
            length = check_tokenizer(tokenizer.model_max_length, len(tokenizer), text)
        except BenchError as error:
            raise BenchError(f"model {name}: {error}") from error
        self.tokenizer.model_max_length = length

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

    def run_network(self, latents: Tensor, timesteps: Tensor, embeddings: Tensor) -> Tensor:
        """What the UNet says of x_t, in its own dtype; `timesteps` [n], `embeddings` [n, tokens, width]."""
        unet = network_of(self.unet)
        answer = unet(latents, timesteps, encoder_hidden_states=embeddings, return_dict=False)
        return cast(Tensor, answer[0])

    def _probe_prompt(self) -> str:
        return "a photo of a cat"

    def _probe_shape(self) -> tuple[int, int, int]:
        side = 2 ** len(self.unet.config.block_out_channels)
        return self.latent_channels, side, side


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
