"""A finished run that is to be scored further: its config, its plan made again, what is still there of it."""

import hashlib
import io
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.prepare import SKIPPED
from erasure_bench.bench.planning.tasks import GenerateTask
from erasure_bench.bench.reporting.evidence import CellKey, Evidence
from erasure_bench.bench.reporting.merging import Part, foreign_code
from erasure_bench.bench.reporting.rating_file import RatingFile, read_ratings
from erasure_bench.bench.reporting.record import cost_of, failure_of, key_of, read_record
from erasure_bench.bench.reporting.results import SHEET
from erasure_bench.bench.reporting.run_file import bound
from erasure_bench.bench.reporting.scores import protocol_key
from erasure_bench.bench.reporting.started import STARTED, check_started_here
from erasure_bench.bench.running.executor import Outcome, without_pictures
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.storage.atomic import write_atomically
from erasure_bench.bench.storage.store import Store
from erasure_bench.errors import BenchError

_MADE = ("execution", "merged", "scored", "ratings", STARTED)


class Finished(NamedTuple):
    """A run's folder and its run.json."""

    folder: Path
    record: Mapping[str, Any]

    @property
    def config(self) -> RunConfig:
        """What it was asked to do."""
        return RunConfig.model_validate(self.record["config"])

    @property
    def evaluators(self) -> tuple[str, ...]:
        """Those that it measured with, as `--evaluators` names them; not what people rated."""
        rated = self.record.get("ratings", {})
        return self.config.evaluators or tuple(n for n in self.record["evaluators"] if n not in rated)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed in it."""
        return tuple(map(failure_of, self.record["failures"]))

    @property
    def made(self) -> dict[str, Any]:
        """What run.json says of how its results came about, beside the plan."""
        return {key: self.record[key] for key in _MADE if key in self.record}

    def skipped(self, now: Iterable[str]) -> list[str]:
        """Its notes of the evaluators that it went without, but those that it has `now`."""
        names = [f"evaluator {name!r}" for name in now]
        return [
            note
            for note in self.record["notes"]
            if note.startswith(SKIPPED) and not any(name in note for name in names)
        ]

    def store(self, asked: Path | None) -> Path:
        """Where its pictures are. Raises BenchError where that is nowhere."""
        if asked is None and self.record["store"] is None:
            parts = " and ".join(self.record.get("merged", ())) or "the runs that it was merged from"
            raise BenchError(
                f"{self.folder} was merged and has no pictures of its own: score {parts}, then merge again"
            )
        root = asked or Path(self.record["store"])
        if not root.is_dir():
            raise BenchError(f"{self.folder}: its pictures were in {root}, which is not there (--store)")
        return root


def read_finished(folder: Path, *, trust_code: bool = False) -> Finished:
    """Raises BenchError for a folder without a run, or with a changed one or another version's.

    And for one that names files of code, unless `trust_code`: to plan the run again is to import them. And
    for one whose own files lie where it was started, and not here.
    """
    record = read_record(folder)
    code = foreign_code([Part(folder, record)])
    if code and not trust_code:
        raise BenchError(
            f"{folder} names code of its own, {next(iter(code))}, and scoring would run it: read it first, "
            "then add --trust-code"
        )
    check_started_here(folder, record)
    return Finished(folder, record)


def added_later(folder: Path, now: Collection[str]) -> list[str]:
    """What `bench score` added to the run in this folder beside the evaluators `now`: the commands for it."""
    try:
        finished = Finished(folder, read_record(folder))
    except BenchError:
        return []
    record = finished.record
    if not record.keys() & {"scored", "ratings"}:
        return []
    again = ["bench", "score", str(folder)]
    rated = record.get("ratings", {})
    names = (name for name in record["evaluators"] if name not in rated)
    more = {
        name: written for name, written in zip(names, finished.evaluators, strict=False) if name not in now
    }
    options = [
        word
        for name in more
        for key, value in finished.config.evaluator_options.get(name, {}).items()
        for word in ("--evaluator-option", f"{name}.{key}={value}")
    ]
    commands = [[*again, "--evaluators", ",".join(more.values()), *options]] if more else []
    for name, about in rated.items():
        metrics = [word for metric in about["metrics"] for word in ("--metric", metric)]
        commands.append([*again, "--scores", str(folder / about["file"]), "--name", name, *metrics])
    return [shlex.join(command) for command in commands]


def check_same_pictures(plan: Plan, finished: Finished) -> None:
    """Raises BenchError where the plan's pictures are not those that the run has, all of them."""
    had = {
        key_of(cell): {name.rpartition("/")[2] for names in cell["images"].values() for name in names}
        for cell in finished.record["cells"]
    }
    other = [
        cell
        for cell in plan.cells
        if had.get((cell.method.name, cell.case.name, cell.seed)) != {task.id for task in cell.generate}
    ]
    if other:
        raise BenchError(
            f"{finished.folder}: the pictures of {len(other)} of {len(plan.cells)} cells were drawn by other "
            f"code, settings, weights or prompts than are here now (the first: {other[0].title}): run the "
            "same bench run again"
        )


def known_outcome(plan: Plan, finished: Finished, store: Store, again: str) -> Outcome:
    """What failed of the run's pictures; all others must be in the store.

    Raises BenchError that says what is missing; `again` is the command that makes it.
    """
    outcome = without_pictures(plan, store, finished.failures)
    gone: dict[str, tuple[str, GenerateTask]] = {}
    for cell in plan.cells:
        for task in cell.generate:
            if task.id not in outcome.broken and not store.has(task.kind, task.id):
                gone.setdefault(task.id, (cell.title, task))
    if not gone:
        return outcome
    title, first = next(iter(gone.values()))
    pictures = sum(len(task.images) for _, task in gone.values())
    edits = {task.erase.id for _, task in gone.values() if not store.has(task.erase.kind, task.erase.id)}
    anew = f", and {len(edits)} edits that they need" if edits else ""
    raise BenchError(
        f"{finished.folder}: {pictures} of {plan.images} pictures{anew} are no longer in the store "
        f"{store.root} (the first: {title} · {first.images.role}): nothing was scored; draw them again with: "
        f"{again}"
    )


def as_recorded(evidence: Evidence, plan: Plan, finished: Finished, store: Store) -> Evidence:
    """The evidence with what the run says of edits that the store no longer has."""
    gone: set[CellKey] = {
        (cell.method.name, cell.case.name, cell.seed)
        for cell in plan.cells
        if not store.has(cell.erase.kind, cell.erase.id)
    }
    costs = {key_of(cell): cost_of(cell) for cell in finished.record["cells"] if key_of(cell) in gone}
    return evidence._replace(
        costs={**evidence.costs, **costs},
        read_as={**finished.record["read_as"], **evidence.read_as},
    )


def scored_anew(plan: Plan, finished: Finished) -> list[str]:
    """The run's evaluators that are not here what they were then: other code, weights or settings."""
    keys = {name: each["key"] for name, each in finished.record["evaluators"].items()}
    codes = finished.record["evaluator_code"]
    return [
        each.name
        for each in plan.evaluators
        if each.name in keys
        and (keys[each.name], codes[each.name]) != (protocol_key(each.protocol), each.code)
    ]


def ratings_of(finished: Finished, without: str | None = None) -> list[RatingFile]:
    """The ratings that were joined to the run, but those called `without`; read from its folder.

    Raises BenchError where a file is not what was joined.
    """
    found = []
    for name, about in finished.record.get("ratings", {}).items():
        if name == without:
            continue
        path = finished.folder / about["file"]
        data = path.read_bytes() if path.is_file() else None
        if data is None or hashlib.sha256(data).hexdigest() != about["sha256"]:
            what = "is gone" if data is None else "is not what was joined to the run"
            raise BenchError(f"{path} {what}: join it anew: bench score RUN --scores FILE --name {name}")
        found.append(read_ratings(path, name, about["metrics"], data))
    return found


def keep_ratings(folder: Path, files: Sequence[RatingFile]) -> dict[str, Any]:
    """Puts copies of the files into the run's folder; what run.json says of them. Raises OSError."""
    kept = {}
    for file in files:
        plain = re.sub(r"[^0-9A-Za-z_-]", "_", file.name)
        name = f"ratings-{plain if plain == file.name else f'{plain}-{content_id(file.name)[:6]}'}.csv"
        write_atomically(folder / name, lambda path, data=file.data: path.write_bytes(data))  # type: ignore[misc]
        kept[file.name] = {"file": name, "sha256": file.sha256, "metrics": list(file.declared)}
    return kept


def kept_sheet(finished: Finished) -> Image.Image | None:
    """The run's contact sheet, as it is; raises BenchError where it is not what the run wrote."""
    if SHEET not in finished.record["files"]:
        return None
    sheet = Image.open(io.BytesIO(bound(finished.folder, finished.record, SHEET)))
    sheet.load()
    return sheet
