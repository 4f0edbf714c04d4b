"""A ResNet as classifier of colour photographs: Selective Amnesia's for CIFAR-10 and STL-10.

Heng and Soh, Selective Amnesia, NeurIPS 2023, official code: ImageNet's ResNet-34 with a last layer of ten,
pictures of 224 × 224, mean and deviation 0.5.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from erasure_bench.environment import why_offline
from erasure_bench.errors import NotHere
from erasure_bench.models.classifiers.names import CARD_FILE, HEAD, WEIGHTS_FILE


class ResidualClassifier(nn.Module):
    """torchvision's `network` ("resnet34") on pictures made `resolution` pixels wide; a temperature divides.

    `start` names torchvision's weights that it begins with ("IMAGENET1K_V1"), None for random ones.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...],
        network: str = "resnet34",
        resolution: int = 224,
        start: str | None = None,
    ) -> None:
        from torchvision import models

        super().__init__()
        self.architecture: dict[str, Any] = {
            "heads": {HEAD: list(labels)},
            "network": network,
            "resolution": resolution,
        }
        self.heads = {HEAD: tuple(labels)}
        self.resolution = resolution
        self.temperature = 1.0
        self.trunk = models.get_model(network, weights=None)
        if start is not None:
            self.trunk.load_state_dict(published(network, start))
        self.classify = nn.Linear(self.trunk.fc.in_features, len(labels))
        self.trunk.fc = nn.Identity()

    def features(self, images: Tensor) -> Tensor:
        """The last pooling layer, [n, width], for RGB images [n, 3, height, width] in [0, 1]."""
        size = (self.resolution, self.resolution)
        larger = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return cast(Tensor, self.trunk(larger * 2 - 1))

    def logits(self, images: Tensor) -> Tensor:
        """[n, classes], divided by the temperature."""
        return cast(Tensor, self.classify(self.features(images))) / self.temperature

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """The same by the name of the only head, as evaluators ask for them."""
        return {HEAD: self.logits(images)}

    @classmethod
    def load(cls, folder: str | Path) -> "ResidualClassifier":
        """From the card and the weights in a folder; in eval mode, fp32, without gradients."""
        card = json.loads((Path(folder) / CARD_FILE).read_text(encoding="utf-8"))
        sizes = dict(card["architecture"])
        network = cls(labels=tuple(sizes.pop("heads")[HEAD]), **sizes)
        network.load_state_dict(load_file(Path(folder) / WEIGHTS_FILE))
        network.temperature = float(card["temperature"])
        return network.eval().requires_grad_(False)


def published(network: str, weights: str) -> Mapping[str, Any]:
    """torchvision's weights, from torch's cache or fetched there; raises NotHere where they cannot be had."""
    from torch import hub
    from torchvision import models

    address = models.get_model_weights(network)[weights].url
    folder = Path(hub.get_dir()) / "checkpoints"
    name = address.rpartition("/")[2]
    try:
        if (off := why_offline()) and not (folder / name).is_file():
            raise FileNotFoundError(off)
        with redirect_stdout(sys.stderr):
            found: Mapping[str, Any] = hub.load_state_dict_from_url(
                address, map_location="cpu", progress=False, check_hash=True, weights_only=True
            )
        return found
    except Exception as error:  # whatever the network ends in, the advice is the same
        why = " ".join(str(error).split())[:160]
        raise NotHere(
            f"weights {name} of {network}/{weights}: not in {folder}, and fetching failed ({why}): put "
            f"the file of {address} there, or set TORCH_HOME"
        ) from error
