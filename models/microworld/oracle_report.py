"""What the oracle's card says of it: how right, how sure, how robust, and whether it knows nothing."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from erasure_bench.models.microworld.calibration import BINS, expected_calibration_error, fitted_temperature
from erasure_bench.models.microworld.corruption import blur, grain
from erasure_bench.models.microworld.dataset import Pictures, to_bytes, to_float
from erasure_bench.models.microworld.nothing import TRAINED, UNSEEN, Sources
from erasure_bench.models.microworld.oracle_network import OracleNetwork
from erasure_bench.prompt_suites.microworld.vocabulary import NONE, NOTHING

BLUR_RADII = (1, 2, 3)
"""Standard deviations of the blur in pixels, as Pillow's `GaussianBlur` counts its radius."""
GRAIN_DEVIATIONS = (10, 20, 40)
"""Standard deviations of the grain, of 255."""
KNOWN = 0.5
"""A probability of this or more means that the oracle takes the picture for something."""
NOTHING_BAR = 0.95
"""Share of pictures of nothing that no head may take for something."""
NOTHING_PICTURES = 400
_ABSTRACT = "abstract"
"""The object head's label of memorised pictures and of others of their make."""
_BATCH = 256


class Shown(NamedTuple):
    """Pictures, uint8 [n, size, size, 3] on the network's device, with the class of every head, [n] each."""

    pixels: Tensor
    classes: dict[str, NDArray[np.int64]]

    @classmethod
    def of(cls, pictures: Pictures, pixels: Tensor) -> "Shown":
        """`pixels`, one view of the pictures, with the pictures' labels."""
        return cls(pixels, pictures.labels)

    def part(self, chosen: slice | NDArray[np.bool_]) -> "Shown":
        where = chosen if isinstance(chosen, slice) else torch.from_numpy(chosen).to(self.pixels.device)
        return Shown(self.pixels[where], {head: of[chosen] for head, of in self.classes.items()})


@torch.no_grad()
def logits_of(network: OracleNetwork, pixels: Tensor) -> dict[str, NDArray[np.float64]]:
    """Logits of every head, [n, labels], for uint8 pictures [n, size, size, 3]."""
    parts = [network(to_float(part)) for part in pixels.split(_BATCH)]
    return {
        head: torch.cat([part[head].float() for part in parts]).cpu().double().numpy()
        for head in network.heads
    }


def probabilities_of(network: OracleNetwork, pixels: Tensor) -> dict[str, NDArray[np.float64]]:
    """Calibrated probabilities of every head, [n, labels]."""
    return {
        head: torch.from_numpy(logits).softmax(dim=1).numpy()
        for head, logits in logits_of(network, pixels).items()
    }


def fit_temperatures(network: OracleNetwork, shown: Sequence[Shown], nothing: Tensor) -> dict[str, float]:
    """The temperature of every head, on pictures that are neither trained nor reported on.

    Drawings, reconstructions and nothing together: all that the oracle is asked about.
    """
    network.calibrate(dict.fromkeys(network.heads, 1.0))
    logits = [logits_of(network, part.pixels) for part in shown] + [logits_of(network, nothing)]
    temperatures = {}
    for head, labels in network.heads.items():
        empty = np.full(len(nothing), labels.index(NOTHING))
        truth = np.concatenate([*(part.classes[head] for part in shown), empty])
        temperatures[head] = fitted_temperature(np.concatenate([part[head] for part in logits]), truth)
    return temperatures


def accuracy_report(network: OracleNetwork, shown: Shown) -> dict[str, dict[str, Any]]:
    """For every head: accuracy, number of pictures, calibration error, recall of each label.

    The recall is None where none was shown; the error is over `BINS` equally full bins.
    """
    report: dict[str, dict[str, Any]] = {}
    for head, probabilities in probabilities_of(network, shown.pixels).items():
        truth = shown.classes[head]
        right = probabilities.argmax(axis=1) == truth
        report[head] = {
            "accuracy": float(right.mean()),
            "n": len(right),
            "mean_probability": float(probabilities[np.arange(len(truth)), truth].mean()),
            "calibration_error": expected_calibration_error(probabilities.max(axis=1), right, BINS),
            "recall": {
                name: float(right[truth == i].mean()) if (truth == i).any() else None
                for i, name in enumerate(network.heads[head])
            },
        }
    return report


def taken_for_nothing(network: OracleNetwork, pixels: Tensor) -> dict[str, NDArray[np.bool_]]:
    """For every head and picture whether no label but "nothing" has a probability of `KNOWN` or more."""
    found = {}
    for head, probabilities in probabilities_of(network, pixels).items():
        known = [i for i, label in enumerate(network.heads[head]) if label != NOTHING]
        found[head] = probabilities[:, known].max(axis=1) < KNOWN
    return found


@torch.no_grad()
def nothing_report(
    network: OracleNetwork, sources: Sources, generator: torch.Generator, count: int = NOTHING_PICTURES
) -> dict[str, Any]:
    """For every family of nothing the share that no head takes for something, and each head's own share."""
    families: dict[str, dict[str, Any]] = {}
    for name, family in {**TRAINED, **UNSEEN}.items():
        found = taken_for_nothing(network, to_bytes(family(sources, count, generator)))
        families[name] = {
            "trained": name in TRAINED,
            "share": float(np.logical_and.reduce(list(found.values())).mean()),
            "n": count,
            "heads": {head: float(passed.mean()) for head, passed in found.items()},
        }
    return {"bar": NOTHING_BAR, "known": KNOWN, "families": families}


@torch.no_grad()
def robustness_report(
    network: OracleNetwork, shown: Shown, generator: torch.Generator
) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Blur and grain, each -> strength -> head -> accuracy and mean probability of the truth.

    Strength 0 is the pictures as they are.
    """

    def judged(pixels: Tensor) -> dict[str, dict[str, float]]:
        rows = {}
        for head, probabilities in probabilities_of(network, pixels).items():
            truth = shown.classes[head]
            rows[head] = {
                "accuracy": float((probabilities.argmax(axis=1) == truth).mean()),
                "mean_probability": float(probabilities[np.arange(len(truth)), truth].mean()),
            }
        return rows

    def spoilt(strength: float, grained: bool) -> Tensor:
        parts = []
        for part in shown.pixels.split(_BATCH):
            by = torch.full((len(part),), strength, device=part.device)
            images = to_float(part)
            parts.append(to_bytes(grain(images, by / 255, generator) if grained else blur(images, by)))
        return torch.cat(parts)

    plain = {"0": judged(shown.pixels)}
    return {
        "blur": plain | {str(radius): judged(spoilt(radius, False)) for radius in BLUR_RADII},
        "grain": plain | {str(by): judged(spoilt(by, True)) for by in GRAIN_DEVIATIONS},
    }


@torch.no_grad()
def descriptor_threshold(network: OracleNetwork, drawn: Shown, made: Shown) -> dict[str, Any]:
    """The similarity above which a picture counts as a memorised one, and the references.

    References: the mean descriptor of each memorised picture, drawn and reconstructed. The threshold lies
    midway between the lowest similarity (0.5th percentile) of a reproduction to its own reference and the
    99.9th percentile of the other abstract paintings' similarity to their nearest reference.
    """
    names = network.heads["memorised"]
    titles = [name for name in names if name not in (NONE, NOTHING)]
    classes = drawn.classes["memorised"]
    abstract = drawn.classes["object"] == network.heads["object"].index(_ABSTRACT)
    none = names.index(NONE)

    def described(chosen: NDArray[np.bool_]) -> Tensor:
        pixels = torch.cat([view.part(chosen).pixels for view in (drawn, made)])
        return torch.cat([network.descriptor(to_float(part)) for part in pixels.split(_BATCH)]).cpu()

    references: dict[str, Tensor] = {}
    reproduced: list[Tensor] = []
    for title in titles:
        chosen = classes == names.index(title)
        if not chosen.any():
            references[title] = torch.zeros(network.descriptor_size)
            continue
        own = described(chosen)
        references[title] = F.normalize(own.mean(dim=0), dim=0)
        reproduced.append(own @ references[title])
    stacked = torch.stack(list(references.values()))
    others = abstract & (classes == none)
    low = float(torch.cat(reproduced).quantile(0.005)) if reproduced else 1.0
    high = float((described(others) @ stacked.T).amax(dim=1).quantile(0.999)) if others.any() else 0.0
    return {
        "threshold": (low + high) / 2,
        "lowest_reproduction": low,
        "highest_other": high,
        "references": {title: reference.tolist() for title, reference in references.items()},
    }
