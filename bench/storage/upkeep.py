"""Looking after a store: is all of it what was written, how large is it, and what may go."""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.storage.checkpoints import FOLDER as PROGRESS
from erasure_bench.bench.storage.checkpoints import remove_checkpoints, unfinished
from erasure_bench.bench.storage.claims import FOLDER as CLAIMS
from erasure_bench.bench.storage.claims import dead_claims
from erasure_bench.bench.storage.damage import silent
from erasure_bench.bench.storage.manifest import Flaw, check_entry, check_sizes, read_manifest
from erasure_bench.bench.storage.memory import is_whole
from erasure_bench.bench.storage.session import is_dead, remove_if_dead, sessions
from erasure_bench.bench.storage.store import DAMAGED, KINDS, TMP, EntryKind, Store
from erasure_bench.errors import BenchError

NOTES = ("settings", "paces", "batch-sizes", "compiling", "statistics")
"""Folders of remembered facts (`storage.memory`)."""
_TEMPORARY = re.compile(r"\..*\.[0-9a-f]{12}\.json")


class Place(NamedTuple):
    """Where an entry lies, whatever is in it."""

    kind: EntryKind
    id: str
    folder: Path


class Damage(NamedTuple):
    """An entry or remembered fact that is not what was written, and why."""

    kind: str
    id: str
    why: str


class Size(NamedTuple):
    """How many entries or files a part of the store has, and their bytes."""

    part: str
    entries: int
    bytes: int


class Kept(NamedTuple):
    """What runs need: ids of their edits and pictures, and the models that these learn from.

    A model is named by the digest of its weights, or by the edit that is in it.
    """

    edits: Collection[str]
    pictures: Collection[str]
    bases: Collection[str]


def places(root: Path) -> Iterator[Place]:
    """Every entry, by kind and id."""
    for kind in KINDS:
        for folder in sorted((root / kind).glob("*/*")):
            yield Place(kind, folder.name, folder)


def verify(
    root: Path, *, move: bool, each: Callable[[Place], None] = lambda place: None
) -> tuple[int, list[Damage]]:
    """Reads every entry whole; how many there are, and which are damaged.

    With `move` those are moved aside, so that the next run makes them anew; remembered facts are removed.
    """
    store = Store(root, silent)
    count, damaged = 0, []
    for place in places(root):
        each(place)
        count += 1
        try:
            if place.folder != store.folder(place.kind, place.id):
                raise Flaw("it lies in another entry's place")
            check_entry(place.folder, place.kind, place.id)
        except Flaw as flaw:
            if not place.folder.exists():  # another process moved it meanwhile
                continue
            damaged.append(Damage(place.kind, place.id, str(flaw)))
            if move:
                _put_away(root, place)
    for note in (note for kind in NOTES for note in sorted((root / kind).glob("[!.]*.json"))):
        count += 1
        if (why := _flaw_of(note)) is not None:
            damaged.append(Damage(note.parent.name, note.stem, why))
            if move:
                with suppress(OSError):
                    note.unlink()
    return count, damaged


def _flaw_of(note: Path) -> str | None:
    """Why the remembered fact is not what was written; None also where it has gone meanwhile."""
    try:
        return None if is_whole(note, note.read_bytes()) else "it is damaged"
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"it cannot be read: {error.strerror}"


def sizes(root: Path) -> list[Size]:
    """Each kind of entry, then whatever else lies in the store, unless it is empty."""
    counts: dict[EntryKind, int] = dict.fromkeys(KINDS, 0)
    for place in places(root):
        counts[place.kind] += 1
    found = [Size(kind, count, _bytes(root / kind)) for kind, count in counts.items()]
    others = sorted(path for path in root.glob("*") if path.name not in KINDS)
    return found + [Size(path.name, len(_children(path)), _bytes(path)) for path in others if _children(path)]


def prune(root: Path, kept: Kept | None, *, dry_run: bool) -> list[Size]:
    """Removes damaged entries and what dead processes left, and with `kept` all entries that it has not.

    Checkpoints of unfinished work are such entries: without `kept` a later run goes on from them. Scores and
    features are kept with their pictures, a folder's features in any case, what edits share with its base
    model. Returns what went, or would.
    Raises BenchError where a living process uses the store and `kept` says what may stay.
    """
    locks = sessions(root / TMP)
    dead = [lock for lock in locks if is_dead(lock)]
    living = [lock for lock in locks if lock not in dead]
    if kept is not None and living:
        pids = ", ".join(lock.name.partition("-")[0] for lock in living)
        raise BenchError(f"store {root} is in use (process {pids}): wait for the run before --keep")
    gone = [_of(TMP, [lock.with_suffix("") for lock in dead])]
    claims = dead_claims(root)
    gone.append(_of(CLAIMS, claims))
    put_away = _children(root / DAMAGED)
    gone.append(_of(DAMAGED, put_away))
    left: list[Path] = []
    for kind in () if living else NOTES:
        found = [path for path in _children(root / kind) if _TEMPORARY.fullmatch(path.name)]
        gone.append(_of(kind, found))
        left += found
    begun = [] if kept is None else [path for path in unfinished(root) if path.name not in kept.edits]
    gone.append(_of(PROGRESS, begun))
    entries: dict[EntryKind, list[Place]] = {kind: [] for kind in KINDS}
    for place in places(root):
        if not _stays(place, kept):
            entries[place.kind].append(place)
    gone += [_of(kind, [place.folder for place in of_kind]) for kind, of_kind in entries.items()]
    if not dry_run:
        for lock in dead:
            remove_if_dead(lock)
        for path in (*claims, *left):
            path.unlink(missing_ok=True)
        for folder in begun:
            remove_checkpoints(folder)
        for place in (place for of_kind in entries.values() for place in of_kind):
            _put_away(root, place)
        shutil.rmtree(root / DAMAGED, ignore_errors=True)
    return [size for size in gone if size.entries]


def _stays(place: Place, kept: Kept | None) -> bool:
    try:
        manifest = read_manifest(place.folder, place.kind, place.id)
        check_sizes(place.folder, manifest)
    except Flaw:
        return False
    if kept is None:
        return True
    about: Mapping[str, object] = manifest.about
    return {
        "erase": place.id in kept.edits,
        "generate": place.id in kept.pictures,
        "score": about.get("generate") in kept.pictures,
        "features": about.get("pictures") in kept.pictures or about.get("of_files") is True,
        "cache": about.get("base") in kept.bases,
    }[place.kind]


def _put_away(root: Path, place: Place) -> None:
    """Whole, so that nobody ever sees half of it where an entry lies."""
    (root / DAMAGED).mkdir(exist_ok=True)
    with suppress(FileNotFoundError):
        os.rename(place.folder, root / DAMAGED / f"{place.kind}-{place.id}-{secrets.token_hex(4)}")


def _of(part: str, paths: Collection[Path]) -> Size:
    return Size(part, len(paths), sum(map(_bytes, paths)))


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _bytes(path: Path) -> int:
    """Of all files below; those that go meanwhile count nothing."""
    total = 0
    for file in (path, *path.rglob("*")):
        try:
            total += file.lstat().st_size if not file.is_dir() else 0
        except OSError:
            continue
    return total
