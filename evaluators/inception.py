"""The Inception network of FID as features: torch-fidelity's, with the numbers of TensorFlow's."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from erasure_bench.environment import why_offline
from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.array_file import why_unread
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import loaded_once, sha256_of
from erasure_bench.evaluators.hub import models_folder
from erasure_bench.evaluators.packages import required_module, version_of
from erasure_bench.evaluators.sets import Vectors
from erasure_bench.user_paths import user_path

NAME = "inception-v3-compat"
WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
POOLED = 2048
"""How many of the features are the last pooling layer's; the others are the logits without bias."""
LAYERS = ("2048", "logits_unbiased")


@dataclass(frozen=True)
class InceptionFeatures:
    """`NAME` of torch-fidelity: pictures of any size, resized as TensorFlow 1 did to 299 × 299.

    `weights` is a local copy of the file `WEIGHTS`, or another of the same form; without it the file is
    looked for where `_weights_file` says. Features: `POOLED` of the last pooling layer, then 1008 logits.
    """

    weights: str | None = None
    device: str = "cpu"

    def protocol(self) -> Mapping[str, Any]:
        # The published file's name ends in the first digits of its sha256, which is checked.
        identity = {"weights_sha256": sha256_of(self._own())} if self.weights else {"weights_file": WEIGHTS}
        return {
            "network": NAME,
            **identity,
            "layers": list(LAYERS),
            "resize": "299 × 299, bilinear as in TensorFlow 1",
            "torch-fidelity": version_of("torch-fidelity"),
        }

    def prepare(self) -> None:
        """Loads the network; raises BenchError where its weights are missing or do not fit."""
        _network(self._own() if self.weights else _weights_file(), self.device)

    def features(self, pixels: Sequence[Pixels]) -> list[Vectors]:
        import torch

        network = _network(self._own() if self.weights else _weights_file(), self.device)
        found: dict[int, Vectors] = {}
        by_size = sorted(range(len(pixels)), key=lambda place: pixels[place].shape)
        for _, places in groupby(by_size, key=lambda place: pixels[place].shape):
            same = list(places)
            batch = np.stack([pixels[place] for place in same]).transpose(0, 3, 1, 2)
            with torch.inference_mode():
                layers = network(torch.from_numpy(np.ascontiguousarray(batch)).to(self.device))
            found |= zip(same, torch.cat(layers, dim=1).cpu().numpy(), strict=True)
        return [found[place] for place in range(len(pixels))]

    def _own(self) -> Path:
        path = user_path(self.weights or "")
        if not path.is_file():
            raise BenchError(
                f"Inception weights {self.weights!r} are not a file (--evaluator-option weights=PATH)"
            )
        return path


def _weights_file() -> Path:
    """$BENCH_MODELS/`WEIGHTS`, else in torch's own cache ($TORCH_HOME), where it is put if it can be had."""
    from torch import hub

    cache = Path(hub.get_dir()) / "checkpoints"
    places = [folder for folder in (models_folder(), cache) if folder is not None]
    for folder in places:
        if (folder / WEIGHTS).is_file():
            return _published(folder / WEIGHTS)
    address = required_module("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity", "fidelity")
    url = address.URL_INCEPTION_V3
    try:
        if off := why_offline():
            raise OSError(off)
        cache.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):
            hub.download_url_to_file(url, str(cache / WEIGHTS), hash_prefix=_digits(), progress=False)
    except Exception as error:
        raise NotHere(
            f"Inception weights {WEIGHTS} are missing. Looked in {', '.join(map(str, places))} and at {url} "
            f"({' '.join(str(error).split())[:160]}). Ways to get them: go online once; copy the file to "
            "$BENCH_MODELS; or --evaluator-option fidelity.weights=PATH"
        ) from error
    return cache / WEIGHTS


def _published(path: Path) -> Path:
    if not sha256_of(path).startswith(_digits()):
        raise BenchError(
            f"{path}: not the published weights (its sha256 does not begin with {_digits()}); remove it, or "
            "name your own by --evaluator-option fidelity.weights=PATH"
        )
    return path


def _digits() -> str:
    return WEIGHTS.removesuffix(".pth").rpartition("-")[2]


@loaded_once(2)
def _network(weights: Path, device: str) -> Any:
    module = required_module("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity", "fidelity")
    import torch

    try:
        # torch-fidelity unpickles whatever the file holds: it is shown to hold nothing but weights first.
        torch.load(weights, map_location="cpu", weights_only=True)
        network = module.FeatureExtractorInceptionV3(
            NAME, list(LAYERS), feature_extractor_weights_path=str(weights)
        )
    except Exception as error:
        raise BenchError(f"{weights}: no weights of {NAME}: {why_unread(error)}") from error
    return network.to(device)
