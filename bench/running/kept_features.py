"""Features of pictures in the store: one file of vectors, and why some pictures have none."""

import io
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from erasure_bench.bench.planning.tasks import FeatureTask, GenerateTask
from erasure_bench.bench.running.pictures import read_file, read_pictures
from erasure_bench.bench.running.versions import package_versions
from erasure_bench.bench.storage.store import Draft, Entry, Store, apart
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.sets import Vectors, features_of

FEATURES_FILE = "features.npy"


class KeptFeatures(NamedTuple):
    """Vectors [n, d] in the pictures' order, NaN where there are none; reasons [n], "" where there are."""

    values: Vectors
    reasons: tuple[str, ...]


def take_features(store: Store, task: FeatureTask, evaluator: Any) -> None:
    """Computes the features of the task's pictures, read back from the store or from the user's files."""
    pictures = task.pictures
    if isinstance(pictures, GenerateTask):
        pixels = [drawn.pixels for drawn in read_pictures(store.entry("generate", pictures.id), pictures)]
    else:
        pixels = [read_file(*each) for each in zip(pictures.files, pictures.digests, strict=True)]
    with store.writing(task.kind, task.id) as draft:
        started = time.perf_counter()
        with apart():
            found = features_of(evaluator, pixels)
        _write(draft, found)
        draft.about |= {
            "pictures": pictures.id,
            "of_files": not isinstance(pictures, GenerateTask),
            "extractor": dict(task.protocol),
            "features_seconds": time.perf_counter() - started,
            "versions": package_versions(),
        }


def _write(draft: Draft, found: Sequence[Vectors | Failure]) -> None:
    """`found` is what `evaluators.sets.features_of` gave; d is 1 where no picture has any."""
    length = next((len(row) for row in found if not isinstance(row, Failure)), 1)
    values = np.full((len(found), length), np.nan, dtype=np.float32)
    for place, row in enumerate(found):
        if not isinstance(row, Failure):
            values[place] = row
    data = io.BytesIO()  # numpy itself says of a full disk only how many numbers it could not write
    np.save(data, values, allow_pickle=False)
    (draft.folder / FEATURES_FILE).write_bytes(data.getbuffer())
    draft.about["reasons"] = [row.reason if isinstance(row, Failure) else "" for row in found]


def read_features(entry: Entry, count: int) -> KeptFeatures:
    """Raises DamagedEntry where these are no features of so many pictures."""
    data = entry.read(FEATURES_FILE)
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError) as error:
        raise entry.damaged(f"{FEATURES_FILE}: {error}") from error
    reasons = tuple(map(str, entry.about.get("reasons", ())))
    try:
        return checked_features(values, reasons, count)
    except ValueError as error:
        raise entry.damaged(f"{FEATURES_FILE}: {error}") from error


def checked_features(values: np.ndarray, reasons: Sequence[str], count: int) -> KeptFeatures:
    """Raises ValueError unless each of `count` pictures has finite features or a reason why not."""
    if values.ndim != 2 or values.dtype != np.float32 or len(values) != count or len(reasons) != count:
        raise ValueError(f"{values.dtype} of shape {list(values.shape)} are no features of {count} pictures")
    for row, reason in zip(values, reasons, strict=True):
        if not (np.isnan(row).all() if reason else np.isfinite(row).all()):
            raise ValueError("a picture has neither finite features nor a reason, or both")
    return KeptFeatures(values, tuple(reasons))
