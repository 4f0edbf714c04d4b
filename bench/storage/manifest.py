"""An entry's manifest: which files it has with size and sha256, what the task said of itself, its own digest.

It is the entry's last file and the mark that it is done. Its digest covers all of it, the kind and the id
that the entry must lie under among the rest: a character changed anywhere is noticed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.identity.ids import plain_id
from erasure_bench.bench.storage.atomic import fsync_path
from erasure_bench.permissions import follow_umask

MANIFEST = "manifest.json"
_OWN_DIGEST = "sha256"


class Flaw(Exception):
    """Why an entry is not what was written, in a few words."""


class FileMark(NamedTuple):
    """What a file of an entry must be."""

    sha256: str
    bytes: int


class Manifest(NamedTuple):
    """An entry's files by name, and what the task said of itself."""

    files: Mapping[str, FileMark]
    about: Mapping[str, Any]


def seal(folder: Path, kind: str, task_id: str, about: Mapping[str, Any]) -> None:
    """Flushes every file of the folder and writes the manifest, the last file of all."""
    follow_umask(folder)
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        fsync_path(path)
        files[path.relative_to(folder).as_posix()] = {
            "sha256": file_sha256(path),
            "bytes": path.stat().st_size,
        }
    # As it will be read back: JSON knows neither tuples nor keys that are no text.
    content = json.loads(json.dumps({"kind": kind, "id": task_id, "files": files, "about": dict(about)}))
    path = folder / MANIFEST
    sealed = content | {_OWN_DIGEST: plain_id(content)}
    path.write_text(json.dumps(sealed, indent=1, sort_keys=True), encoding="utf-8")
    fsync_path(path)
    fsync_path(folder)


def read_manifest(folder: Path, kind: str, task_id: str) -> Manifest:
    """Raises Flaw where there is none, where it is damaged, or where it is another entry's."""
    try:
        with open(f"{folder}/{MANIFEST}", "rb", buffering=0) as file:  # a Path for each of them costs more
            data = file.read()
    except OSError as error:
        raise Flaw(f"{MANIFEST}: {error.strerror}") from error
    try:
        content = json.loads(data)
        own = content.pop(_OWN_DIGEST, None)
        whole = own == plain_id(content)
        place = content["kind"], content["id"]
        files = {name: FileMark(**mark) for name, mark in content["files"].items()}
        about = content["about"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Flaw(f"{MANIFEST} is damaged") from error
    if not whole:
        raise Flaw(f"{MANIFEST} is damaged" if own else f"{MANIFEST} has no digest of its own")
    if place != (kind, task_id):
        raise Flaw(f"{MANIFEST} is that of another entry")
    return Manifest(files, about)


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Raises Flaw where a file is not there with its full size; reads none of them."""
    place = str(folder)
    for name, mark in manifest.files.items():
        try:
            size = os.stat(f"{place}/{name}").st_size
        except OSError as error:
            raise Flaw(f"{name}: {error.strerror}") from error
        if size != mark.bytes:
            raise Flaw(f"{name} is damaged ({size} of {mark.bytes} bytes)")


def check_file(folder: Path, name: str, mark: FileMark) -> None:
    """Raises Flaw where the file's bytes are not those that were written."""
    try:
        found = file_sha256(folder / name)
    except OSError as error:
        raise Flaw(f"{name}: {error.strerror}") from error
    if found != mark.sha256:
        raise Flaw(f"{name} is damaged (sha256 differs)")


def check_entry(folder: Path, kind: str, task_id: str) -> None:
    """Reads the whole entry; raises Flaw where anything of it is not what was written."""
    manifest = read_manifest(folder, kind, task_id)
    check_sizes(folder, manifest)
    for name, mark in manifest.files.items():
        check_file(folder, name, mark)


def file_sha256(path: Path) -> str:
    """64 hex digits; raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
