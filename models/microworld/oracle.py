"""Training the oracle on drawings and on what the autoencoder makes of them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from erasure_bench.models.microworld.autoencoder import encode_all, load_autoencoder
from erasure_bench.models.microworld.dataset import Pictures
from erasure_bench.models.microworld.loop import Trainer
from erasure_bench.models.microworld.oracle_network import CARD_FILE, WEIGHTS_FILE, OracleNetwork
from erasure_bench.models.microworld.settings import OracleSettings

DECODED = 12_000
"""How many of the training pictures are also shown as reconstructions."""


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Slight shift, scale, blur, noise, brightness and contrast, image by image; [0, 1] in and out."""
    n = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    grid = torch.zeros(n, 2, 3)
    grid[:, 0, 0] = grid[:, 1, 1] = uniform(0.9, 1.08)
    grid[:, 0, 2], grid[:, 1, 2] = uniform(-0.09, 0.09), uniform(-0.09, 0.09)
    moved = F.grid_sample(
        images,
        F.affine_grid(grid, list(images.shape), align_corners=False),
        padding_mode="border",
        align_corners=False,
    )
    blurred = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = (uniform(-0.5, 1.0).clamp_min(0)).view(n, 1, 1, 1)
    mixed = moved.lerp(blurred, share)
    contrast, brightness = uniform(0.85, 1.15).view(n, 1, 1, 1), uniform(-0.08, 0.08).view(n, 1, 1, 1)
    noise = torch.randn(images.shape, generator=generator) * uniform(0, 0.05).view(n, 1, 1, 1)
    return ((mixed - 0.5) * contrast + 0.5 + brightness + noise).clamp(0, 1)


class _Views(NamedTuple):
    """Drawings and, for the first of them, reconstructions from slightly wrong latents, both uint8."""

    drawn: NDArray[np.uint8]
    decoded: NDArray[np.uint8]


@torch.no_grad()
def decode_views(pictures: Pictures, autoencoder_folder: Path, count: int, noise: float, seed: int) -> _Views:
    """Reconstruct the first `count` pictures from latents with Gaussian error of deviation up to `noise`."""
    model = load_autoencoder(autoencoder_folder)
    generator = torch.Generator().manual_seed(seed)
    latents = encode_all(model, pictures, count)
    parts = []
    for part in latents.split(64):
        size = torch.rand(len(part), 1, 1, 1, generator=generator) * noise
        error = torch.randn(part.shape, generator=generator)
        wrong = (part + size * error).contiguous(memory_format=torch.channels_last)
        made = ((model.decoder(wrong) + 1) / 2).clamp(0, 1)
        parts.append((made * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return _Views(pictures.pixels, np.concatenate(parts))


def train_oracle(
    pictures: Pictures,
    heldout: Pictures,
    settings: OracleSettings,
    folder: Path,
    autoencoder_folder: Path,
    seed: int,
    stop_after: int | None = None,
) -> None:
    """Train from the checkpoint in `folder`; write weights and card there when the schedule is done."""
    from erasure_bench.models.microworld.drawing import HEADS

    torch.manual_seed(seed)
    views = decode_views(pictures, autoencoder_folder, DECODED, 0.35, seed)
    labels = {head: torch.from_numpy(classes) for head, classes in pictures.labels.items()}
    network = OracleNetwork(HEADS, settings.widths, settings.descriptor).to(memory_format=torch.channels_last)
    trainer = Trainer(network, settings.schedule, folder / "checkpoint.pt", seed, "oracle")
    half = settings.schedule.batch // 2

    def loss(generator: torch.Generator) -> Tensor:
        network.train()
        drawn = torch.randint(len(views.drawn), (half,), generator=generator)
        decoded = torch.randint(len(views.decoded), (half,), generator=generator)
        pixels = np.concatenate([views.drawn[drawn.numpy()], views.decoded[decoded.numpy()]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255)
        logits = network(augment(images, generator).contiguous(memory_format=torch.channels_last))
        chosen = torch.cat([drawn, decoded])
        return torch.stack(
            [F.cross_entropy(logits[head], labels[head][chosen], label_smoothing=0.02) for head in logits]
        ).sum()

    trainer.run(loss, stop_after=stop_after)
    if trainer.step < trainer.schedule.steps:
        return

    def finish() -> None:
        settle_statistics(network, views, settings.schedule.batch, seed)
        save_oracle(network, folder, heldout, autoencoder_folder, seed)

    trainer.averaged(finish)


@torch.no_grad()
def settle_statistics(network: OracleNetwork, views: _Views, batch: int, seed: int) -> None:
    """Recompute the batch norms' running statistics for the averaged weights."""
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for _ in range(60):
        some = [torch.randint(len(v), (batch,), generator=generator).numpy() for v in views]
        pixels = np.concatenate([view[chosen] for view, chosen in zip(views, some, strict=True)])
        network(augment(torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255), generator))
    network.eval()


@torch.no_grad()
def predictions(network: OracleNetwork, pixels: NDArray[np.uint8]) -> dict[str, Tensor]:
    """Predicted class index of every head, [n], for uint8 pictures [n, 64, 64, 3]."""
    found: dict[str, list[Tensor]] = {}
    for part in np.array_split(pixels, max(1, len(pixels) // 256)):
        logits = network(torch.from_numpy(part).permute(0, 3, 1, 2).float().div(255))
        for head, values in logits.items():
            found.setdefault(head, []).append(values.argmax(dim=1))
    return {head: torch.cat(parts) for head, parts in found.items()}


def accuracy_report(network: OracleNetwork, pixels: NDArray[np.uint8], labels: dict[str, NDArray]) -> dict:
    """For every head: accuracy, number of pictures, recall of each label (None where none was shown)."""
    guesses = predictions(network, pixels)
    report: dict[str, dict[str, Any]] = {}
    for head, names in network.heads.items():
        right = guesses[head].numpy() == labels[head][: len(pixels)]
        recall = {
            name: float(right[labels[head][: len(pixels)] == i].mean())
            if (labels[head][: len(pixels)] == i).any()
            else None
            for i, name in enumerate(names)
        }
        report[head] = {"accuracy": float(right.mean()), "n": len(right), "recall": recall}
    return report


@torch.no_grad()
def descriptor_threshold(
    network: OracleNetwork, pictures: Pictures, decoded: NDArray[np.uint8]
) -> dict[str, Any]:
    """The similarity above which a picture counts as a memorised one, and the references.

    References: the mean descriptor of each memorised picture. The threshold lies midway between the
    lowest similarity of a reproduction (drawn or reconstructed) to its own reference and the
    99.9th percentile of the other abstract paintings' similarity to their nearest reference.
    """
    names = network.heads["memorised"]
    classes = pictures.labels["memorised"]
    abstract = pictures.labels["object"] == network.heads["object"].index("abstract")
    total = len(decoded)

    def described(chosen: NDArray[np.bool_]) -> tuple[Tensor, NDArray]:
        own = chosen[:total]
        pixels = np.concatenate([pictures.pixels[:total][own], decoded[own]])
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
        parts = [network.descriptor(part) for part in images.split(256)]
        return torch.cat(parts), np.concatenate([classes[:total][own]] * 2)

    kept, kept_class = described(classes > 0)
    others, _ = described(abstract & (classes == 0))
    references, found = [], []
    for i in range(1, len(names)):
        own = kept[torch.from_numpy(kept_class == i)]
        reference = F.normalize(own.mean(dim=0), dim=0) if len(own) else torch.zeros(kept.shape[1])
        references.append(reference)
        found.append(own @ reference)
    stacked = torch.stack(references)
    low = float(torch.cat(found).quantile(0.005)) if kept.shape[0] else 1.0
    high = float((others @ stacked.T).amax(dim=1).quantile(0.999)) if len(others) else 0.0
    return {
        "threshold": (low + high) / 2,
        "lowest_reproduction": low,
        "highest_other": high,
        "references": {name: stacked[i].tolist() for i, name in enumerate(names[1:])},
    }


def save_oracle(
    network: OracleNetwork, folder: Path, heldout: Pictures, autoencoder_folder: Path, seed: int
) -> None:
    """Measure on held-out pictures, drawn and reconstructed, and write weights and card."""
    views = decode_views(heldout, autoencoder_folder, len(heldout.pixels), 0.0, seed)
    card = {
        "network": f"{OracleNetwork.__module__}:{OracleNetwork.__name__}",
        "architecture": network.settings,
        "image_size": 64,
        "accuracy": {
            "drawings": accuracy_report(network, heldout.pixels, heldout.labels),
            "reconstructions": accuracy_report(network, views.decoded, heldout.labels),
        },
        "descriptor": descriptor_threshold(network, heldout, views.decoded),
        "parameters": sum(p.numel() for p in network.parameters()),
        "seed": seed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: t.contiguous() for name, t in network.state_dict().items()}, folder / WEIGHTS_FILE)
    (folder / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
