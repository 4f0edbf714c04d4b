"""How far a picture is from the base model's picture of the same prompt and noise.

What an erasure should leave alone comes out as before: same noise, same picture. The structural similarity
(Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE Transactions on
Image Processing 2004), taken over the three colour channels, falls for what changes a picture without
changing what it shows: blur, grain, drained colours, another composition. It needs no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
from erasure_bench.evaluators.measuring import Failure, Pair, measure_pairs
from erasure_bench.evaluators.packages import version_of

SMALLEST = 11
"""The side of the structural similarity's window, in pixels."""


@dataclass(frozen=True, kw_only=True)
class DistanceToBase:
    """1 − SSIM and the mean colour difference to the base model's picture; 0 where nothing has changed.

    Headline is 1 − SSIM: a colour difference hardly sees blur or grain, for which SSIM falls; and as every
    colour channel counts, SSIM falls for drained colours, too. On erased roles pictures should change, by
    however much: there the numbers are stored, not tabled.
    """

    compares_with: ClassVar[ComparesWith] = "pairs"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric(
            "ssim_distance",
            "1 − SSIM to the base",
            "1 − SSIM",
            (0.0, 2.0),
            by_role(kept="lower"),
            kind="free",
        ),
        Metric(
            "colour_distance",
            "colour difference to the base",
            "ΔE (CIE76)",
            (0.0, 375.0),
            by_role(kept="lower"),
            headline=False,
            kind="free",
        ),
    )

    def protocol(self) -> Mapping[str, Any]:
        return {
            "ssim": "RGB, Gaussian window of 11 pixels, sigma 1.5",
            "colour": "root mean square of CIE76 in Lab (D65)",
            "scikit-image": version_of("scikit-image"),
        }

    def prepare(self) -> None: ...

    def score(self, images: ImageSet, base: ImageSet) -> Scores:
        names = [metric.name for metric in self.metrics]
        sheet = ScoreSheet()
        for picture, found in measure_pairs(images, base, 1, _distances):
            if isinstance(found, Failure):
                sheet.missing(picture, names, found.reason)
            else:
                sheet.add(picture, **found)
        return Scores(sheet.frame())


def ssim_distance(one: Pixels, other: Pixels) -> float:
    """1 − SSIM in [0, 2] of two RGB pictures [height, width, 3] of one size; 0 for equal ones."""
    from skimage.metrics import structural_similarity

    if np.array_equal(one, other):
        return 0.0
    similarity = structural_similarity(
        one,
        other,
        channel_axis=-1,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(min(2.0, max(0.0, 1.0 - similarity)))


def colour_distance(one: Pixels, other: Pixels) -> float:
    """Root mean square of the pixels' colour differences ΔE (CIE76) between two RGB pictures of one size."""
    from skimage.color import rgb2lab

    return float(np.sqrt(((rgb2lab(one) - rgb2lab(other)) ** 2).sum(axis=-1).mean()))


def _distances(pairs: Sequence[Pair]) -> list[dict[str, float] | Failure]:
    return [
        Failure(f"a side of {min(own.shape[:2])} pixels is shorter than the window of {SMALLEST}")
        if min(own.shape[:2]) < SMALLEST
        else {"ssim_distance": ssim_distance(own, base), "colour_distance": colour_distance(own, base)}
        for own, base in pairs
    ]


CARD = EvaluatorCard(
    name="distance",
    version="2",
    title="Distance to the base model's picture",
    paper="Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE "
    "Transactions on Image Processing 2004",
    formula="1 − SSIM(picture, the base model's picture of the same prompt and noise), over RGB; root mean "
    "square of ΔE in Lab",
    build=DistanceToBase,
    presets={"official": {}},
    notes="For what should stay as it was. Needs no weights. 0 for the base model itself. Another picture is "
    "far from the base's, however good it is: read it beside the classifier and CLIP.",
    requires=("skimage",),
)
