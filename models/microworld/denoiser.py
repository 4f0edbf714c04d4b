"""The networks of the diffusion model, Stable Diffusion's noise schedule, and the loss's weighting.

The loss is the noise-prediction loss, weighted over the timesteps. Little noise is weighted down as
in min-SNR-γ (Hang et al. 2023: min(SNR, γ) / SNR for ε); much noise, where a picture's subject is
decided but ε hardly depends on it, is weighted up by SNR^-1/2. Half of the weight is a factor in the
loss, half is how often a timestep is drawn.
"""

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from erasure_bench.models.microworld.reading import Reader
from erasure_bench.models.microworld.settings import DiffusionSettings


class Denoiser(nn.Module):
    """The trained networks under one roof, so that one checkpoint holds them. The reader is not shipped."""

    def __init__(self, settings: DiffusionSettings, tokenizer: CLIPTokenizer, latent_channels: int) -> None:
        super().__init__()
        levels = len(settings.channels)
        self.unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=latent_channels,
            out_channels=latent_channels,
            down_block_types=("CrossAttnDownBlock2D",) * levels,
            up_block_types=("CrossAttnUpBlock2D",) * levels,
            block_out_channels=settings.channels,
            layers_per_block=settings.layers,
            cross_attention_dim=settings.text_width,
            attention_head_dim=settings.heads,  # diffusers reads this as the numbers of heads
            norm_num_groups=settings.groups,
        )
        self.text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=settings.text_width,
                intermediate_size=4 * settings.text_width,
                projection_dim=settings.text_width,
                num_hidden_layers=settings.text_layers,
                num_attention_heads=settings.text_heads,
                max_position_embeddings=tokenizer.model_max_length,
                hidden_act="gelu",
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        self.reader = Reader(settings.text_width, tokenizer.eos_token_id)

    def text(self, tokens: Tensor) -> Tensor:
        """The embeddings [n, length, width] of tokens [n, length]."""
        return self.text_encoder(tokens).last_hidden_state

    def forward(self, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """The noise predicted in latents [n, c, 8, 8] at timesteps [n] under `text` [n, length, width]."""
        return self.unet(noisy, timesteps, text, return_dict=False)[0]


def sd_scheduler() -> DDIMScheduler:
    """Stable Diffusion's schedule: 1,000 steps, scaled linear betas, noise prediction."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )


def min_snr_weights(alphas_cumprod: Tensor, gamma: float) -> Tensor:
    """Loss weight of every timestep, [T], of mean one over the timesteps."""
    snr = alphas_cumprod / (1 - alphas_cumprod)
    weights = snr.clamp(max=gamma) / snr
    return weights / weights.mean()


def timestep_weights(alphas_cumprod: Tensor, gamma: float, highest: float = 6.0) -> Tensor:
    """Min-SNR-γ weights times SNR^-1/2 (at most `highest`) where there is more noise than signal, [T]."""
    snr = alphas_cumprod / (1 - alphas_cumprod)
    lift = snr.clamp(max=1).rsqrt().clamp(max=highest)
    return min_snr_weights(alphas_cumprod, gamma) * lift


def draw_timesteps(density: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` timesteps from a density over [T], one from each of as many equally likely strata."""
    jitter = torch.rand(count, generator=generator, device=generator.device)
    strata = (torch.arange(count, device=generator.device) + jitter) / count
    cumulative = density.double().cumsum(0) / density.double().sum()
    return torch.searchsorted(cumulative, strata.double()).clamp_max(len(density) - 1)
