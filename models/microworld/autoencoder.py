"""The autoencoder: 64x64 pictures to 8x8 latents of about zero mean and unit variance, and back.

`python -m erasure_bench.models.microworld.autoencoder --out FILE.png` draws new pictures, prints how near
their reconstructions are and puts each row of drawings above the row of its reconstructions.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from erasure_bench.models.microworld.dataset import Pictures, draw_split, load_split, to_float
from erasure_bench.models.microworld.drawing import HEADS, contact_sheet
from erasure_bench.models.microworld.loop import Trainer, autocast
from erasure_bench.models.microworld.settings import AutoencoderSettings, PictureSettings

LATENTS_FILE = "latents.npy"
REPORT_FILE = "report.json"


def build_autoencoder(settings: AutoencoderSettings, scaling_factor: float = 1.0) -> AutoencoderTiny:
    """An untrained `AutoencoderTiny`."""
    return AutoencoderTiny(
        latent_channels=settings.latent_channels,
        encoder_block_out_channels=(settings.encoder_width,) * 4,
        decoder_block_out_channels=(settings.decoder_width,) * 4,
        num_encoder_blocks=settings.encoder_blocks,
        num_decoder_blocks=settings.decoder_blocks,
        scaling_factor=scaling_factor,
    )


def picture_loss(made: Tensor, wanted: Tensor, sharpness: float) -> Tensor:
    """Squared error plus a little absolute error of pixels and of their differences to the next ones.

    The squared error is what PSNR measures; the absolute ones keep flat areas flat and lines sharp.
    """
    error = made - wanted
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.square().mean() + sharpness * (error.abs().mean() + 0.5 * edges)


def moment_penalty(latents: Tensor) -> Tensor:
    """How far each latent channel is from zero mean and unit variance over the batch."""
    mean = latents.mean(dim=(0, 2, 3))
    variance = latents.var(dim=(0, 2, 3))
    return (mean.square() + (variance.clamp_min(1e-6).log()).square()).mean()


class _Reconstruction(nn.Module):
    """Latents of pictures and what is decoded from them when noise is added, in one call to compile."""

    def __init__(self, model: AutoencoderTiny) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.model.encoder(images)
        return latents, self.model.decoder(latents + noise)


def train_autoencoder(
    pictures: Pictures,
    heldout: Pictures,
    settings: AutoencoderSettings,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    stop_after: int | None = None,
    minutes: float | None = None,
) -> None:
    """Train from the checkpoint in `folder`, if any.

    When the schedule is done the model, the report on held-out pictures and the scaled latents of all
    training pictures are saved there.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    model = build_autoencoder(settings).to(device, memory_format=torch.channels_last)
    trainer = Trainer(model, settings.schedule, folder / "checkpoint.pt", seed, "autoencoder")
    fast = settings.acceleration
    reconstruct = _Reconstruction(model)
    if fast.compile:
        reconstruct.compile()
    pixels = pictures.on(device)
    batch = settings.schedule.batch
    shape = (batch, settings.latent_channels, 8, 8)

    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        chosen = torch.randint(len(pixels), (batch,), generator=generator, device=pixels.device)
        deviation = torch.rand(batch, 1, 1, 1, generator=generator, device=pixels.device)
        noise = torch.randn(shape, generator=generator, device=pixels.device)
        return pixels[chosen], settings.latent_noise * deviation * noise

    def loss(chosen: Tensor, noise: Tensor) -> Tensor:
        images = _channels_last(to_float(chosen) * 2 - 1)
        with autocast(images.device, fast.bfloat16):
            latents, decoded = reconstruct(images, noise)
        penalty = 0.01 * moment_penalty(latents.float())
        return picture_loss(decoded.float(), images, settings.sharpness) + penalty

    left = None if minutes is None else minutes - (time.monotonic() - started) / 60
    trainer.run(loss, draw=draw, graphs=fast.graphs, stop_after=stop_after, minutes=left)
    if trainer.finished:
        finish_autoencoder(model, pictures, heldout, folder)


def finish_autoencoder(model: AutoencoderTiny, pictures: Pictures, heldout: Pictures, folder: Path) -> None:
    """Scale the latents to a deviation of one; save the model, its report and all scaled latents."""
    latents = encode_all(model, pictures)
    scale = 1 / float(latents[:4096].std())
    model.register_to_config(scaling_factor=scale)
    model.save_pretrained(folder)
    partial = folder / f"part-{LATENTS_FILE}"
    np.save(partial, (latents * scale).half().cpu().numpy())
    partial.replace(folder / LATENTS_FILE)
    report = psnr_report(model, heldout)
    (folder / REPORT_FILE).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(_told(report), file=sys.stderr, flush=True)


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


@torch.no_grad()
def reconstruct_all(model: AutoencoderTiny, pictures: Pictures, limit: int | None = None) -> Tensor:
    """Reconstructions of the first `limit` pictures, float [n, 3, 64, 64] in [0, 1], on the CPU."""
    latents = encode_all(model, pictures, limit)
    parts = [model.decoder(_channels_last(part)) for part in latents.split(256)]
    return torch.cat([((part + 1) / 2).clamp(0, 1).float().cpu() for part in parts])


def psnr_report(model: AutoencoderTiny, heldout: Pictures) -> dict[str, Any]:
    """PSNR in dB of the reconstructions of held-out pictures, over all and for each style.

    `mean` is the mean over pictures of their PSNR, `of_mean_error` the PSNR of the mean squared error,
    which the worst pictures decide; peak is 1.
    """
    made = reconstruct_all(model, heldout)
    errors = np.concatenate(
        [
            (part - heldout.images(torch.arange(start, start + len(part))))
            .square()
            .mean(dim=(1, 2, 3))
            .numpy()
            for start, part in zip(range(0, len(made), 256), made.split(256), strict=True)
        ]
    )
    styles = heldout.labels["style"]
    rows = {
        style: _psnr(errors[styles == i]) for i, style in enumerate(HEADS["style"]) if (styles == i).any()
    }
    return {
        "psnr": _psnr(errors),
        "styles": rows,
        "worst_style": min(rows, key=lambda style: rows[style]["mean"]),
        "latent_channels": model.config.latent_channels,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _psnr(errors: NDArray[np.floating]) -> dict[str, float | int]:
    decibels = -10 * np.log10(np.maximum(errors, 1e-10))
    return {
        "mean": round(float(decibels.mean()), 2),
        "of_mean_error": round(float(-10 * np.log10(max(errors.mean(), 1e-10))), 2),
        "n": len(errors),
    }


def _told(report: dict[str, Any]) -> str:
    styles = ", ".join(f"{style} {row['mean']:.1f}" for style, row in report["styles"].items())
    return (
        f"autoencoder: {report['psnr']['mean']:.2f} dB on {report['psnr']['n']} held-out pictures ({styles})"
    )


def reconstruction_sheet(model: AutoencoderTiny, heldout: Pictures, per_style: int = 12) -> Image.Image:
    """Drawings of every style in one row each, every row above the row of their reconstructions."""
    styles = heldout.labels["style"]
    tiles: list[NDArray[np.uint8]] = []
    for style in np.unique(styles):
        chosen = np.flatnonzero(styles == style)[:per_style]
        some = Pictures(heldout.pixels[chosen], {}, [])
        made = (reconstruct_all(model, some) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        blank = [np.full((64, 64, 3), 255, np.uint8)] * (per_style - len(chosen))
        tiles += [*some.pixels, *blank, *made, *blank]
    return contact_sheet(tiles, per_style, scale=2)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m erasure_bench.models.microworld.autoencoder", description=__doc__
    )
    shipped = Path(__file__).parent / "weights" / "pipeline" / "vae"
    parser.add_argument("--weights", type=Path, default=shipped, help="folder of the autoencoder")
    parser.add_argument("--out", type=Path, required=True, help="the contact sheet, a PNG")
    parser.add_argument("--pictures", type=int, default=600, help="how many new pictures are drawn")
    parser.add_argument("--seed", type=int, default=1, help="of the drawings; training uses 0")
    given = parser.parse_args(arguments)
    settings = PictureSettings(train=1, heldout=given.pictures, captions=1)
    with tempfile.TemporaryDirectory() as folder:
        draw_split(settings, "heldout", given.seed, Path(folder) / "heldout")
        heldout = load_split(Path(folder) / "heldout")
        model = load_autoencoder(given.weights)
        print(json.dumps(psnr_report(model, heldout), indent=1))
        given.out.parent.mkdir(parents=True, exist_ok=True)
        reconstruction_sheet(model, heldout).save(given.out)


if __name__ == "__main__":
    main()
