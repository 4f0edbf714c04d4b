"""The form that raters fill in: pictures in shuffled order, and nothing that says which method drew them."""

import csv
import io
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.rated import Drawn, pictures_of
from erasure_bench.bench.reporting.rating_file import (
    FORM,
    METRIC,
    PICTURE,
    RATER,
    VALUE,
    checked_name,
    parse_metric,
)
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.showing import in_csv
from erasure_bench.errors import BenchError


class Form(NamedTuple):
    """A written form: its file, the folder of its pictures, how many of them; how many could not be had."""

    file: Path
    folder: Path
    pictures: int
    missing: int


def write_form(
    plan: Plan, store: Store, file: Path, name: str | None, metrics: Sequence[str], seed: int = 0
) -> Form:
    """Writes the form for `metrics` (as `parse_metric` takes them) and copies of the pictures beside it.

    A picture that cells share is there once; one of a role for which no metric is tabled is not there. The
    order and the names depend on the `seed` and the pictures alone. Raises BenchError where nothing is left.
    """
    declared = [parse_metric(word, "--metric") for word in metrics]
    if not declared:
        raise BenchError(f"--template {file}: what is to be rated? --metric {FORM}")
    if file.exists():
        raise BenchError(f"--template {file}: is there already, and may be filled in: name another file")
    called = checked_name(name or file.stem, "--name" if name else f"--template {file}")
    wanted = {
        drawn.id: drawn
        for drawn in pictures_of(plan)
        if any(drawn.role in metric.better for metric in declared)
    }
    there = {id_: drawn for id_, drawn in sorted(wanted.items()) if store.has("generate", drawn.task.id)}
    if not there:
        raise BenchError(f"--template {file}: no picture of the run is in the store {store.root}")
    order = list(there.values())
    random.Random(seed).shuffle(order)
    folder = file.with_name(f"{file.stem}-pictures")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for drawn in order:
            picture = store.entry("generate", drawn.task.id).read(drawn.task.file_name(drawn.number))
            _write(folder / f"{drawn.id}.png", picture)
    except OSError as error:
        raise BenchError(f"--template {file}: {folder}: {error.strerror or error}") from error
    text = io.StringIO()
    text.write(f"# name: {called}\n" + "".join(f"# metric: {word}\n" for word in metrics))
    table = csv.writer(text, lineterminator="\n")
    table.writerow((PICTURE, "image", "prompt", METRIC, RATER, VALUE))
    for drawn in order:
        for metric in declared:
            if drawn.role in metric.better:
                table.writerow(_row(drawn, folder.name, metric.name))
    write_text(file, text.getvalue())
    return Form(file, folder, len(order), len(wanted) - len(there))


def _row(drawn: Drawn, folder: str, metric: str) -> tuple[str, ...]:
    image = f"{folder}/{drawn.id}.png"
    return drawn.id, in_csv(image), in_csv(drawn.image.prompt.text), metric, "", ""


def _write(path: Path, data: bytes) -> None:
    """With the time of the epoch, which tells no order in which pictures were drawn."""
    path.write_bytes(data)
    os.utime(path, (0, 0))
