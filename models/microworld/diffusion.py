"""Training the diffusion model: a small UNet and a CLIP text encoder, together and from nothing."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTokenizer

from erasure_bench.errors import BenchError
from erasure_bench.models.microworld.autoencoder import LATENTS_FILE, load_autoencoder
from erasure_bench.models.microworld.dataset import Pictures
from erasure_bench.models.microworld.denoiser import (
    Denoiser,
    draw_timesteps,
    sd_scheduler,
    timestep_weights,
)
from erasure_bench.models.microworld.loop import Draw, Trainer, attention, autocast
from erasure_bench.models.microworld.settings import DiffusionSettings
from erasure_bench.models.microworld.tokenizer import load_tokenizer, tokenise


class Examples(NamedTuple):
    """What the denoiser is trained on, on its device."""

    latents: Tensor
    """Scaled latents, fp16 [n, c, 8, 8]."""
    tokens: Tensor
    """Token ids of each picture's captions, int16 [n, captions, length]."""
    empty: Tensor
    """Token ids of the empty prompt, [length]."""
    composed: Tensor
    """Places of the composed pictures among all, int64 [m]; none, and no share of a batch is theirs alone."""
    labels: Tensor
    """What each picture shows, int64 [n, heads of the oracle]."""

    def draw(self, batch: int, composed_share: float, generator: torch.Generator) -> Tensor:
        """Places of `batch` random pictures, int64 [batch], the given share of them composed ones."""
        where: dict[str, Any] = {"generator": generator, "device": generator.device}
        chosen = torch.randint(len(self.latents), (batch,), **where)
        composed = round(batch * composed_share) if len(self.composed) else 0
        if composed:
            chosen[:composed] = self.composed[torch.randint(len(self.composed), (composed,), **where)]
            # timesteps are drawn in order, and all kinds of pictures must see all of them
            chosen = chosen[torch.randperm(batch, **where)]
        return chosen

    def wordings(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """One of each chosen picture's captions at random: tokens, int64 [n, length]."""
        count = self.tokens.shape[1]
        which = torch.randint(count, (len(chosen),), generator=generator, device=generator.device)
        return self.tokens[chosen, which].long()


def load_examples(
    pictures: Pictures,
    autoencoder_folder: Path,
    tokens_file: Path,
    tokenizer: CLIPTokenizer,
    device: torch.device | str,
    kept: NDArray[np.bool_] | None = None,
) -> Examples:
    """The latents and tokens that the stages before have kept of `pictures`, of those `kept` [n] if given."""
    latents = np.load(autoencoder_folder / LATENTS_FILE, mmap_mode="c")
    tokens = np.load(tokens_file, mmap_mode="c")
    if not len(latents) == len(tokens) == len(pictures.pixels):
        raise BenchError(
            f"{len(latents)} latents and tokens of {len(tokens)} pictures, but there are "
            f"{len(pictures.pixels)} pictures: run --stage tokenizer and --stage autoencoder on them"
        )
    composed, labels = pictures.composed, pictures.classes
    if kept is not None:
        latents, tokens, composed, labels = latents[kept], tokens[kept], composed[kept], labels[kept]
    return Examples(
        torch.from_numpy(latents).to(device),
        torch.from_numpy(tokens).to(device),
        tokenise(tokenizer, [""])[0].to(device),
        torch.from_numpy(np.flatnonzero(composed)).to(device),
        torch.from_numpy(labels).to(device),
    )


class Objective(NamedTuple):
    """What a `Trainer` trains by: the batch of one step, and the loss of it."""

    draw: Draw
    loss: Callable[..., Tensor]


def objective(denoiser: Denoiser, examples: Examples, settings: DiffusionSettings) -> Objective:
    """The weighted noise-prediction loss on random examples at random timesteps, some without caption.

    With a `reading_weight`, what the text encoder has to say of the captions is asked as well.
    """
    device = examples.latents.device
    alphas = sd_scheduler().alphas_cumprod.to(device)
    density = timestep_weights(alphas, settings.snr_gamma).sqrt()
    weights = density / density.mean()
    signal, noise_level = alphas.sqrt().view(-1, 1, 1, 1), (1 - alphas).sqrt().view(-1, 1, 1, 1)
    fast = settings.acceleration
    if fast.compile:
        denoiser.unet.compile()
    batch = settings.schedule.batch

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        where: dict[str, Any] = {"generator": generator, "device": generator.device}
        chosen = examples.draw(batch, settings.composed_share, generator)
        tokens = examples.wordings(chosen, generator)
        said = torch.rand(batch, **where) >= settings.caption_dropout
        tokens = torch.where(said[:, None], tokens, examples.empty)
        clean = examples.latents[chosen].float()
        noise = torch.randn(clean.shape, **where)
        timesteps = draw_timesteps(density, batch, generator)
        noisy = signal[timesteps] * clean + noise_level[timesteps] * noise
        return noisy, timesteps, tokens, noise, examples.labels[chosen], said

    def loss(
        noisy: Tensor, timesteps: Tensor, tokens: Tensor, noise: Tensor, labels: Tensor, said: Tensor
    ) -> Tensor:
        with attention(noisy.device), autocast(noisy.device, fast.bfloat16):
            text = denoiser.text(tokens)
            predicted = denoiser(noisy, timesteps, text)
        errors = (predicted.float() - noise).square().mean(dim=(1, 2, 3))
        found = (weights[timesteps] * errors).mean()
        if settings.reading_weight:
            found = found + settings.reading_weight * denoiser.reader.loss(text.float(), tokens, labels, said)
        return found

    return Objective(draw, loss)


def read_captions(
    denoiser: Denoiser,
    examples: Examples,
    settings: DiffusionSettings,
    checkpoint: Path,
    seed: int,
    name: str,
) -> Iterator[None]:
    """Teach the text encoder what the captions say, before it is asked for pictures; one step at a time."""
    learning = nn.ModuleList([denoiser.text_encoder, denoiser.reader])
    trainer = Trainer(learning, settings.reading, checkpoint, seed, f"{name}, reading")

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        chosen = examples.draw(settings.reading.batch, settings.reading_composed_share, generator)
        return examples.wordings(chosen, generator), examples.labels[chosen]

    def loss(tokens: Tensor, labels: Tensor) -> Tensor:
        with attention(tokens.device):
            return denoiser.reader.loss(denoiser.text(tokens), tokens, labels)

    yield from trainer.steps(loss, draw=draw, graphs=settings.acceleration.graphs)


def train_diffusion(
    pictures: Pictures,
    settings: DiffusionSettings,
    folder: Path,
    autoencoder_folder: Path,
    tokenizer_folder: Path,
    tokens_file: Path,
    snapshot: Path,
    seed: int,
    device: torch.device | str = "cpu",
    stop_after: int | None = None,
    minutes: float | None = None,
    longest: int | None = None,
    kept: NDArray[np.bool_] | None = None,
    notes: Mapping[str, Any] | None = None,
    name: str = "diffusion",
) -> Iterator[None]:
    """Train from the checkpoint in `folder`; keep the averaged weights as a pipeline at `snapshot`.

    One step at a time, so that several can go on side by side. Without a checkpoint the text encoder first
    learns to read. `kept` [n] names the pictures that are trained on, all by default; `notes` go into the
    facts.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(tokenizer_folder)
    autoencoder = load_autoencoder(autoencoder_folder)
    denoiser = Denoiser(settings, tokenizer, autoencoder.config.latent_channels).to(device)
    examples = load_examples(pictures, autoencoder_folder, tokens_file, tokenizer, device, kept)
    checkpoint = folder / "checkpoint.pt"
    if settings.reading.steps and not checkpoint.exists():
        yield from read_captions(
            denoiser, examples, settings, folder / "reading" / "checkpoint.pt", seed, name
        )
    trainer = Trainer(denoiser, settings.schedule, checkpoint, seed, name)
    trainer.notes |= {"pictures": len(examples.latents), **(notes or {})}
    print(
        f"{time.strftime('%H:%M:%S')} {name}: "
        f"{trainer.facts['parameters'] / 1e6:.2f} M parameters, "
        f"{len(examples.latents)} pictures, on {trainer.facts['device']}",
        file=sys.stderr,
        flush=True,
    )
    draw, loss = objective(denoiser, examples, settings)

    def take_snapshot() -> None:
        save_pipeline(snapshot, denoiser, autoencoder, tokenizer)

    yield from trainer.steps(
        loss,
        draw=draw,
        graphs=settings.acceleration.graphs,
        stop_after=stop_after,
        minutes=None if minutes is None else minutes - (time.monotonic() - started) / 60,
        longest=longest,
        snapshot=take_snapshot,
        snapshot_every_s=480,
    )
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
