"""Entries of a run's store, looked at: a report changes nothing there, and takes no file that was changed."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from erasure_bench.bench.storage.manifest import FileMark, Flaw, read_manifest

_NAME = re.compile(r"^([a-z]+)/([0-9a-f]{2})/(\2[0-9a-f]+)$")
"""How run.json names an entry: kind, the id's first two digits, the id."""


@dataclass(frozen=True)
class StoredEntry:
    """A finished entry: its folder, what its files must be, what its task said of itself."""

    folder: Path
    id: str
    files: Mapping[str, FileMark]
    about: Mapping[str, Any]

    @classmethod
    def find(cls, store: Path, name: str, kind: str) -> Self | None:
        """The entry that run.json calls `name`; None where the store has no whole one of that kind."""
        found = _NAME.match(name)
        if found is None or found[1] != kind:
            return None
        try:
            manifest = read_manifest(store / name, kind, found[3])
        except Flaw:
            return None
        return cls(store / name, found[3], manifest.files, manifest.about)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where it is not there or not what was written."""
        mark = self.files.get(name)
        if mark is None or Path(name).name != name:
            return None
        try:
            data = (self.folder / name).read_bytes()
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == mark.sha256 else None
