"""Pictures on disk: PNG, lossless."""

import hashlib
from pathlib import Path

from PIL import Image

from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.bench.storage.store import Entry
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Picture, Pixels
from erasure_bench.evaluators.measuring import without_pixels
from erasure_bench.evaluators.picture_files import UnreadablePicture, decoded
from erasure_bench.evaluators.score_frames import PictureName


def picture_names(task: GenerateTask) -> list[PictureName]:
    """What rows of scores call a task's pictures."""
    return [PictureName(image.prompt.id, image.image_index) for image in task.images.images]


def write_png(path: Path, pixels: Pixels) -> None:
    """RGB pixels [height, width, 3], 0 to 255."""
    Image.fromarray(pixels, mode="RGB").save(path, format="PNG", compress_level=1)


def read_pictures(entry: Entry, task: GenerateTask) -> tuple[Picture, ...]:
    """The task's pictures in order; raises DamagedEntry where a file is damaged."""
    return tuple(
        Picture(image.prompt, image.image_index, read_png(entry, task.file_name(index)))
        for index, image in enumerate(task.images.images)
    )


def read_png(entry: Entry, name: str) -> Pixels:
    """RGB pixels [height, width, 3] of one of the entry's pictures; raises DamagedEntry where it is none."""
    try:
        return decoded(entry.read(name), name)
    except UnreadablePicture as error:
        raise entry.damaged(str(error)) from error


def read_file(path: Path, sha256: str) -> Pixels:
    """RGB pixels [height, width, 3] of a user's file, or what stands for a picture where it is none.

    Raises BenchError where the file is no longer the one with this digest.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BenchError(f"{path}: the file changed while the run was going on; run again")
    try:
        return decoded(data, path)
    except UnreadablePicture as error:
        return without_pixels(error.reason)
