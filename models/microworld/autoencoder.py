"""The autoencoder: 64x64 pictures to 8x8 latents of about zero mean and unit variance, and back."""

from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from erasure_bench.models.microworld.dataset import Pictures, to_float
from erasure_bench.models.microworld.loop import Trainer
from erasure_bench.models.microworld.settings import AutoencoderSettings, Schedule


def build_autoencoder(settings: AutoencoderSettings, scaling_factor: float = 1.0) -> AutoencoderTiny:
    """An untrained `AutoencoderTiny`."""
    widths = (settings.width,) * 4
    return AutoencoderTiny(
        latent_channels=settings.latent_channels,
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=settings.encoder_blocks,
        num_decoder_blocks=settings.decoder_blocks,
        scaling_factor=scaling_factor,
    )


def picture_loss(made: Tensor, wanted: Tensor) -> Tensor:
    """L1 + MSE + L1 of neighbouring pixels' differences, which keeps lines and facial features sharp."""
    error = made - wanted
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + error.square().mean() + 0.5 * edges


def moment_penalty(latents: Tensor) -> Tensor:
    """How far each latent channel is from zero mean and unit variance over the batch."""
    mean = latents.mean(dim=(0, 2, 3))
    variance = latents.var(dim=(0, 2, 3))
    return (mean.square() + (variance.clamp_min(1e-6).log()).square()).mean()


def train_autoencoder(
    pictures: Pictures, settings: AutoencoderSettings, folder: Path, seed: int, stop_after: int | None = None
) -> None:
    """Train from the checkpoint in `folder`, if any, and save the model there when the schedule is done."""
    torch.manual_seed(seed)
    model = build_autoencoder(settings).to(memory_format=torch.channels_last)
    trainer = Trainer(model, settings.schedule, folder / "checkpoint.pt", seed, "autoencoder")

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(pictures.pixels), (settings.schedule.batch,), generator=generator)
        images = _channels_last(pictures.images(chosen) * 2 - 1)
        latents = model.encoder(images)
        noise = torch.randn(latents.shape, generator=generator)
        decoded = model.decoder(latents + settings.latent_noise * noise)
        return picture_loss(decoded, images) + 0.02 * moment_penalty(latents)

    trainer.run(loss, stop_after=stop_after)
    if trainer.step >= trainer.schedule.steps:
        finish_autoencoder(model, pictures, folder)


def refine_decoder(pictures: Pictures, folder: Path, schedule: Schedule, seed: int) -> None:
    """Train the decoder further and leave the latents as they are: the diffusion model stays valid."""
    model = load_autoencoder(folder).to(memory_format=torch.channels_last)
    model.encoder.requires_grad_(False)
    trainer = Trainer(model, schedule, folder / "decoder_checkpoint.pt", seed + 1, "decoder")

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(pictures.pixels), (schedule.batch,), generator=generator)
        images = _channels_last(pictures.images(chosen) * 2 - 1)
        with torch.no_grad():
            latents = model.encoder(images)
        noise = torch.randn(latents.shape, generator=generator)
        return picture_loss(model.decoder(latents + 0.12 * noise), images)

    trainer.run(loss)
    model.save_pretrained(folder)


def finish_autoencoder(model: AutoencoderTiny, pictures: Pictures, folder: Path) -> None:
    """Set the scaling factor to one over the latents' deviation and save the model in `folder`."""
    deviation = float(encode_all(model, pictures, 1024).std())
    model.register_to_config(scaling_factor=1 / deviation)
    model.save_pretrained(folder)


def load_autoencoder(folder: Path, device: torch.device | str = "cpu") -> AutoencoderTiny:
    """The saved model, in fp32."""
    return AutoencoderTiny.from_pretrained(folder, torch_dtype=torch.float32).to(device)


def _channels_last(images: Tensor) -> Tensor:
    """The memory layout in which these narrow convolutions are a third faster on a CPU."""
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encode_all(model: AutoencoderTiny, pictures: Pictures, limit: int | None = None) -> Tensor:
    """Unscaled latents [n, channels, 8, 8] of the first `limit` pictures, on the model's device."""
    count = len(pictures.pixels) if limit is None else min(limit, len(pictures.pixels))
    size = 2048 if model.device.type == "cuda" else 64
    encoded = []
    for start in range(0, count, size):
        pixels = torch.from_numpy(pictures.pixels[start : min(start + size, count)]).to(model.device)
        encoded.append(model.encoder(_channels_last(to_float(pixels) * 2 - 1)).contiguous())
    return torch.cat(encoded)
