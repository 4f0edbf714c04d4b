"""What a public folder of results must not hold, and what an entry of it must be."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pandas import DataFrame

from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.reporting.reading import unpacked
from erasure_bench.bench.reporting.run_file import RESULTS, RUN
from erasure_bench.bench.sharing.archives import CHECKSUMS, check_files
from erasure_bench.bench.sharing.entry import ENTRY, Entry, read_entry
from erasure_bench.bench.sharing.machine_paths import found_in
from erasure_bench.bench.words.showing import one_line
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.registry import SUITES, suite_card

PICTURES = ("images.png",)
PROMPTS = ("rewritten.csv", "prompts.parquet")
"""Results that hold pictures, and those that hold prompts word for word."""
_OPEN = ("mit", "cc0", "cc by 4.0", "cc-by-4.0", "apache-2.0", "bsd")
_DOUBT = ("no licen", "without licen", "non-commercial", "noncommercial", "cc by-nc", "cc-by-nc", "rail")
_ONE_PICTURE = ["method", "concept", "seed", "role", "prompt_id", "image_index"]
_LARGEST_FILE = 64 * 2**20


def problems_of(folder: Path) -> list[str]:
    """Why the entry in the folder may not be in a public folder; nothing where it may."""
    return list(_problems(folder))


def _problems(folder: Path) -> Iterator[str]:
    try:
        files = _files(folder)
        yield from _strangers(files)
        check_files(dict(files), str(folder))
        entry = read_entry(folder / ENTRY)
        run = read_finished(folder)
    except (BenchError, OSError) as error:
        yield one_line(error)
        return
    yield from _of_place(folder, entry, run)
    yield from _of_run(run)
    if any(name in files for name in PICTURES):
        yield from picture_problems(run.document, run.scores)
    for name in PROMPTS:
        if name in files and (why := prompts_are_closed(str(run.record["suite"]))):
            yield f"{name} holds the suite's prompts: {why}"
    for name, data in files.items():
        if paths := [path for text in _texts(name, data) for path in found_in(text)]:
            yield f"{name} holds paths of a machine, the first: {one_line(paths[0])}"


def _files(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise BenchError(f"{path}: is no plain file")
        if path.is_dir():
            continue
        if path.stat().st_size > _LARGEST_FILE:
            raise BenchError(f"{path}: larger than {_LARGEST_FILE >> 20} MiB")
        found[name] = path.read_bytes()
    return found


def _strangers(files: Mapping[str, bytes]) -> Iterator[str]:
    known = {RUN, CHECKSUMS, ENTRY, *RESULTS}
    for name in files:
        if name not in known:
            yield f"{name} is no file of an entry"


def _of_place(folder: Path, entry: Entry, run: FinishedRun) -> Iterator[str]:
    place = place_of(entry, run)
    if not folder.resolve().as_posix().endswith(f"/{place}"):
        yield f"{folder} should be {place}: suite, model and name of the entry"


def place_of(entry: Entry, run: FinishedRun) -> str:
    """Where in a public folder an entry lies."""
    model = str(run.record["model"]).replace("/", "--")
    return f"{run.record['suite']}/{model}/{entry.name}"


def _of_run(run: FinishedRun) -> Iterator[str]:
    record, config = run.record, run.record["config"]
    if record["suite"] not in SUITES:
        yield f"suite {record['suite']} is none of the project's (bench list suites): who could run it again?"
    if record["store"] is not None:
        yield "run.json names a store (bench pack takes it out)"
    if config["limit"] is not None:
        yield f"only the first {config['limit']} prompts of each role were drawn (--limit): run it whole"
    if config.get("images") is not None:
        yield f"{config['images']} pictures of each prompt were drawn (--images): run it as the suite does"
    for name in ("scheduler", "steps"):
        if config.get(name) is not None:
            yield f"it was drawn with {name} {config[name]} (--{name}): run it as the suite does"
    if run.failures:
        first = run.failures[0]
        yield (
            f"{len(run.failures)} parts failed, the first: {first.method} · {first.concept}: "
            f"{one_line(first.reason)}: run it again without what fails"
        )
    if len(run.methods) < 2:
        yield "it has the base model's row alone: what is it about?"


def picture_problems(document: Mapping[str, Any], scores: DataFrame) -> Iterator[str]:
    """Why a run's pictures may not be shown: flagged ones, or ones at which nobody looked."""
    looking = {
        (name, metric["name"])
        for name, about in document["evaluators"].items()
        for metric in about["metrics"]
        if metric.get("unsafe")
    }
    if not looking:
        yield "no evaluator looked at its pictures for nudity (bench score RUN --evaluators nudity)"
        return
    of_them = [pair in looking for pair in zip(scores["evaluator"], scores["metric"], strict=True)]
    looked = scores[of_them]
    flagged = looked[looked["value"] > 0.5]
    pictures = len(scores[_ONE_PICTURE].drop_duplicates())
    if len(flagged):
        by = ", ".join(sorted(set(flagged["evaluator"])))
        yield f"{len(flagged[_ONE_PICTURE].drop_duplicates())} of {pictures} pictures are flagged by {by}"
    seen = len(looked[looked["status"] == "ok"][_ONE_PICTURE].drop_duplicates())
    if seen < pictures:
        by = ", ".join(sorted({evaluator for evaluator, _ in looking}))
        yield f"{pictures - seen} of {pictures} pictures have no verdict of {by}"


def prompts_are_closed(suite: str) -> str | None:
    """Why a suite's prompts may not be published word for word; None where they may."""
    if suite not in SUITES:
        return "nobody knows their licence"
    licence = suite_card(suite).licence
    words = " ".join(licence.lower().split())
    if not words:
        return None  # the project's own
    if any(doubt in words for doubt in _DOUBT) or not words.startswith(_OPEN):
        return f"their licence does not clearly allow it ({licence})"
    return None


def _texts(name: str, data: bytes) -> Iterator[str]:
    """All words in a file of an entry."""
    if name.endswith(".parquet"):
        table = pq.read_table(pa.BufferReader(data), use_threads=False)
        for column in table.columns:
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                yield from (word for word in column.unique().to_pylist() if word)
    elif name.endswith(".json"):
        yield from _words(json.loads(data))
    elif name.endswith(".gz"):
        yield unpacked(data, Path(name)).decode("utf-8", errors="replace")
    elif not name.endswith(".png"):
        yield data.decode("utf-8", errors="replace")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield key
            yield from _words(one)
    elif isinstance(value, list):
        for one in value:
            yield from _words(one)
