"""How far the built-in model's pictures are from drawings of the same captions."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.microworld.dataset import to_bytes, to_float
from erasure_bench.models.microworld.drawing import caption, draw, sample_scene
from erasure_bench.models.microworld.fidelity import kernel_distance, precision_and_recall
from erasure_bench.models.microworld.generation import Progress, Protocol, draw_all
from erasure_bench.models.microworld.oracle_network import OracleNetwork
from erasure_bench.models.microworld.proportions import wilson

FIRST_SEED = 8_000_000
_BATCH = 256


@torch.no_grad()
def fidelity_report(
    model: DiffusionModel, oracle: OracleNetwork, count: int, protocol: Protocol
) -> dict[str, dict[str, Any]]:
    """Generated pictures beside `count` drawings of the same distribution, in the oracle's features.

    Also, to say what a value means: what the generated are of, drawn, and as the autoencoder gives it back.
    All are held against other drawings than those whose captions were asked for, because a kernel distance
    takes its two sets for independent. All drawings have seeds that training never used. The features are
    scaled to a mean square of one over the reference. Intervals: of the kernel distance by its standard
    error, of precision and recall Wilson's, with the other set's manifold taken as given.
    """
    drawn, captions = drawings(count, 0)
    others, _ = drawings(count, 1)
    made = draw_all(model, captions, FIRST_SEED, protocol, Progress(count))
    parts = [
        to_bytes(model.decode_latents(model.encode_images(part))).cpu()
        for part in to_float(drawn).split(_BATCH)
    ]
    returned = torch.cat(parts).numpy()
    reference = oracle_features(oracle, others)
    scale = np.sqrt(np.square(reference).mean())
    return {
        name: compared(oracle_features(oracle, pictures) / scale, reference / scale)
        for name, pictures in (("generated", made), ("reconstructed", returned), ("drawn", drawn))
    }


def drawings(count: int, part: int) -> tuple[NDArray[np.uint8], list[str]]:
    """`count` fresh drawings of the training distribution, uint8 [count, size, size, 3], with captions."""
    rng = np.random.default_rng((FIRST_SEED, part))
    scenes = [sample_scene(rng) for _ in range(count)]
    return np.stack([draw(scene) for scene in scenes]), [caption(scene, rng, 0.0) for scene in scenes]


@torch.no_grad()
def oracle_features(oracle: OracleNetwork, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The oracle's penultimate layer for uint8 pictures [n, size, size, 3], [n, descriptor]."""
    parts = [oracle.features(part) for part in to_float(pictures).split(_BATCH)]
    return torch.cat(parts).double().numpy()


def compared(made: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, Any]:
    """Kernel distance, precision and recall of features [n, d] and [m, d], with intervals."""
    distance, found = kernel_distance(made, true), precision_and_recall(made, true)
    half = 1.96 * distance.standard_error
    return {
        "kernel_distance": distance.value,
        "kernel_distance_interval": [distance.value - half, distance.value + half],
        "precision": found.precision,
        "precision_interval": list(wilson(round(found.precision * len(made)), len(made))),
        "recall": found.recall,
        "recall_interval": list(wilson(round(found.recall * len(true)), len(true))),
        "n": len(made),
        "n_reference": len(true),
    }
