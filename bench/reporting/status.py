"""How far a run is: running, interrupted or finished. Reads its folder and its store, and changes neither."""

import json
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from erasure_bench.bench.reporting.record import key_of, read_record
from erasure_bench.bench.reporting.run_file import RUN, first_fault
from erasure_bench.bench.running.job import WORKERS
from erasure_bench.bench.running.journal import FOLDER, FORMAT, LEFT, NOW, PLAN, is_held
from erasure_bench.bench.storage.damage import silent
from erasure_bench.bench.storage.store import EntryKind, Store
from erasure_bench.errors import BenchError

State = Literal["running", "interrupted", "finished"]
CellState = Literal["done", "failed", "open"]
WorkerState = Literal["at work", "waiting", "left", "lost"]
Model = TypeVar("Model", bound=BaseModel)
SILENT_SECONDS = 300.0
"""So long a worker on another machine, which cannot be asked, may be silent and be at work."""
_WITHOUT_A_WORD = "its process ended without a word (killed, or the machine went down)"
MARK = f"{FOLDER}/{PLAN}"
"""What a run's folder holds until its results are written."""


class Why(NamedTuple):
    """Why a cell, or a part of it, has no result."""

    method: str
    concept: str
    seed: int
    stage: str
    role: str | None
    evaluator: str | None
    reason: str


class MethodStatus(NamedTuple):
    """One row: its cells, its tasks and its pictures."""

    method: str
    done: int
    failed: int
    open: int
    tasks_done: int | None
    tasks: int | None
    images_done: int
    images: int | None


class Doing(BaseModel):
    """What a run is at."""

    cell: str
    kind: str
    doing: str
    role: str | None
    done: int
    total: int | None
    unit: str | None


class WorkerStatus(NamedTuple):
    """One of a run's workers. `why` says why it is lost; `waiting` is for what others are at."""

    name: str
    state: WorkerState
    process: int
    machine: str
    device: str | None
    active: float
    doing: Doing | None
    tasks_done: int
    images_per_second: float | None
    why: str | None


class RunStatus(NamedTuple):
    """Times are seconds since 1970, UTC; `left_seconds` is what is known of, `left_unknown` who is not in it.

    `why` says why a run stopped before its end, `process` and `machine` where it runs or ran. `workers` is
    empty where that process does all of it.
    """

    state: State
    folder: str
    suite: str
    model: str
    started: float | None
    active: float
    why: str | None
    process: int | None
    machine: str | None
    doing: Doing | None
    left_seconds: float | None
    left_unknown: tuple[str, ...]
    images_per_second: float | None
    methods: tuple[MethodStatus, ...]
    failures: tuple[Why, ...]
    workers: tuple[WorkerStatus, ...] = ()


class _Cell(BaseModel):
    method: str
    concept: str
    seed: int
    tasks: list[tuple[EntryKind, str, int]]


class _Plan(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    format: Literal["erasure-bench status 1"]
    suite: str
    model: str
    store: Path
    cells: list[_Cell]


class _Tasks(BaseModel):
    done: int


class _Now(BaseModel):
    format: Literal["erasure-bench status 1"]
    process: int
    machine: str
    device: str | None = None
    tasks: _Tasks
    started: float
    active: float
    stopped: str | None
    doing: Doing | None
    left_seconds: float | None
    left_unknown: tuple[str, ...]
    images_per_second: float | None
    failures: list[Why]


def status_of(folder: Path, store: Path | None = None) -> RunStatus:
    """Raises BenchError for a folder that holds no run, or another version's.

    `store` is where the run's store lies, where that is no longer where it was.
    """
    for _ in range(3):  # it may end, and take its journal away, while we read
        if not (folder / MARK).is_file():
            return _finished(folder)
        try:
            return _unfinished(folder, store)
        except FileNotFoundError:
            time.sleep(0.05)
    return _finished(folder)


def _unfinished(folder: Path, root: Path | None) -> RunStatus:
    held = is_held(folder / FOLDER)
    plan, now = _read(folder / FOLDER / PLAN, _Plan), _read(folder / FOLDER / NOW, _Now)
    store = Store(root or plan.store, silent)
    failed = {(why.method, why.concept, why.seed) for why in now.failures}
    rows: dict[str, Counter[str]] = {}
    counted: set[tuple[str, str]] = set()
    for cell in plan.cells:
        counts = rows.setdefault(cell.method, Counter())
        there = [store.has(kind, task) for kind, task, _ in cell.tasks]
        key = (cell.method, cell.concept, cell.seed)
        counts["failed" if key in failed else "done" if all(there) else "open"] += 1
        for has, (_, task, images) in zip(there, cell.tasks, strict=True):
            if (cell.method, task) not in counted:  # cells of a row share pictures
                counted.add((cell.method, task))
                counts.update({"tasks": 1, "tasks_done": has, "images": images, "images_done": images * has})
    workers = tuple(_workers(folder))
    paces = [each.images_per_second for each in workers if each.doing and each.images_per_second]
    return RunStatus(
        state="running" if held else "interrupted",
        folder=str(folder),
        suite=plan.suite,
        model=plan.model,
        started=now.started,
        active=max(now.active, *(each.active for each in workers)) if workers else now.active,
        why=None if held else now.stopped or _WITHOUT_A_WORD,
        process=now.process,
        machine=now.machine,
        doing=now.doing if held else None,
        left_seconds=now.left_seconds,
        left_unknown=now.left_unknown,
        images_per_second=round(sum(paces), 3) or None if workers else now.images_per_second,
        methods=tuple(
            MethodStatus(
                name,
                **{state: counts[state] for state in ("done", "failed", "open")},
                tasks_done=counts["tasks_done"],
                tasks=counts["tasks"],
                images_done=counts["images_done"],
                images=counts["images"],
            )
            for name, counts in rows.items()
        ),
        failures=tuple(now.failures),
        workers=workers,
    )


def _workers(folder: Path) -> Iterable[WorkerStatus]:
    """Those that have said anything of themselves yet, by their numbers."""
    places = (folder / FOLDER / WORKERS).glob(f"*/{NOW}")
    for file in sorted(places, key=lambda file: (len(file.parent.name), file.parent.name)):
        try:
            now = _read(file, _Now)
        except FileNotFoundError:
            continue
        here = now.machine == platform.node()
        lives = is_held(file.parent) if here else time.time() - now.active < SILENT_SECONDS
        state: WorkerState = "lost"
        if now.stopped is None and lives:
            state = "waiting" if now.doing is None else "at work"
        elif now.stopped == LEFT:
            state = "left"
        yield WorkerStatus(
            name=file.parent.name,
            state=state,
            process=now.process,
            machine=now.machine,
            device=now.device,
            active=now.active,
            doing=now.doing if state == "at work" else None,
            tasks_done=now.tasks.done,
            images_per_second=now.images_per_second,
            why=(now.stopped or _WITHOUT_A_WORD) if state == "lost" else None,
        )


def _read(path: Path, model: type[Model]) -> Model:
    """Raises FileNotFoundError where it is gone, BenchError where it is something else."""
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise
    except ValidationError as error:
        raise BenchError(
            f"{path}: {first_fault(error)}; made by another version (this one has {FORMAT!r}): run the same "
            "bench run again"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"{path} cannot be read ({error}); run the same bench run again") from error


def _finished(folder: Path) -> RunStatus:
    record = read_record(folder)
    failures = tuple(_why(failure) for failure in record["failures"])
    failed = {(why.method, why.concept, why.seed) for why in failures}
    seconds = record.get("execution", {}).get("seconds")
    ended = (folder / RUN).stat().st_mtime
    images = sum(cell["cost"]["images"] for cell in record["cells"])
    drawing = sum(cell["cost"]["generate_seconds"] for cell in record["cells"])
    return RunStatus(
        state="finished",
        folder=str(folder),
        suite=f"{record['suite']} {record['suite_version']}",
        model=record["model"],
        started=None if seconds is None else ended - seconds,
        active=ended,
        why=None,
        process=None,
        machine=None,
        doing=None,
        left_seconds=0.0,
        left_unknown=(),
        images_per_second=round(images / drawing, 3) if images and drawing else None,
        methods=tuple(_rows(record["cells"], failed)),
        failures=failures,
    )


def _rows(cells: Iterable[Mapping[str, Any]], failed: set[tuple[str, str, int]]) -> Iterable[MethodStatus]:
    rows: dict[str, Counter[str]] = {}
    for cell in cells:
        counts = rows.setdefault(cell["method"], Counter())
        counts["failed" if key_of(cell) in failed else "done"] += 1
        counts["images"] += cell["cost"]["images"]
    for name, counts in rows.items():
        yield MethodStatus(name, counts["done"], counts["failed"], 0, None, None, counts["images"], None)


def _why(failure: Mapping[str, Any]) -> Why:
    return Why(**{name: failure[name] for name in Why._fields})
