"""Pictures on disk: PNG, lossless."""

from pathlib import Path

from PIL import Image

from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.bench.storage.store import Entry
from erasure_bench.evaluators.base import Picture, Pixels
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
