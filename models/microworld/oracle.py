"""Training the oracle: on drawings, on what the autoencoder makes of them, and on nothing.

Nothing has a label of its own in every head, the outliers of Hendrycks et al., Deep Anomaly Detection with
Outlier Exposure, ICLR 2019, as a class. Half of the held-out pictures choose the temperatures, the other
half are reported on.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from erasure_bench.models.microworld.augmentation import augment
from erasure_bench.models.microworld.autoencoder import load_autoencoder
from erasure_bench.models.microworld.binding_report import bindings_report
from erasure_bench.models.microworld.corruption import whole_numbers
from erasure_bench.models.microworld.dataset import Pictures, to_float
from erasure_bench.models.microworld.drawing import HEADS
from erasure_bench.models.microworld.loop import Trainer, autocast
from erasure_bench.models.microworld.nothing import mixed
from erasure_bench.models.microworld.oracle_network import CARD_FILE, WEIGHTS_FILE, OracleNetwork
from erasure_bench.models.microworld.oracle_report import (
    NOTHING_PICTURES,
    Shown,
    accuracy_report,
    descriptor_threshold,
    fit_temperatures,
    nothing_report,
    robustness_report,
)
from erasure_bench.models.microworld.settings import OracleSettings
from erasure_bench.models.microworld.views import nothing_sources, reconstructions
from erasure_bench.prompt_suites.microworld.vocabulary import NOTHING

LATENT_NOISE = 0.35
"""Largest error of the latents whose reconstructions are trained on, in units of their deviation."""
BACKGROUNDS = 600
SOURCES = 4_000
"""Backgrounds and drawings that nothing is made from."""
SETTLING = 60
"""Batches that the batch norms' statistics of the averaged weights are taken from."""


class Views(NamedTuple):
    """What is trained on, uint8 [n, size, size, 3] each, on one device.

    `classes` holds the class of each head for the drawings, [n, heads]; `decoded` are of the first of them;
    `nothing` has the class `empty` [heads].
    """

    drawn: Tensor
    decoded: Tensor
    nothing: Tensor
    classes: Tensor
    empty: Tensor

    def batch(self, count: int, nothing_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Augmented pictures [count, 3, size, size] and their classes [count, heads].

        A share of nothing; of the rest half are drawings and half reconstructions.
        """
        device = self.drawn.device
        empty = round(count * nothing_share)
        half = (count - empty) // 2
        drawn = whole_numbers(len(self.drawn), count - empty - half, generator, device)
        decoded = whole_numbers(len(self.decoded), half, generator, device)
        nothing = whole_numbers(len(self.nothing), empty, generator, device)
        pixels = torch.cat([self.drawn[drawn], self.decoded[decoded], self.nothing[nothing]])
        classes = torch.cat(
            [self.classes[drawn], self.classes[decoded], self.empty.expand(empty, len(self.empty))]
        )
        images = augment(to_float(pixels), generator)
        return images.contiguous(memory_format=torch.channels_last), classes


def make_views(
    pictures: Pictures,
    settings: OracleSettings,
    autoencoder_folder: Path,
    seed: int,
    device: torch.device,
) -> Views:
    """Everything that the oracle is shown in training, made on and kept on `device`."""
    autoencoder = load_autoencoder(autoencoder_folder, device)
    generator = torch.Generator(device).manual_seed(seed)
    sources = nothing_sources(pictures, autoencoder, SOURCES, min(BACKGROUNDS, settings.nothing), seed)
    return Views(
        pictures.on(device),
        reconstructions(pictures, autoencoder, settings.reconstructions, LATENT_NOISE, generator),
        mixed(sources, settings.nothing, generator),
        torch.from_numpy(pictures.classes).to(device),
        torch.tensor([labels.index(NOTHING) for labels in HEADS.values()], device=device),
    )


def train_oracle(
    pictures: Pictures,
    heldout: Pictures,
    settings: OracleSettings,
    folder: Path,
    autoencoder_folder: Path,
    seed: int,
    device: torch.device,
    stop_after: int | None = None,
    minutes: float | None = None,
) -> None:
    """Train from the checkpoint in `folder`; write weights and card there when the schedule is done."""
    torch.manual_seed(seed)
    network = OracleNetwork(HEADS, settings.widths, settings.descriptor, settings.places)
    network = network.to(memory_format=torch.channels_last).to(device)
    trainer = Trainer(network, settings.schedule, folder / "checkpoint.pt", seed, "oracle")
    trainer.notes |= {"pictures": len(pictures.pixels)}
    fast = settings.acceleration
    views = make_views(pictures, settings, autoencoder_folder, seed, device)

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return views.batch(settings.schedule.batch, settings.nothing_share, generator)

    def loss(images: Tensor, classes: Tensor) -> Tensor:
        network.train()
        with autocast(device, fast.bfloat16):
            logits = network(images)
        return torch.stack(
            [
                F.cross_entropy(values.float(), classes[:, i], label_smoothing=settings.label_smoothing)
                for i, values in enumerate(logits.values())
            ]
        ).sum()

    trainer.run(loss, draw=draw, graphs=fast.graphs, stop_after=stop_after, minutes=minutes)
    if not trainer.finished:
        return

    def finish() -> None:
        settle_statistics(network, views, settings, seed)
        save_oracle(network, folder, heldout, autoencoder_folder, seed)

    trainer.averaged(finish)


@torch.no_grad()
def settle_statistics(network: OracleNetwork, views: Views, settings: OracleSettings, seed: int) -> None:
    """Recompute the batch norms' running statistics for the averaged weights."""
    generator = torch.Generator(views.drawn.device).manual_seed(seed)
    network.train()
    for _ in range(SETTLING):
        network(views.batch(settings.schedule.batch, settings.nothing_share, generator)[0])
    network.eval()


def save_oracle(
    network: OracleNetwork, folder: Path, heldout: Pictures, autoencoder_folder: Path, seed: int
) -> None:
    """Calibrate on one half of the held-out pictures, measure on the other, write weights and card."""
    device = next(network.parameters()).device
    autoencoder = load_autoencoder(autoencoder_folder, device)
    generator = torch.Generator(device).manual_seed(seed + 1)
    decoded = reconstructions(heldout, autoencoder, len(heldout.pixels), 0.0, generator)
    half = len(heldout.pixels) // 2
    first, second = slice(0, half), slice(half, len(heldout.pixels))
    drawn, made = Shown.of(heldout, heldout.on(device)), Shown.of(heldout, decoded)
    sources = nothing_sources(heldout, autoencoder, len(heldout.pixels), min(200, half), seed + 1)
    nothing = mixed(sources, half // 2, generator)
    temperatures = fit_temperatures(network, [drawn.part(first), made.part(first)], nothing)
    network.calibrate(temperatures)
    card = {
        "network": f"{OracleNetwork.__module__}:{OracleNetwork.__name__}",
        "architecture": network.settings,
        "image_size": heldout.pixels.shape[1],
        "temperatures": temperatures,
        "accuracy": {
            "drawings": accuracy_report(network, drawn.part(second)),
            "reconstructions": accuracy_report(network, made.part(second)),
        },
        "bindings": bindings_report(network, autoencoder, seed + 2),
        "nothing": nothing_report(network, sources, generator, min(NOTHING_PICTURES, len(heldout.pixels))),
        "robustness": robustness_report(network, drawn.part(second), generator),
        "descriptor": descriptor_threshold(network, drawn, made),
        "parameters": sum(p.numel() for p in network.parameters()),
        "calibrated_on": half,
        "seed": seed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    (folder / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
