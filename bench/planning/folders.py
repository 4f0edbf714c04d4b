"""A user's folder of pictures, or a data set's pictures, as a reference that sets are compared with."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.planning.tasks import FolderPictures
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.picture_files import SUFFIXES, picture_files
from erasure_bench.evaluators.sets import BASE, DATA, OTHER_SEEDS, ROW
from erasure_bench.models.datasets.base import Labelled
from erasure_bench.models.datasets.registry import dataset_card, load_dataset
from erasure_bench.prompt_suites.fetch import user_cache
from erasure_bench.user_paths import user_path

FILES_PER_TASK = 64


def folder_pictures(folder: str, flag: str) -> tuple[FolderPictures, ...]:
    """The pictures in the folder, at any depth, by name, in parts that are embedded one at a time.

    Reads all of them for their digests. Raises BenchError, with the `flag` that named the folder, where it
    is none or has no pictures.
    """
    path = user_path(folder)
    if not path.is_dir():
        raise BenchError(
            f"{flag}={folder}: no such folder; valid: {BASE}, {OTHER_SEEDS}, {ROW}NAME of a row, {DATA}NAME "
            "of a data set, a folder of pictures"
        )
    files = picture_files(path)
    if not files:
        raise BenchError(f"{flag}={folder}: no pictures there ({', '.join(sorted(SUFFIXES))})")
    return _parts(files)


class DataPictures(NamedTuple):
    """A data set's training pictures in parts, each of one class, and that class's name for each part."""

    parts: tuple[FolderPictures, ...]
    labels: tuple[str, ...]


def data_pictures(name: str, data_dir: Path | None) -> DataPictures:
    """The pictures as files in the user's cache, where they are put once.

    Raises BenchError for an unknown data set, and for one that is not here or cannot be put there.
    """
    found: dict[FolderPictures, str] = {}
    data = load_dataset(name, data_dir)
    folder = user_cache() / "datasets" / name / data.digest()[:16]
    classes = dataset_card(name).classes
    if not folder.is_dir():
        _write(data.train, len(classes), folder)
    for place, label in enumerate(classes):
        found |= dict.fromkeys(_parts(picture_files(folder / str(place))), label)
    return DataPictures(tuple(found), tuple(found.values()))


def _parts(files: list[Path]) -> tuple[FolderPictures, ...]:
    parts = (files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK))
    return tuple(FolderPictures(files=tuple(part), digests=tuple(map(sha256_of, part))) for part in parts)


def _write(pictures: Labelled, classes: int, folder: Path) -> None:
    """PNG files in a folder for each class's number; the whole appears at once."""
    from PIL import Image

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            whole = Path(made) / "whole"
            for place in range(classes):
                (whole / str(place)).mkdir(parents=True)
            for number, (pixels, label) in enumerate(zip(pictures.rgb(), pictures.labels, strict=True)):
                Image.fromarray(pixels).save(whole / str(label) / f"{number:06}.png")
            os.replace(whole, folder)
    except OSError as error:
        if not folder.is_dir():  # another process may have been faster
            shutil.rmtree(folder, ignore_errors=True)
            raise BenchError(
                f"cannot put the pictures of a data set at {folder}: {error}; set XDG_CACHE_HOME to a "
                "folder that can be written"
            ) from error
