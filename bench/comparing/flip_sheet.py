"""Flipped pictures side by side on one sheet: the older run's on the left, the newer one's on the right."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from erasure_bench.bench.comparing.flips import Flip
from erasure_bench.bench.reporting.sheet import save_png
from erasure_bench.bench.words.showing import look_alike, one_line
from erasure_bench.errors import BenchError

SIDE, GAP, LINE = 128, 6, 14
MOST = 60
"""Pairs on a sheet: more are no longer looked at."""


def write_flip_sheet(flips: Sequence[Flip], path: Path) -> int:
    """Writes a PNG of the first `MOST` flips whose pictures are both there, and says how many these are.

    Raises BenchError where there is none.
    """
    found = [flip for flip in flips if all(flip.pictures)][:MOST]
    if not found:
        raise BenchError(
            f"--sheet {path}: no flip whose pictures are both in the runs' stores"
            if flips
            else f"--sheet {path}: no picture turned round"
        )
    columns = min(len(found), 3)
    width = columns * (2 * SIDE + GAP * 3)
    height = -(-len(found) // columns) * (SIDE + 2 * LINE + GAP)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for place, flip in enumerate(found):
        left = place % columns * (2 * SIDE + GAP * 3) + GAP
        top = place // columns * (SIDE + 2 * LINE + GAP)
        for side, file in enumerate(flip.pictures):
            assert file is not None
            with Image.open(file) as picture:
                sheet.paste(picture.convert("RGB").resize((SIDE, SIDE)), (left + side * (SIDE + GAP), top))
        for line, text in enumerate(
            (f"{flip.prompt_id} #{flip.image_index}", f"{flip.metric}: {flip.became}")
        ):
            draw.text((left, top + SIDE + line * LINE), _plain(text)[:44], fill="black")
    save_png(sheet, path)
    return len(found)


def _plain(text: str) -> str:
    return "".join(c if c.isascii() else look_alike(c) for c in one_line(text))
