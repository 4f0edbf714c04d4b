"""CMMD: how far two sets of pictures are apart in CLIP's embeddings.

Jayasumana et al., Rethinking FID: Towards a Better Evaluation Metric for Image Generation, CVPR 2024,
sections 3 and 4. Unlike FID it takes no shape of the distribution for granted, and needs few pictures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.base import EvaluatorCard, Metric, by_role
from erasure_bench.evaluators.clip_features import ClipFeatures
from erasure_bench.evaluators.clip_model import Precision
from erasure_bench.evaluators.clip_source import clip_source
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.sets import BASE, FeatureSet, SetEvaluator, Statistics, statistic
from erasure_bench.models.mmd import Kernels, gaussian, squared_mmd, without_each

SIGMA, SCALE = 10.0, 1000.0
"""Width of the Gaussian kernel between unit embeddings, and what the paper multiplies the distance with."""
ENOUGH = 1000
"""Pictures with which the bias is .02 at most: 1 − k is ‖x − x'‖² / 200, at most .01 in the mean."""


@dataclass(frozen=True, kw_only=True)
class CMMD(SetEvaluator):
    """1000 times the squared MMD, with a picture's kernel with itself in it as in the paper: never below 0.

    `backbone` and `weights` are read as `clip`'s are. `reference` is `base`,
    `other-seeds` or a folder of pictures (`evaluators.sets`).
    """

    backbone: str = "ViT-L-14-336/openai"
    weights: str | None = None
    reference: str = BASE
    precision: Precision = "fp32"
    device: str = "cpu"
    batch_size: int = 32

    metrics: ClassVar[tuple[Metric, ...]] = (
        statistic("cmmd", "CMMD", "1000 · squared MMD", (0.0, math.inf), by_role("neither", "lower")),
    )

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")

    def unused_settings(self) -> Mapping[str, str]:
        """A folder brings its weights."""
        of_folder = clip_source(self.backbone, self.weights).folder is not None
        return {"weights": f"with backbone={self.backbone}, a folder with its own"} if of_folder else {}

    @property
    def extractor(self) -> ClipFeatures:
        """What gives the features."""
        return ClipFeatures(self.backbone, self.weights, self.precision, self.device)

    def protocol(self) -> Mapping[str, Any]:
        return {"kernel": "Gaussian", "sigma": SIGMA, "scale": SCALE, "estimator": "with the diagonals"}

    def statistics(self, pictures: FeatureSet, reference: FeatureSet | None) -> Statistics:
        if reference is None:
            return {}
        if not len(pictures) or not len(reference):
            return {"cmmd": Failure("no pictures to compare")}
        return {"cmmd": SCALE * max(squared_mmd(_kernels(pictures, reference), unbiased=False), 0.0)}

    def without_each(
        self, pictures: FeatureSet, reference: FeatureSet, prompts: Sequence[int]
    ) -> Mapping[str, NDArray[np.float64]]:
        """From the same kernel matrices."""
        kernels = _kernels(pictures, reference)
        left = without_each(kernels, pictures.prompts, reference.prompts, prompts, unbiased=False)
        return {"cmmd": SCALE * np.maximum(left, 0.0)}

    def caution(self, pictures: int) -> str:
        """What to say of numbers of so few pictures."""
        if pictures >= ENOUGH:
            return ""
        return (
            f"CMMD of fewer than {ENOUGH:,} pictures is biased upwards, by at most "
            f"{2 * SCALE / 100 / pictures:.2g} here: compare equal n."
        )


def _kernels(pictures: FeatureSet, reference: FeatureSet) -> Kernels:
    x, y = pictures.values, reference.values
    return Kernels(gaussian(x, x, SIGMA), gaussian(y, y, SIGMA), gaussian(x, y, SIGMA))


CARD = EvaluatorCard(
    name="cmmd",
    version="2",
    title="CMMD: distance of sets of pictures in CLIP's embeddings",
    paper="Jayasumana et al., Rethinking FID: Towards a Better Evaluation Metric for Image Generation, "
    "CVPR 2024",
    formula="1000 · (mean k(x, x') + mean k(y, y') − 2 mean k(x, y)), k = exp(−‖x − y‖² / 2·10²), on unit "
    "CLIP embeddings",
    build=CMMD,
    presets={"official": {}, "microworld": {"backbone": "microworld"}},
    notes="The paper's backbone is ViT-L-14-336/openai. Values of different backbones cannot be compared. "
    "Pictures of the same prompts and noises as the reference's lie nearer than independent ones: the noise "
    "floor is the base model's own row with reference=other-seeds.",
    requires=("open_clip", "torch"),
)
