"""The diffusion model: a small UNet and a CLIP text encoder, trained together from nothing.

The loss is the noise-prediction loss, weighted over the timesteps. Little noise is weighted down as
in min-SNR-γ (Hang et al. 2023: min(SNR, γ) / SNR for ε); much noise, where a picture's subject is
decided but ε hardly depends on it, is weighted up by SNR^-1/2. Half of the weight is a factor in the
loss, half is how often a timestep is drawn.
"""

import os
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from erasure_bench.models.microworld.autoencoder import encode_all, load_autoencoder
from erasure_bench.models.microworld.dataset import Pictures
from erasure_bench.models.microworld.loop import Trainer, save_atomically
from erasure_bench.models.microworld.settings import DiffusionSettings
from erasure_bench.models.microworld.tokenizer import load_tokenizer


class Denoiser(nn.Module):
    """The two trained networks under one roof, so that one checkpoint holds both."""

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
            attention_head_dim=settings.heads,  # diffusers reads this as the number of heads
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


class Examples(NamedTuple):
    """What the denoiser is trained on: scaled latents [n, c, 8, 8] and tokens [n, captions, length]."""

    latents: Tensor
    tokens: Tensor
    empty: Tensor
    """Tokens of the empty prompt, [length]."""


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
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    cumulative = density.double().cumsum(0) / density.double().sum()
    return torch.searchsorted(cumulative, strata.double()).clamp_max(len(density) - 1)


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids [n, length], padded and cut to the tokenizer's length."""
    return tokenizer(
        captions,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids


def tokenise_captions(tokenizer: CLIPTokenizer, pictures: Pictures) -> tuple[Tensor, Tensor]:
    """Token ids [captions, length] of every distinct caption, and each picture's captions in it, [n, k]."""
    unique: dict[str, int] = {}
    places = [[unique.setdefault(text, len(unique)) for text in several] for several in pictures.captions]
    return tokenise(tokenizer, list(unique)).to(torch.int32), torch.tensor(places)


def prepare_examples(pictures: Pictures, autoencoder: AutoencoderTiny, tokenizer: CLIPTokenizer) -> Examples:
    """Encode every picture and every caption once."""
    latents = encode_all(autoencoder, pictures) * autoencoder.config.scaling_factor
    ids, places = tokenise_captions(tokenizer, pictures)
    return Examples(latents, ids[places], tokenise(tokenizer, [""])[0])


def kept_examples(
    path: Path, pictures: Pictures, autoencoder: AutoencoderTiny, tokenizer: CLIPTokenizer
) -> Examples:
    """`prepare_examples`, kept at `path` and used again while pictures, encoder and tokens are the same."""
    probe = pictures.images(torch.arange(min(4, len(pictures.pixels))))
    with torch.no_grad():
        latents = autoencoder.encoder(probe * 2 - 1) * autoencoder.config.scaling_factor
    if path.exists():
        kept = Examples(*torch.load(path, weights_only=True))
        words = tokenise(tokenizer, pictures.captions[-1]).to(torch.int32)
        same_latents = torch.allclose(kept.latents[: len(probe)], latents, atol=1e-3)
        if len(kept.latents) == len(pictures.pixels) and same_latents and torch.equal(kept.tokens[-1], words):
            return kept
    examples = prepare_examples(pictures, autoencoder, tokenizer)
    save_atomically(tuple(examples), path)
    return examples


def train_diffusion(
    pictures: Pictures,
    settings: DiffusionSettings,
    folder: Path,
    autoencoder_folder: Path,
    tokenizer_folder: Path,
    snapshot: Path,
    seed: int,
    stop_after: int | None = None,
    minutes: float | None = None,
) -> None:
    """Train from the checkpoint in `folder`; keep the averaged weights as a pipeline at `snapshot`."""
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(tokenizer_folder)
    autoencoder = load_autoencoder(autoencoder_folder)
    denoiser = Denoiser(settings, tokenizer, autoencoder.config.latent_channels)
    trainer = Trainer(denoiser, settings.schedule, folder / "checkpoint.pt", seed, "diffusion")
    count = sum(p.numel() for p in denoiser.parameters())
    print(f"{time.strftime('%H:%M:%S')} {count / 1e6:.2f} M parameters", file=sys.stderr, flush=True)
    examples = kept_examples(folder / "examples.pt", pictures, autoencoder, tokenizer)
    scheduler = sd_scheduler()
    density = timestep_weights(scheduler.alphas_cumprod, settings.snr_gamma).sqrt()
    weights = density / density.mean()
    signal = scheduler.alphas_cumprod.sqrt()
    noise_level = (1 - scheduler.alphas_cumprod).sqrt()
    unet = torch.compile(denoiser.unet) if settings.compile else denoiser.unet
    batch = settings.schedule.batch

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(examples.latents), (batch,), generator=generator)
        wording = torch.randint(examples.tokens.shape[1], (batch,), generator=generator)
        tokens = examples.tokens[chosen, wording].long()
        dropped = torch.rand(batch, generator=generator) < settings.caption_dropout
        tokens = torch.where(dropped[:, None], examples.empty, tokens)
        clean = examples.latents[chosen]
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = draw_timesteps(density, batch, generator)
        noisy = signal[timesteps].view(-1, 1, 1, 1) * clean + noise_level[timesteps].view(-1, 1, 1, 1) * noise
        text = denoiser.text_encoder(tokens).last_hidden_state
        predicted = unet(noisy, timesteps, text, return_dict=False)[0]
        return (weights[timesteps] * (predicted - noise).square().mean(dim=(1, 2, 3))).mean()

    def take_snapshot() -> None:
        save_pipeline(snapshot, denoiser, autoencoder, tokenizer)

    trainer.run(loss, stop_after=stop_after, minutes=minutes, snapshot=take_snapshot, snapshot_every_s=480)
    trainer.averaged(take_snapshot)


def assemble_pipeline(
    denoiser: Denoiser, autoencoder: AutoencoderTiny, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """An ordinary `StableDiffusionPipeline` without safety checker."""
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=denoiser.text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        scheduler=sd_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save_pipeline(
    path: Path, denoiser: Denoiser, autoencoder: AutoencoderTiny, tokenizer: CLIPTokenizer
) -> None:
    """Write the pipeline folder; `path` always points at a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f"{path.name}-{time.strftime('%H%M%S')}")
    assemble_pipeline(denoiser, autoencoder, tokenizer).save_pretrained(whole)
    previous = path.resolve() if path.is_symlink() else None
    link = path.with_name(path.name + ".link")
    link.unlink(missing_ok=True)
    link.symlink_to(whole.name)
    os.replace(link, path)
    for old in sorted(path.parent.glob(f"{path.name}-*")):
        if old.resolve() not in (whole.resolve(), previous):
            shutil.rmtree(old, ignore_errors=True)
