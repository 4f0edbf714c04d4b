"""Whether the oracle sees which of two things stands where in which colour.

Accuracies of single heads hide it: few pairs have a colour that is asked for, fewer have two, so that an
oracle which finds both colours but not their places is right in nearly all of a head's held-out pictures.
"""

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny

from erasure_bench.models.microworld.dataset import Pictures
from erasure_bench.models.microworld.drawing.mixture import sample_binding
from erasure_bench.models.microworld.oracle_network import OracleNetwork
from erasure_bench.models.microworld.oracle_report import Shown, logits_of
from erasure_bench.models.microworld.proportions import share
from erasure_bench.models.microworld.views import reconstructions
from erasure_bench.prompt_suites.microworld.labels import PLACES

BINDINGS = 500
ASKED = (*PLACES, *(f"{place}_colour" for place in PLACES))
"""The heads that must all be right."""


def draw_bindings(count: int, seed: int) -> Pictures:
    """Fresh pairs of things, each in a colour of its own, without captions."""
    rng = np.random.default_rng((seed, 0xB1))
    return Pictures.of([sample_binding(rng) for _ in range(count)], [])


@torch.no_grad()
def bindings_report(
    network: OracleNetwork, autoencoder: AutoencoderTiny, seed: int, count: int = BINDINGS
) -> dict[str, dict[str, Any]]:
    """Drawings and reconstructions -> share of bindings of which every place and colour is told right."""
    pictures = draw_bindings(count, seed)
    generator = torch.Generator(autoencoder.device).manual_seed(seed)
    views = {
        "drawings": pictures.on(autoencoder.device),
        "reconstructions": reconstructions(pictures, autoencoder, count, 0.0, generator),
    }
    return {name: _share(network, Shown.of(pictures, pixels)) for name, pixels in views.items()}


def _share(network: OracleNetwork, shown: Shown) -> dict[str, Any]:
    found = logits_of(network, shown.pixels)
    return share(
        np.logical_and.reduce([found[head].argmax(axis=1) == shown.classes[head] for head in ASKED]).tolist()
    )
