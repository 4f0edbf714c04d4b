"""Finding and opening the files of a published data set in the user's folder."""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.stand_ins import stand_in


def find_files(
    data_dir: Path | None, folders: Sequence[str], names: Sequence[str]
) -> tuple[Path, ...] | None:
    """All of `names`, plain or gzipped, in the first of the `folders` that has any; None where none has.

    Raises BenchError where `data_dir` is no folder or one of the files lacks.
    """
    if data_dir is None:
        return None
    if not data_dir.is_dir():
        raise BenchError(f"data folder {data_dir}: no such folder (--data-dir, BENCH_DATA)")
    for folder in folders:
        found = [_plain_or_gzipped(data_dir / folder / name) for name in names]
        if any(found):
            if missing := [name for name, path in zip(names, found, strict=True) if path is None]:
                raise BenchError(f"{data_dir / folder}: lacks {', '.join(missing)}; get the data set again")
            return tuple(path for path in found if path)
    return None


def not_here(
    name: str, data_dir: Path | None, folders: Sequence[str], names: Sequence[str], other: str
) -> NotHere:
    """What to say where a data set is in no place; `other` is one more way to get it, or empty."""
    places = [str(data_dir / folder) for folder in folders] if data_dir else ["no data folder"]
    ways = [
        "--data-dir FOLDER or BENCH_DATA=FOLDER with the files",
        f"python -m erasure_bench.models.datasets.download {name} FOLDER",
        *([other] if other else []),
    ]
    return NotHere(
        f"data set {name!r} is not here: looked for {', '.join(names)} (or .gz) in {', '.join(places)}; ways "
        f"to get it: {'; '.join(ways)}"
    )


def content(path: Path) -> bytes:
    """The file's bytes, unpacked where it ends in .gz. Raises BenchError where it cannot be read."""
    try:
        if found := stand_in(path):
            raise BenchError(f"{path}: {found}")
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise BenchError(f"{path}: cannot be read: {error}; get the data set again") from error


def origin(paths: Sequence[Path]) -> str:
    """What was read: the files' names with the first digits of their content's SHA-256."""
    return ", ".join(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" for path in paths)


def _plain_or_gzipped(path: Path) -> Path | None:
    return next((each for each in (path, path.with_name(f"{path.name}.gz")) if each.is_file()), None)
