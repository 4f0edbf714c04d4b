"""Results that somebody sent: every file of them may be forged, with digests that fit."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from erasure_bench.bench.comparing.changes import compare, pairs_within
from erasure_bench.bench.comparing.finished import read_finished
from erasure_bench.bench.comparing.policy import first_policy
from erasure_bench.bench.comparing.telling import comparison_markdown
from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.reporting.beside import compare as beside
from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.counting import read_scores
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.bench.reporting.published import published
from erasure_bench.bench.reporting.results import LEADERBOARD, SCORES, read_document
from erasure_bench.bench.reporting.run_file import RUN, opened
from erasure_bench.bench.sharing.loading import LoadedRun
from erasure_bench.bench.site.reading import read_reported
from erasure_bench.bench.site.site import write_site
from erasure_bench.errors import BenchError
from fuzzing.harness import Harness
from fuzzing.places import folder
from fuzzing.small_run import small_run

LEADERBOARD_JSON = f"{LEADERBOARD}.json"


@cache
def _finished() -> Path:
    """A finished run without its store, as a packed one comes."""
    place = folder() / "finished"
    small_run(folder() / "store", place)
    record = json.loads((place / RUN).read_text(encoding="utf-8"))
    _seal(place, record | {"store": None})
    return place


@cache
def _good() -> dict[str, bytes]:
    return {name: (_finished() / name).read_bytes() for name in (RUN, LEADERBOARD_JSON, SCORES)}


def _seal(place: Path, record: dict[str, Any]) -> None:
    """Writes the run.json with its digest; what cannot be sealed is left as it is."""
    rest = {key: value for key, value in record.items() if key != "sha256"}
    try:
        own = content_id(rest)
    except (ValueError, TypeError, RecursionError):
        own = ""
    (place / RUN).write_text(json.dumps({**rest, "sha256": own}), encoding="utf-8")


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _run_json(data: bytes) -> None:
    """As it is, then with a digest that fits: by every command that reads a finished run."""
    place = _finished()
    (place / RUN).write_bytes(data)
    try:
        opened(place / RUN)
    except BenchError:
        if (record := _object(data)) is None:
            raise
        _seal(place, record)
    _read_all(place)


def _leaderboard(data: bytes) -> None:
    place = _finished()
    (place / LEADERBOARD_JSON).write_bytes(data)
    record = json.loads(_good()[RUN])
    record["files"][LEADERBOARD_JSON] = hashlib.sha256(data).hexdigest()
    _seal(place, record)
    try:
        _read_all(place)
    finally:
        (place / LEADERBOARD_JSON).write_bytes(_good()[LEADERBOARD_JSON])


def _read_all(place: Path) -> None:
    document = read_document(place)
    markdown(Board.from_json(document), document["concepts"])
    beside(document, published())
    finished = read_finished(place)
    loaded = LoadedRun(finished)
    for read in (loaded.leaderboard, loaded.failures, loaded.pictures, loaded.protocol, loaded._repr_html_()):
        assert read is not None
    first_policy(finished)
    found = compare(finished, finished, pairs_within(finished, (finished.baseline,)))
    comparison_markdown(found, document["concepts"], (), "before", "after")
    write_site([read_reported(place)], folder() / "report")


def _scores(data: bytes) -> None:
    read_scores(data, Path(SCORES))


HARNESSES = (
    Harness(
        "run-json",
        "run.json, its digest made to fit; tables, comparison and report of it",
        lambda: [_good()[RUN]],
        _run_json,
    ),
    Harness(
        "leaderboard-json",
        "leaderboard.json, its digest made to fit; tables, comparison and report of it",
        lambda: [_good()[LEADERBOARD_JSON]],
        _leaderboard,
    ),
    Harness(
        "scores-parquet",
        "scores.parquet",
        lambda: [_good()[SCORES]],
        _scores,
    ),
)
