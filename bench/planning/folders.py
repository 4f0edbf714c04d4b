"""A user's folder of pictures, as a reference that sets are compared with."""

from erasure_bench.bench.planning.tasks import FolderPictures
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.picture_files import SUFFIXES, picture_files
from erasure_bench.evaluators.sets import BASE, OTHER_SEEDS
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
            f"{flag}={folder}: no such folder; valid: {BASE}, {OTHER_SEEDS}, a folder of pictures"
        )
    files = picture_files(path)
    if not files:
        raise BenchError(f"{flag}={folder}: no pictures there ({', '.join(sorted(SUFFIXES))})")
    parts = (files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK))
    return tuple(FolderPictures(files=tuple(part), digests=tuple(map(sha256_of, part))) for part in parts)
