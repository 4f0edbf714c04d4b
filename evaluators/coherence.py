"""Whether a picture still looks like what the base model draws, whatever it shows.

No reference picture is needed, and no weights: statistics of natural scenes, colour and layout
(`picture_statistics`) are held against those of the base model's own pictures (`reference_range`), as NIQE
does with a corpus of photographs. So one definition serves drawings and photographs.
"""

import hashlib
from collections import OrderedDict
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
from erasure_bench.evaluators.measuring import Failure, measure_each, unusable
from erasure_bench.evaluators.packages import version_of
from erasure_bench.evaluators.picture_statistics import SMALLEST, Statistics, picture_statistics
from erasure_bench.evaluators.reference_range import FENCE, FEWEST, NEAREST, SHRINKAGE, ReferenceRange, TooFew

LEAST = 0.4
"""A picture that lies further out than 1 / 0.4 times the usual distance is hardly one."""
REMEMBERED = 4096
"""Statistics of so many pictures are kept: every set is held against the same ones of the base model."""


@dataclass(frozen=True, kw_only=True)
class Coherence:
    """1 inside of the range of the base model's pictures of the concept, falling with the distance from it.

    `coherence` is min(1, m / d), d being the mean distance to the nearest three of the base model's pictures,
    without the one of the same prompt and noise, and m the median of the base model's own d. `out_of_range`
    is 1 where d lies beyond Tukey's outer fence of these: paler, flatter or brighter than what the base model
    draws. `incoherent` is 1 where `coherence` is also below `LEAST`, as of noise, flat colour, blurs and
    blots; that tells of a collapse. A good picture of something else is coherent: what it shows is for the
    classifier and CLIP. It is blind to what is copied (`diversity` is not).
    """

    compares_with: ClassVar[ComparesWith] = "concept"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("coherence", "coherence", "share", (0.0, 1.0), by_role("higher", "higher")),
        Metric(
            "out_of_range",
            "outside of the base's range",
            "share",
            (0.0, 1.0),
            by_role("lower", "lower"),
            headline=False,
            kind="share",
        ),
        Metric(
            "incoherent",
            "incoherent",
            "share",
            (0.0, 1.0),
            by_role("lower", "lower"),
            headline=False,
            kind="share",
            tells_collapse=True,
        ),
    )

    def protocol(self) -> Mapping[str, Any]:
        return {
            "reference": "the base model's pictures of the concept, same seed",
            "nearest": NEAREST,
            "shrinkage": SHRINKAGE,
            "fence": FENCE,
            "least": LEAST,
            "opencv": version_of("opencv-python-headless"),
        }

    def prepare(self) -> None: ...

    def score(self, images: ImageSet, base: ImageSet) -> Scores:
        names = [metric.name for metric in self.metrics]
        usable = [picture for picture in base.pictures if _problem(picture.pixels) is None]
        places = {(picture.prompt.id, picture.image_index): place for place, picture in enumerate(usable)}
        sheet = ScoreSheet()
        try:
            reference = _reference([statistics_of(picture.pixels) for picture in usable])
        except TooFew as few:
            reference = None
            why = f"of the concept the base model has {few}"
        for picture, found in measure_each(images, 1, _measured):
            if isinstance(found, Failure):
                sheet.missing(picture, names, found.reason)
            elif reference is None:
                sheet.missing(picture, names, why)
            else:
                own = places.get((picture.prompt.id, picture.image_index))
                distance = reference.distance(found, without=own)
                coherence, outside = min(1.0, reference.usual / distance), distance > reference.fence
                sheet.add(
                    picture,
                    coherence=coherence,
                    out_of_range=outside,
                    incoherent=outside and coherence < LEAST,
                )
        return Scores(sheet.frame())


def statistics_of(pixels: Pixels) -> Statistics:
    """`picture_statistics`, remembered by the picture's digest."""
    key = f"{pixels.shape} {hashlib.blake2b(pixels.tobytes()).hexdigest()}"
    if key in _statistics:
        _statistics.move_to_end(key)
    else:
        _statistics[key] = picture_statistics(pixels)
        if len(_statistics) > REMEMBERED:
            _statistics.popitem(last=False)
    return _statistics[key]


_statistics: OrderedDict[str, Statistics] = OrderedDict()
_references: OrderedDict[bytes, ReferenceRange] = OrderedDict()


def _reference(statistics: Sequence[Statistics]) -> ReferenceRange:
    """The range of these, the last two of which are remembered."""
    rows = np.array(statistics)
    key = hashlib.blake2b(rows.tobytes()).digest()
    if key not in _references:
        _references[key] = ReferenceRange.of(rows)
        if len(_references) > 2:
            _references.popitem(last=False)
    return _references[key]


def _measured(pixels: Sequence[Pixels]) -> list[Statistics]:
    for picture in pixels:
        if (problem := _problem(picture)) is not None:
            raise ValueError(problem)
    return [statistics_of(picture) for picture in pixels]


def _problem(pixels: Pixels) -> str | None:
    if (problem := unusable(pixels)) is not None:
        return problem
    side = min(pixels.shape[:2])
    return f"a side of {side} pixels is shorter than {SMALLEST}" if side < SMALLEST else None


CARD = EvaluatorCard(
    name="coherence",
    version="2",
    title="Coherence: does it look like a picture of this model?",
    paper="Mittal et al., Making a “Completely Blind” Image Quality Analyzer, IEEE Signal Processing Letters "
    "2013",
    formula="min(1, m / d): d = mean distance of the whitened picture statistics to the nearest 3 of the "
    "base model's pictures, m = its own median; out of range: d beyond Q3 + 3 (Q3 − Q1) of its own; "
    f"incoherent: out of range and coherence below {LEAST}",
    build=Coherence,
    presets={"official": {}},
    notes="Falls for noise, blur, flat colour, saturation, stripes, half pictures. Needs no weights, but at "
    f"least {FEWEST} pictures of the concept by the base model.",
    requires=("cv2",),
)
