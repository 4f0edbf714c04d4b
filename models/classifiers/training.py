"""Training an evaluation classifier, and its card: how often it is right, how sure, of what it is unsure."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from erasure_bench.models.classifiers.folder import save_classifier
from erasure_bench.models.classifiers.nothing import TRAINED, UNSEEN, mixed
from erasure_bench.models.classifiers.recipes import Recipe, build_network
from erasure_bench.models.datasets.base import DatasetCard, Labelled, LabelledParts
from erasure_bench.models.microworld.calibration import expected_calibration_error, fitted_temperature
from erasure_bench.models.microworld.loop import Trainer
from erasure_bench.models.seeding import begin_at, seeded

BATCH = 500
"""How many pictures are looked at together where nothing is trained."""
NOTHING_PICTURES = 1_000


def train_classifier(
    recipe: Recipe,
    card: DatasetCard,
    data: LabelledParts,
    folder: Path,
    work: Path,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    stop_after: int | None = None,
) -> bool:
    """Trains on `data.train` and writes weights and card to `folder`; goes on from a checkpoint in `work`.

    The temperature is fitted on every second held-out picture, the calibration error is of the
    others. False where it stopped after `stop_after` steps with more to do.
    """
    with seeded(seed):
        network: Any = build_network(recipe, card).to(device)
    trainer = Trainer(network, recipe.schedule, work / "classifier.pt", seed, f"classifier of {card.name}")
    pixels, labels = (torch.from_numpy(array).to(device) for array in data.train)
    classes = len(card.classes)
    empty = round(recipe.schedule.batch * recipe.nothing_share)

    def draw(generator: Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(
            len(pixels), (recipe.schedule.batch,), generator=generator, device=generator.device
        )
        images = moved(pixels[rows].float() / 255, recipe, generator)
        wanted = F.one_hot(labels[rows], classes).float()
        if empty:
            images = torch.cat([images[empty:], mixed(images[:empty], generator)])
            wanted = torch.cat([wanted[empty:], torch.full_like(wanted[:empty], 1 / classes)])
        return images.expand(-1, 3, -1, -1), wanted

    def loss(images: Tensor, wanted: Tensor) -> Tensor:
        network.train()
        return F.cross_entropy(network.logits(images), wanted)

    # dropout draws from the process' own generator: seeded step by step, a resumed training draws the same
    with seeded(seed, trainer.device):
        trainer.run(_anew_each_step(loss, trainer), draw=draw, stop_after=stop_after)
    if not trainer.finished:
        return False
    network.eval()
    held_out = data.held_out
    logits = _logits(network, torch.from_numpy(held_out.pixels), device)
    network.temperature = fitted_temperature(logits[::2], held_out.labels[::2])
    save_classifier(
        folder,
        network,
        {
            "image_size": card.side,
            "dataset": {"name": card.name, "origin": data.origin, "digest": data.digest()},
            "held_out": held_out_report(network, held_out, device),
            "nothing": nothing_report(network, held_out, seed, device),
            "calibrated_on": len(held_out.labels[::2]),
            "training": {**asdict(recipe), "seed": seed, "device": str(trainer.device.type)},
        },
    )
    return True


def moved(images: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
    """Images [n, c, side, side] shifted, turned and mirrored as the recipe says, black coming in."""
    if not (recipe.shift or recipe.turn or recipe.mirror):
        return images
    count, device = len(images), generator.device
    angle, right, down = (torch.rand(3, count, generator=generator, device=device) * 2 - 1).unbind()
    angle = angle * math.radians(recipe.turn)
    flip = torch.ones(count, device=device)
    if recipe.mirror:
        flip = torch.where(torch.rand(count, generator=generator, device=device) < 0.5, -1.0, 1.0)
    rows = [
        torch.stack([flip * angle.cos(), -angle.sin(), right * 2 * recipe.shift], dim=1),
        torch.stack([flip * angle.sin(), angle.cos(), down * 2 * recipe.shift], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def held_out_report(network: Any, pictures: Labelled, device: torch.device | str) -> dict[str, Any]:
    """Accuracy, the true class's mean probability, recall; of every second one the calibration error."""
    likely = _softmax(_logits(network, torch.from_numpy(pictures.pixels), device))
    right = likely.argmax(1) == pictures.labels
    unfitted = slice(1, None, 2)
    (labels,) = network.heads.values()
    return {
        "n": len(right),
        "accuracy": round(float(right.mean()), 5),
        "mean_probability": round(float(likely[np.arange(len(right)), pictures.labels].mean()), 5),
        "mean_entropy": round(float(_entropies(likely).mean()), 5),
        "calibration_error": round(expected_calibration_error(likely.max(1)[unfitted], right[unfitted]), 5),
        "recall": {
            label: round(float(right[pictures.labels == place].mean()), 5)
            for place, label in enumerate(labels)
            if (pictures.labels == place).any()
        },
    }


def nothing_report(
    network: Any, pictures: Labelled, seed: int, device: torch.device | str
) -> dict[str, dict[str, Any]]:
    """Of each family of pictures that show nothing the mean entropy (nats) and largest mean probability."""
    generator = Generator().manual_seed(seed + 1)
    rows = np.arange(NOTHING_PICTURES) % len(pictures.pixels)
    some = torch.from_numpy(pictures.pixels[rows]).float() / 255
    found = {}
    for name, family in {**TRAINED, **UNSEEN}.items():
        drawn = (family(some, generator) * 255).round().to(torch.uint8)
        likely = _softmax(_logits(network, drawn, device))
        found[name] = {
            "in_training": name in TRAINED,
            "mean_entropy": round(float(_entropies(likely).mean()), 4),
            "largest_mean_probability": round(float(likely.mean(0).max()), 4),
        }
    return found


def _anew_each_step(loss: Any, trainer: Trainer) -> Any:
    def of_step(*batch: Tensor) -> Tensor:
        begin_at(trainer.seed * 1_000_003 + trainer.step, trainer.device)
        return loss(*batch)

    return of_step


@torch.inference_mode()
def _logits(network: Any, images: Tensor, device: torch.device | str) -> np.ndarray:
    parts = [
        network.logits((part.to(device).float() / 255).expand(-1, 3, -1, -1)) for part in images.split(BATCH)
    ]
    return torch.cat(parts).double().cpu().numpy()


def _softmax(logits: np.ndarray) -> np.ndarray:
    from scipy.special import softmax

    return softmax(logits, axis=1)


def _entropies(likely: np.ndarray) -> np.ndarray:
    from scipy.stats import entropy

    return entropy(likely, axis=1)
