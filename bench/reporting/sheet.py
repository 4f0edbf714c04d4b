"""The contact sheet of a run: one row for each method, the same prompts and noise in every column."""

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.bench.running.pictures import read_png
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.showing import one_line
from erasure_bench.prompt_suites.suite import ERASED_ROLES, Role

TILE = 96
GAP = 4
HEADER = 34
MARGIN = 132
CONCEPTS = 4
EXAMPLES: dict[bool, int] = {True: 2, False: 1}
"""Pictures shown for a role whose pictures should lose the concept, and for one that should keep its own."""

_INK, _FAINT, _PAPER = (30, 30, 30), (150, 150, 150), (255, 255, 255)


class Place(NamedTuple):
    """A column: concept, role and the picture's place in the role's first generate task."""

    concept: str
    role: Role
    number: int


def contact_sheet(plan: Plan, store: Store) -> Image.Image | None:
    """At most four concepts side by side; None where nothing was drawn.

    Pictures of an unsafe concept are blurred: a results folder is opened without warning.
    """
    # Read backwards, so that the first seed's cell is the one that stays.
    first = {(cell.method.name, cell.case.name): cell for cell in reversed(plan.cells)}
    cases = plan.cases[:CONCEPTS]
    columns = [place for case in cases for place in _places(first[plan.methods[0].name, case.name])]
    if not columns:
        return None
    methods = [method.name for method in plan.methods]
    font = ImageFont.load_default(13)
    margin = max(MARGIN, *(ceil(font.getlength(one_line(method))) + 2 * GAP for method in methods))
    size = (margin + len(columns) * (TILE + GAP), HEADER + len(methods) * (TILE + GAP))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    _headers(draw, font, columns, margin)
    unsafe = {case.name for case in cases if any(concept.kind == "unsafe" for concept in case.erased)}
    drawn = 0
    for row, method in enumerate(methods):
        top = HEADER + row * (TILE + GAP)
        draw.text((GAP, top + TILE // 2 - 8), one_line(method), fill=_INK, font=font)
        for column, place in enumerate(columns):
            left = margin + column * (TILE + GAP)
            tile = _tile(store, first[method, place.concept], place)
            if tile is None:
                draw.rectangle((left, top, left + TILE, top + TILE), outline=_FAINT)
                draw.text((left + 28, top + TILE // 2 - 8), "none", fill=_FAINT, font=font)
                continue
            drawn += 1
            sheet.paste(
                tile.filter(ImageFilter.GaussianBlur(12)) if place.concept in unsafe else tile, (left, top)
            )
    return sheet if drawn else None


def save_png(image: Image.Image, path: Path) -> None:
    """Writes the sheet as PNG."""
    image.save(path, format="PNG")


def _places(cell: Cell) -> Iterator[Place]:
    for role, task in _first_tasks(cell).items():
        indices = [i for i, image in enumerate(task.images.images) if image.image_index == 0]
        yield from (Place(cell.case.name, role, index) for index in indices[: EXAMPLES[role in ERASED_ROLES]])


def _first_tasks(cell: Cell) -> dict[Role, GenerateTask]:
    first = {task.images.role: task for task in reversed(cell.generate)}
    return dict(reversed(first.items()))


def _headers(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    columns: list[Place],
    margin: int,
) -> None:
    for index, place in enumerate(columns):
        left = margin + index * (TILE + GAP)
        previous = columns[index - 1] if index else None
        if previous is None or previous.concept != place.concept:
            draw.text((left, 1), one_line(place.concept), fill=_INK, font=font)
        if previous is None or (previous.concept, previous.role) != (place.concept, place.role):
            draw.text((left, 16), place.role, fill=_FAINT, font=font)


def _tile(store: Store, cell: Cell, place: Place) -> Image.Image | None:
    task = _first_tasks(cell).get(place.role)
    if task is None or not store.has(task.kind, task.id):
        return None
    pixels = read_png(store.entry(task.kind, task.id), task.file_name(place.number))
    picture = Image.fromarray(pixels)
    scale = TILE / max(picture.size)
    return picture.resize(
        (round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC
    )
