"""Writing the folder of an evaluation classifier: weights and a card."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from erasure_bench.models.classifiers.names import CARD_FILE, WEIGHTS_FILE


def save_classifier(folder: Path, network: nn.Module, about: dict[str, Any]) -> None:
    """Writes the weights, and then the card: how the network is built, with what `about` says of it."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    card = {
        "network": f"{type(network).__module__}:{type(network).__name__}",
        "architecture": network.architecture,
        "temperature": network.temperature,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        **about,
    }
    (folder / CARD_FILE).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
