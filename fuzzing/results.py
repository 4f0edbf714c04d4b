"""Results that somebody sent: every file of them may be forged, with digests that fit."""

import hashlib
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from erasure_bench.bench.comparing.changes import compare, pairs_within
from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.comparing.gate import hold
from erasure_bench.bench.comparing.policy import first_policy, read_policy
from erasure_bench.bench.comparing.telling import comparison_markdown
from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.reporting.beside import compare as beside
from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.counting import read_scores
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.bench.reporting.published import published
from erasure_bench.bench.reporting.reading import read_document, read_robustness
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.robustness import RATES, Rate, Robustness, RobustnessRow
from erasure_bench.bench.reporting.robustness_table import csv as robustness_csv
from erasure_bench.bench.reporting.robustness_table import markdown as robustness_markdown
from erasure_bench.bench.reporting.robustness_table import on_terminal
from erasure_bench.bench.reporting.run_file import LEADERBOARD, ROBUSTNESS, RUN, opened
from erasure_bench.bench.sharing.loading import LoadedRun
from erasure_bench.bench.site.reading import read_reported
from erasure_bench.bench.site.site import write_site
from erasure_bench.errors import BenchError
from fuzzing.harness import Harness
from fuzzing.places import folder, written
from fuzzing.small_run import small_run

LEADERBOARD_JSON, ROBUSTNESS_JSON = f"{LEADERBOARD}.json", f"{ROBUSTNESS}.json"
POLICY = """\
format: erasure-bench gate 1
methods: [dim]
significance: 0.05
rules:
  - {name: gone, tier: critical, role: target, metric: brightness, allowed_worsening: 0.05}
  - name: little is left
    tier: supporting
    role: target
    metric: brightness
    evaluator: fake
    scope: concept
    limit: "<= 0.1"
  - {name: spots, tier: advisory, role: target, metric: spots, limit: ">= 1e-3"}
"""


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
    place = _with(LEADERBOARD_JSON, data)
    try:
        _read_all(place)
    finally:
        (place / LEADERBOARD_JSON).write_bytes(_good()[LEADERBOARD_JSON])


def _robustness(data: bytes) -> None:
    """By every way in which it is shown."""
    table = read_robustness(_with(ROBUSTNESS_JSON, data))
    for width, brief in ((80, True), (200, False)):
        Console(file=io.StringIO(), width=width).print(on_terminal(table, width, brief=brief))
    assert robustness_markdown(table) and robustness_csv(table)
    assert Robustness.from_document(table.document(), ROBUSTNESS_JSON) == table


def _with(name: str, data: bytes) -> Path:
    """The finished run with these bytes as one of its files, and digests that fit."""
    place = _finished()
    (place / name).write_bytes(data)
    record = json.loads(_good()[RUN])
    record["files"][name] = hashlib.sha256(data).hexdigest()
    _seal(place, record)
    return place


def _policy(data: bytes) -> None:
    """Read, then a run held against itself by it."""
    policy = read_policy(written("policy.yaml", data))
    assert all(rule.demand for rule in policy.rules)
    finished = _unchanged()
    assert hold(finished, finished, policy).findings


@cache
def _unchanged() -> FinishedRun:
    return read_finished(_finished())


def _table() -> bytes:
    """A robustness table with every kind of cell."""
    about: dict[str, Any] = {"evaluator": "fake", "metric": "brightness", "title": "share of bright ones"}
    rows = [
        RobustnessRow(
            method=method,
            scope=scope,
            concept=concept,
            attack=attack,
            tries=4,
            control=control,
            **about | dict.fromkeys(RATES[: 3 + 4 * (control is not None)], Rate(0.25, 0.03, 0.65, 8)),
        )
        for scope, concept in (("overall", "overall"), ("concept", "red ball"))
        for method in ("none", "dim")
        for attack, control in (("p4d:4", "random-prefix"), ("random-prefix", None))
    ]
    table = Robustness(
        title="Tiny",
        methods=("none", "dim"),
        baseline="none",
        concepts=("red ball", "Blue Cube"),
        attacks=("p4d:4", "random-prefix"),
        chosen_by={"p4d:4": "its loss", "random-prefix": "the noise loss"},
        rows=tuple(rows),
        notes=("A note.",),
    )
    return json.dumps(table.document()).encode()


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
        "robustness-json",
        "robustness.json, its digest made to fit; shown in every form",
        lambda: [_table()],
        _robustness,
    ),
    Harness(
        "gate-policy",
        "a gate's policy: YAML; a run held against itself by its rules",
        lambda: [POLICY.encode()],
        _policy,
    ),
    Harness(
        "scores-parquet",
        "scores.parquet",
        lambda: [_good()[SCORES]],
        _scores,
    ),
)
