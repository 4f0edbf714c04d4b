"""What both soak tests share: one small real run, when two runs are the same, a report of what happened."""

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import ALWAYS, LEADERBOARD, RUN, bound, opened
from erasure_bench.bench.running.versions import hardware, this_version
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.storage.manifest import file_sha256
from erasure_bench.bench.storage.upkeep import places

COSTS = ("erase_seconds", "seconds_per_image", "peak_memory_bytes")
"""Columns that are measured anew with whatever is done anew."""
METHODS = "negative-prompt,uce,sld-medium,esd-x,ca-model"
SHORT = ("esd-x.steps=2", "ca-model.steps=2")


def run_words(work: Path, name: str, methods: str = METHODS, options: Sequence[str] = SHORT) -> list[str]:
    """`bench run …` with the store and the results of this name: one concept, every kind of entry."""
    return [
        *("run", "--suite", "microworld-instances", "--concepts", "grumpy-cat", "--evaluators", "clip"),
        *("--methods", methods, *(word for option in options for word in ("--method-option", option))),
        *("--limit", "1", "--store", str(work / name / "store"), "--out", str(work / name / "out"), "--json"),
    ]


class Fingerprint(NamedTuple):
    """What two runs of the same must have in common to the bit."""

    rows: str
    scores: str
    pictures: Mapping[str, str]
    weights: Mapping[str, str]


def fingerprint(work: Path, name: str) -> Fingerprint:
    """Of a finished run, whose results are checked against their run.json; raises BenchError."""
    out, store = work / name / "out", work / name / "store"
    record = opened(out / RUN)
    for result in {*ALWAYS, *record["files"]}:
        bound(out, record, result)
    rows = json.loads((out / f"{LEADERBOARD}.json").read_text(encoding="utf-8"))["rows"]
    kept = [{key: value for key, value in row.items() if key not in COSTS} for row in rows]
    return Fingerprint(
        rows=hashlib.sha256(json.dumps(kept).encode()).hexdigest(),
        scores=file_sha256(out / SCORES),
        pictures=_digests(store, "generate/*/*/*.png"),
        weights=_digests(store, "erase/*/*/*.safetensors"),
    )


def finished(store: Path) -> dict[str, bytes]:
    """The manifest of every task that is done, by id: written anew, it would say other times."""
    return {
        place.id: (place.folder / "manifest.json").read_bytes()
        for place in places(store)
        if place.kind != "cache"
    }


def report(
    path: Path, title: str, command: str, facts: Iterable[str], table: Sequence[Sequence[Any]] = ()
) -> None:
    """A page of Markdown: the facts, then the table, whose first row holds its titles."""
    machine = hardware()
    lines = [
        f"# {title}",
        "",
        f"Made by `{command}` on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}: {this_version()}; "
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}.",
        "",
        *(f"- {fact}" for fact in facts),
    ]
    if table:
        titles, *rows = table
        lines += ["", _row(titles), _row(["---"] * len(titles)), *map(_row, rows)]
    write_text(path, "\n".join(lines) + "\n")


def _row(cells: Iterable[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _digests(store: Path, pattern: str) -> dict[str, str]:
    return {path.relative_to(store).as_posix(): file_sha256(path) for path in sorted(store.glob(pattern))}
