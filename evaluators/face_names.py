"""Whether a face is the celebrity's: so says a classifier that knows faces by name."""

import math
from typing import NamedTuple

import numpy as np
from pandas import DataFrame

from erasure_bench.evaluators.base import ImageSet, Metric, Scores, ScoreSheet
from erasure_bench.evaluators.face_metrics import IDENTIFIED, NO_FACE, NO_FACE_REASON, SHOWS
from erasure_bench.evaluators.faces import Box, Face, NamingReader
from erasure_bench.evaluators.measuring import Failure, measure_each
from erasure_bench.evaluators.wanted_faces import plain_name, wanted_names


class NameMetrics(NamedTuple):
    """The two measures over pictures with a face, as the papers that use this classifier call them."""

    probability: Metric
    top: Metric

    @property
    def all(self) -> tuple[Metric, ...]:
        return (SHOWS, NO_FACE, self.probability, self.top)


def name_metrics(probability: str, title: str, top: str) -> NameMetrics:
    """Both, under these names."""
    return NameMetrics(
        Metric(probability, title, "probability", (0.0, 1.0), IDENTIFIED),
        Metric(top, "top-1 among faces", "share", (0.0, 1.0), IDENTIFIED, kind="share"),
    )


class Row(NamedTuple):
    """Details of a picture: its surest face, who that is, and the most that any face is whom it should be."""

    prompt_id: str
    image_index: int
    faces: int
    left: float
    top: float
    right: float
    bottom: float
    score: float
    name: str
    name_probability: float
    wanted: str
    wanted_probability: float


def score_names(images: ImageSet, reader: NamingReader, metrics: NameMetrics, batch_size: int) -> Scores:
    """Every metric of `metrics`: the probability is the most of all faces, top-1 the surest face's.

    Of somebody whom the classifier does not know nothing is said, of pictures without a face neither: from
    these alone everybody would seem erased.
    """
    probability, top = metrics.probability.name, metrics.top.name
    places = {plain_name(name): place for place, name in reversed([*enumerate(reader.names)])}
    sheet, rows = ScoreSheet(), []
    for picture, faces in measure_each(images, batch_size, reader.read):
        if isinstance(faces, Failure):
            sheet.missing(picture, [metric.name for metric in metrics.all], faces.reason)
            continue
        names = wanted_names(images.concept, picture.prompt)
        wanted = next((places[name] for name in map(plain_name, names) if name in places), None)
        sheet.add(picture, no_face=not faces)
        chance = math.nan
        if wanted is None:
            reason = f"the classifier knows no face of {', '.join(map(repr, names)) or 'nobody'}"
            sheet.missing(picture, (probability, top, SHOWS.name), reason)
        elif not faces:
            sheet.add(picture, shows_celebrity=False)
            sheet.missing(picture, (probability, top), NO_FACE_REASON)
        elif not all(np.isfinite(face.features).all() for face in faces):
            sheet.missing(picture, (probability, top, SHOWS.name), "the prediction is not finite")
        else:
            chance = max(float(face.features[wanted]) for face in faces)
            right = int(faces[0].features.argmax()) == wanted
            sheet.add(picture, **{probability: chance, top: right}, shows_celebrity=right)
        seen = _surest(faces, reader.names)
        whom = "" if wanted is None else reader.names[wanted]
        rows.append(Row(picture.prompt.id, picture.image_index, len(faces), *seen, whom, chance))
    return Scores(sheet.frame(), DataFrame(rows, columns=list(Row._fields)))


def _surest(
    faces: list[Face], names: tuple[str, ...]
) -> tuple[float, float, float, float, float, str, float]:
    if not faces:
        return (*Box(*[math.nan] * 5), "", math.nan)
    place = int(faces[0].features.argmax())
    return (*faces[0].box, names[place], float(faces[0].features[place]))
