"""The digest that identifies a base model: SHA-256 over what it is loaded from."""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from platformdirs import user_cache_path

from erasure_bench.models.pipeline_files import files_read

REMEMBERED_FROM_BYTES = 1 << 20
SETTLED_SECONDS = 2.0
"""A file changed less than this ago is not remembered: another write could leave its times as they are."""


def weights_digest(directory: Path) -> str:
    """Lower-case hex SHA-256 over the sorted (relative path, file SHA-256) of a pipeline's files.

    Covers the configs, the tokenizer and the weight files that are loaded, so that unused variants
    do not matter. Large files are hashed once and remembered, as `file_digest` says. Raises
    BenchError when the directory is incomplete.
    """
    return files_digest(directory, files_read(directory))


def files_digest(directory: Path, files: Iterable[Path], *, afresh: bool = False) -> str:
    """Lower-case hex SHA-256 over the (relative path, file SHA-256) of a folder's files, in order."""
    whole = hashlib.sha256()
    for path in files:
        digest = file_digest(path, afresh=afresh)
        whole.update(os.fsencode(f"{path.relative_to(directory).as_posix()}\0{digest}\n"))
    return whole.hexdigest()


def file_digest(path: Path, *, afresh: bool = False) -> str:
    """SHA-256 of a file; when it is large and has settled, remembered in the user's cache.

    The memory goes by path, size, both times, inode and device: a modification time can be set to
    what it was, the time of the inode's last change cannot. `afresh` reads the file all the same.
    """
    path = path.resolve()
    status = path.stat()
    changed = max(status.st_mtime, status.st_ctime)
    if afresh or status.st_size < REMEMBERED_FROM_BYTES or time.time() - changed < SETTLED_SECONDS:
        return _hash(path)
    key = {
        "path": str(path),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
        "device": status.st_dev,
    }
    note = digest_cache() / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"
    try:
        remembered = json.loads(note.read_text())
        if {name: remembered[name] for name in key} == key:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = _hash(path)
    _remember(note, {**key, "sha256": digest})
    return digest


def digest_cache() -> Path:
    """The folder that remembers digests, one small file for each hashed file."""
    return user_cache_path("erasure-bench") / "digests"


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remember(note: Path, entry: dict[str, object]) -> None:
    # A cache that cannot be written (read-only home) costs time, never the run.
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        temporary = note.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(entry))
        temporary.replace(note)
    except OSError:
        pass
