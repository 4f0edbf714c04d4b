"""Networks of known shapes with random weights: what a pass costs does not hang on what was learnt.

Stable Diffusion 1.4's and SDXL's as their configs give them, those of the class-conditional bases as their
recipes do, and tiny ones for tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from erasure_bench.models.conditional.ddpm import ClassUNet, ConditionalDDPM
from erasure_bench.models.conditional.description import DDPMSizes, Description
from erasure_bench.models.conditional.folder import build
from erasure_bench.models.conditional.recipes import BASES, BaseRecipe
from erasure_bench.models.conditional.tiny import tiny_description
from erasure_bench.models.datasets.registry import dataset_card
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.tiny import tiny_tokenizer

TOKENS = 77
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
}
_SD14 = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
_SDXL = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_TINY = {
    "sample_size": 8,
    "cross_attention_dim": 32,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "attention_head_dim": 8,
    "norm_num_groups": 8,
}
_TINY_XL = {
    **_TINY,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + 16,
}
UNETS: dict[str, dict[str, Any]] = {"sd14": _SD14, "sdxl": _SDXL, "tiny": _TINY, "tiny-xl": _TINY_XL}
MODELS = ("sd14", "tiny")
"""Those with a text encoder and an autoencoder, which draw whole pictures here."""
CLASS_MODELS = (*(name for name, base in BASES.items() if isinstance(base.sizes, DDPMSizes)), "tiny-ddpm")
"""Those that draw pixels and are asked by a class."""


@dataclass(frozen=True)
class Pass:
    """A UNet and what one of its passes is given, for so many rows."""

    unet: nn.Module
    inputs: dict[str, Any]

    def __call__(self, network: Callable[..., Any] | None = None) -> Tensor:
        """What the network says; `network` is asked in the place of the UNet."""
        output: Tensor = (self.unet if network is None else network)(**self.inputs, return_dict=False)[0]
        return output


def unet_of(shape: str, device: str, dtype: torch.dtype) -> Any:
    """A UNet of this shape in eval mode, without gradients."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    with torch.device(device):
        unet = UNet2DConditionModel(**UNETS[shape])
    return unet.to(dtype).eval().requires_grad_(False)


def pass_of(unet: Any, rows: int) -> Pass:
    """A pass of so many rows with random latents and embeddings."""
    config = unet.config
    own: dict[str, Any] = {"device": unet.device, "dtype": unet.dtype}
    inputs: dict[str, Any] = {
        "sample": torch.randn(rows, config.in_channels, config.sample_size, config.sample_size, **own),
        "timestep": torch.full((rows,), 500, device=unet.device),
        "encoder_hidden_states": torch.randn(rows, TOKENS, config.cross_attention_dim, **own),
    }
    if config.addition_embed_type == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.randn(rows, pooled, **own),
            "time_ids": torch.ones(rows, 6, **own),
        }
    return Pass(unet, inputs)


def model_of(shape: str, device: str, dtype: torch.dtype) -> Denoiser:
    """What draws whole pictures: of `MODELS` or `CLASS_MODELS`."""
    return (
        class_model_of(shape, device, dtype) if shape in CLASS_MODELS else text_model_of(shape, device, dtype)
    )


def class_model_of(shape: str, device: str, dtype: torch.dtype) -> ConditionalDDPM:
    """A model of pixels of this shape."""
    description = _described(BASES[shape]) if shape in BASES else tiny_description("ddpm")
    network = build(description, 0)
    assert isinstance(network, ClassUNet), "a shape of CLASS_MODELS"
    about: dict[str, Any] = {"name": f"random {shape}", "digest": "0" * 64}
    return ConditionalDDPM(network, description, **about, device=device, dtype=dtype)


def _described(base: BaseRecipe) -> Description:
    data = dataset_card(base.data)
    channels: Literal[1, 3] = 1 if data.channels == 1 else 3
    return Description(classes=data.classes, side=base.side, channels=channels, sizes=base.sizes)


def text_model_of(shape: str, device: str, dtype: torch.dtype) -> DiffusionModel:
    """A whole model of this shape: text encoder of ViT-L/14's size with SD 1.4, and its autoencoder."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    large = shape == "sd14"
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = TOKENS
    width = UNETS[shape]["cross_attention_dim"]
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=12 if large else 2,
        num_attention_heads=12 if large else 2,
        max_position_embeddings=TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    channels = (128, 256, 512, 512) if large else (8, 8, 8, 8)
    torch.manual_seed(0)
    with torch.device(device):
        vae = AutoencoderKL(
            latent_channels=4,
            block_out_channels=channels,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2 if large else 1,
            norm_num_groups=32 if large else 4,
            sample_size=8 * UNETS[shape]["sample_size"],
        )
        text_encoder = CLIPTextModel(text)
    vae.register_to_config(_class_name="AutoencoderKL")  # as a saved one has it
    return DiffusionModel(
        name=f"random {shape}",
        digest="0" * 64,
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=unet_of(shape, device, dtype),
        vae=vae,
        scheduler_config=SCHEDULE,
        device=device,
        dtype=dtype,
    )


def pipeline_of(model: DiffusionModel) -> Any:
    """The same networks in the pipeline that peers draw with."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=DDIMScheduler(**SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
