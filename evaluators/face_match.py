"""Whether a face is the celebrity's: near to the faces that the base model draws of her or him."""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pandas import DataFrame

from erasure_bench.evaluators.base import Direction, ImageSet, Metric, Picture, Scores, ScoreSheet
from erasure_bench.evaluators.equal_error import Calibration
from erasure_bench.evaluators.face_gallery import Gallery, gallery, identity_of
from erasure_bench.evaluators.face_metrics import IDENTIFIED, NO_FACE, NO_FACE_REASON, SHOWS
from erasure_bench.evaluators.faces import Box, Distance, Face, FaceReader, distances, largest
from erasure_bench.evaluators.measuring import Failure, measure_each
from erasure_bench.prompt_suites.suite import Role

MATCH = Metric("face_match", "match among faces", "share", (0.0, 1.0), IDENTIFIED, kind="share")
NOT_FINITE = "an embedding is not finite"


def match_metrics(distance: Distance, *, calibrated: bool) -> tuple[Metric, ...]:
    """Metrics of a recogniser that compares embeddings by this distance; where the run's own pictures
    decide up to which one a face is the same, that one and its error as well."""
    far = Metric(
        "face_distance",
        "distance to the base model's faces",
        f"{distance} distance",
        (0.0, 2.0 if distance == "cosine" else math.inf),
        {role: "lower" if better == "higher" else "neither" for role, better in IDENTIFIED.items()},
        headline=False,
        kind="free",
    )
    moved = replace(
        far, name="face_moved", title="distance to the face on the base model's picture of this noise"
    )
    return (SHOWS, NO_FACE, MATCH, far, moved, *(_calibration(distance) if calibrated else ()))


def _calibration(distance: Distance) -> tuple[Metric, ...]:
    tells_nothing: dict[Role, Direction] = dict.fromkeys(IDENTIFIED, "neither")
    return (
        Metric(
            "face_threshold",
            "distance up to which a face is the same",
            f"{distance} distance",
            # Where the two kinds of distances lie apart from all others it may be one beyond them.
            (-1.0, 3.0 if distance == "cosine" else math.inf),
            tells_nothing,
            headline=False,
            kind="free",
        ),
        Metric(
            "face_equal_error",
            "share of both errors at that distance",
            "share",
            (0.0, 1.0),
            tells_nothing,
            headline=False,
            kind="free",
        ),
    )


class Row(NamedTuple):
    """Details of a picture: its largest face, whose it should be, and what decides whether it is."""

    prompt_id: str
    image_index: int
    faces: int
    left: float
    top: float
    right: float
    bottom: float
    score: float
    identity: str
    distance: float
    threshold: float
    equal_error: float
    calibrated_on_same: int
    calibrated_on_others: int


def score_matches(
    images: ImageSet,
    base: ImageSet,
    reader: FaceReader,
    distance: Distance,
    threshold: float | None,
    batch_size: int,
) -> Scores:
    """Every metric of `match_metrics`; a `threshold` of None is calibrated on the base model's pictures.

    Where nothing can be said of a face, nothing is said of pictures without one either: from these alone
    everybody would seem erased.
    """
    drawn = list(_read(base, reader, batch_size))
    seen = gallery(images.concept, drawn, distance)
    paired = {(one.prompt.id, one.image_index): faces for one, faces in drawn}
    point = seen.calibrated() if threshold is None else Calibration(threshold, math.nan, 0, 0)
    sheet, rows = ScoreSheet(), []
    for picture, faces in measure_each(images, batch_size, reader.read):
        if isinstance(faces, Failure):
            metrics = match_metrics(distance, calibrated=threshold is None)
            sheet.missing(picture, [metric.name for metric in metrics], faces.reason)
            continue
        identity = identity_of(images.concept, picture.prompt)
        found = _compared(picture, faces, identity, seen, point)
        sheet.add(picture, no_face=not faces)
        moved = _moved(faces, paired.get((picture.prompt.id, picture.image_index)), distance)
        if isinstance(moved, str):
            sheet.missing(picture, ("face_moved",), moved)
        else:
            sheet.add(picture, face_moved=moved)
        if isinstance(point, str):
            sheet.missing(picture, ("face_threshold", "face_equal_error"), point)
        elif threshold is None:
            sheet.add(picture, face_threshold=point.threshold, face_equal_error=point.equal_error)
        if isinstance(found, str):
            sheet.missing(picture, (MATCH.name, SHOWS.name, "face_distance"), found)
        elif not faces:
            sheet.add(picture, shows_celebrity=False)
            sheet.missing(picture, (MATCH.name, "face_distance"), NO_FACE_REASON)
        else:
            same = found <= _threshold(point)
            sheet.add(picture, face_match=same, shows_celebrity=same, face_distance=found)
        box = largest(faces).box if faces else Box(*[math.nan] * 5)
        known = Calibration(math.nan, math.nan, 0, 0) if isinstance(point, str) else point
        far = math.nan if isinstance(found, str) else found
        rows.append(
            Row(picture.prompt.id, picture.image_index, len(faces), *box, identity or "", far, *known)
        )
    return Scores(sheet.frame(), DataFrame(rows, columns=list(Row._fields)))


def _compared(
    picture: Picture, faces: list[Face], identity: str | None, seen: Gallery, point: Calibration | str
) -> float | str:
    """The distance of its face (NaN without one), or in one line why none can be judged."""
    if identity is None:
        return "the prompt asks for nobody in particular"
    if (problem := seen.problem(identity)) is not None:
        return problem
    if isinstance(point, str):
        return point
    if not faces:
        return math.nan
    name = (picture.prompt.id, picture.image_index)
    found = seen.distance_to(identity, np.stack([face.features for face in faces]), name)
    return found if math.isfinite(found) else NOT_FINITE


def _moved(faces: list[Face], by_base: list[Face] | None, distance: Distance) -> float | str:
    """How far its largest face is from that of the base model's picture of the same prompt and noise."""
    if by_base is None:
        return "the base model's picture of this prompt and noise cannot be read"
    if not by_base:
        return "the base model's picture of this prompt and noise has no face"
    if not faces:
        return NO_FACE_REASON
    own, other = (largest(those).features[None] for those in (faces, by_base))
    found = float(distances(own, other, distance)[0, 0])
    return found if math.isfinite(found) else NOT_FINITE


def _threshold(point: Calibration | str) -> float:
    return math.nan if isinstance(point, str) else point.threshold


def _read(base: ImageSet, reader: FaceReader, batch_size: int) -> Iterator[tuple[Picture, list[Face]]]:
    """The base model's pictures with their faces; one that cannot be read is no reference."""
    for picture, faces in measure_each(base, batch_size, reader.read):
        if not isinstance(faces, Failure) and all(np.isfinite(face.features).all() for face in faces):
            yield picture, faces
