"""The pictures' files of a report: copies of the store's, each once, with a small one of every large one."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from erasure_bench.bench.site.reading import ReportedRun
from erasure_bench.bench.site.stored import StoredEntry

SMALL = 256
"""The longest side, in pixels, of what the grid shows; larger pictures are also there in this size."""
_NAME = re.compile(r"^\d{1,9}\.png$")
CellRole = tuple[str, str, int, str]
"""Method, concept, seed, role."""


class Placed(NamedTuple):
    """A picture in the report: the number of its folder, and of its file in it; 1 where it is there small."""

    folder: int
    file: int
    small: int


class _Stored(NamedTuple):
    entry: StoredEntry
    name: str


class PictureFiles:
    """Finds pictures in the run's store and copies them into `folder`; `step` is called after each copy."""

    def __init__(self, run: ReportedRun, folder: Path, step: Callable[[], None] = lambda: None) -> None:
        self._run = run
        self._store = None if run.record["store"] is None else Path(run.record["store"])
        self._folder, self._step = folder, step
        self._cells = {
            (cell["method"], cell["concept"], cell["seed"]): cell.get("images", {})
            for cell in run.record["cells"]
        }
        self._places = run.scores.groupby(["method", "concept", "seed", "role"], sort=False).indices
        self._known: dict[CellRole, dict[tuple[str, int], _Stored]] = {}
        self._entries: dict[str, StoredEntry | None] = {}
        self._numbers: dict[str, int] = {}
        self._placed: dict[tuple[str, str], Placed | None] = {}
        self.folders: list[str] = []
        self.size: tuple[int, int] | None = None
        """Width and height of the first picture, in pixels."""

    def add(self, cell: CellRole, prompt_id: str, image_index: int) -> Placed | None:
        """Copies the picture where it is not there yet; None where the store has it no more, or damaged.

        Raises OSError where it cannot be written.
        """
        if cell not in self._known:
            self._known[cell] = self._of_cell(cell)
        stored = self._known[cell].get((prompt_id, image_index))
        if stored is None:
            return None
        key = stored.entry.id, stored.name
        if key not in self._placed:
            self._placed[key] = self._copied(stored)
            self._step()
        return self._placed[key]

    def _copied(self, stored: _Stored) -> Placed | None:
        data = stored.entry.read(stored.name) if _NAME.match(stored.name) else None
        if data is None:
            return None
        try:
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                self.size = self.size or picture.size
                small = _small(picture)
        except (OSError, ValueError, Image.DecompressionBombError):
            return None
        if stored.entry.id not in self._numbers:
            self._numbers[stored.entry.id] = len(self.folders)
            self.folders.append(f"{len(self.folders):05d}")
        place = self._numbers[stored.entry.id]
        target = self._folder / self.folders[place]
        target.mkdir(parents=True, exist_ok=True)
        number = int(stored.name.removesuffix(".png"))
        (target / f"{number}.png").write_bytes(data)
        if small is not None:
            (target / f"{number}.webp").write_bytes(small)
        return Placed(place, number, int(small is not None))

    def _of_cell(self, cell: CellRole) -> dict[tuple[str, int], _Stored]:
        """A role's pictures by prompt and number.

        An entry names its pictures as the run did that drew it; another run may call the same prompts
        otherwise, and then their order tells which is which.
        """
        if self._store is None:
            return {}
        method, concept, seed, role = cell
        found: list[tuple[tuple[str, int], _Stored]] = []
        for name in self._cells.get((method, concept, seed), {}).get(role, []):
            if name not in self._entries:
                self._entries[name] = StoredEntry.find(self._store, name, "generate")
            if (entry := self._entries[name]) is not None:
                found += [
                    ((str(image["prompt_id"]), int(image["image_index"])), _Stored(entry, str(image["file"])))
                    for image in entry.about.get("images", ())
                ] or [(("", -1), _Stored(entry, file)) for file in sorted(entry.files)]
        names = self._names(cell)
        if all(name in names for name, _ in found):
            return dict(found)
        if len(found) == len(names):
            return dict(zip(names, (stored for _, stored in found), strict=True))
        return {}

    def _names(self, cell: CellRole) -> dict[tuple[str, int], None]:
        """The pictures that the cell's scores name, in the order in which they were drawn."""
        own = self._run.scores.iloc[self._places.get(cell, [])]
        return dict.fromkeys(zip(own["prompt_id"], own["image_index"], strict=True))


def _small(picture: Image.Image) -> bytes | None:
    """None for a picture that is small itself."""
    if max(picture.size) <= SMALL:
        return None
    reduced = picture.convert("RGB")
    reduced.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    reduced.save(buffer, format="WEBP", quality=80, method=2)
    return buffer.getvalue()
