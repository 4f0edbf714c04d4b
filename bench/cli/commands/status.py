"""`bench status`: how far a run is, from its folder and its store alone."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from erasure_bench.bench.cli.output import FAILED, print_json, stdout_console, words
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.reporting.status import MARK, Doing, RunStatus, status_of
from erasure_bench.bench.running.progress import clock
from erasure_bench.bench.sharing.finding import find_run
from erasure_bench.errors import BenchError

_SHOWN = 20
"""Failures that are told in full; all of them are in --json."""


def print_status(run: str, store: Path | None, *, as_json: bool) -> int:
    """Exit code 1 where something failed, or where the run is neither running nor finished."""
    status = status_of(_folder(run), store)
    if as_json:
        print_json(_document(status))
    else:
        console = stdout_console()
        for line in (*_head(status), *_workers(status)):
            console.print(words(line), soft_wrap=True)
        console.print(_table(status))
        for line in _failures(status):
            console.print(words(line), soft_wrap=True)
    return FAILED if status.failures or status.state == "interrupted" else 0


def _folder(run: str) -> Path:
    try:
        return find_run(run, MARK)
    except BenchError:
        return find_run(run, RUN)


def _document(status: RunStatus) -> dict[str, Any]:
    return {
        **status._asdict(),
        "doing": status.doing.model_dump() if status.doing else None,
        "methods": [row._asdict() for row in status.methods],
        "failures": [why._asdict() for why in status.failures],
        "workers": [
            {**worker._asdict(), "doing": worker.doing.model_dump() if worker.doing else None}
            for worker in status.workers
        ],
    }


def _head(status: RunStatus) -> Iterator[str]:
    yield f"{status.suite} on {status.model}: {status.state}"
    now = time.time()
    began = "" if status.started is None else f", {clock(status.active - status.started)} after its start"
    ago = (
        f"{clock(max(now - status.active, 0.0))} ago" if now - status.active < 86400 else _date(status.active)
    )
    match status.state:
        case "running":
            yield f"process {status.process} on {status.machine}; last activity {ago}{began}"
            if status.doing is not None:
                yield f"now: {_now(status.doing)}"
        case "interrupted":
            yield f"last activity {ago}{began}: {status.why}"
            yield "The same bench run again goes on from here."
        case "finished":
            yield f"finished {ago}{began}"
    pace = f"{status.images_per_second:.2g} images/s" if status.images_per_second else ""
    if pace or status.state != "finished":
        yield "; ".join(part for part in (f"pace: {pace}" if pace else "", _left(status)) if part)


def _now(doing: Doing) -> str:
    role = f" {doing.role}" if doing.role else ""
    part = f", {doing.done}/{doing.total} {doing.unit}" if doing.unit else ""
    return f"{doing.cell} · {doing.doing}{role}{part}"


def _workers(status: RunStatus) -> Iterator[str]:
    """One line each, and after so many a count of the others."""
    for worker in status.workers[:_SHOWN]:
        where = " ".join(part for part in (worker.machine, worker.device) if part)
        what = _now(worker.doing) if worker.doing else worker.why or worker.state
        yield f"worker {worker.name} ({where}, {worker.tasks_done} tasks done): {what}"
    if others := Counter(worker.state for worker in status.workers[_SHOWN:]):
        counts = ", ".join(f"{count} {state}" for state, count in sorted(others.items()))
        yield f"and {others.total()} more workers: {counts} (--json)"


def _left(status: RunStatus) -> str:
    if status.state == "finished":
        return ""
    unknown = ", ".join(status.left_unknown)
    if status.left_seconds is None:
        return f"left: not measured on this machine yet{f': {unknown}' if unknown else ''}"
    return f"left: about {clock(status.left_seconds)}{f', not counting {unknown}' if unknown else ''}"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _table(status: RunStatus) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("method", overflow="fold")
    for title in ("done", "failed", "open", "tasks", "images"):
        table.add_column(title, justify="right")
    for row in status.methods:
        counts = (
            row.done,
            row.failed,
            row.open,
            _of(row.tasks_done, row.tasks),
            _of(row.images_done, row.images),
        )
        table.add_row(words(row.method), *(words(count) for count in counts))
    return table


def _of(done: int | None, total: int | None) -> str:
    return "" if done is None else f"{done}" if total is None else f"{done}/{total}"


def _failures(status: RunStatus) -> Iterator[str]:
    for why in status.failures[:_SHOWN]:
        parts = (why.method, why.concept, f"seed {why.seed}", why.role, why.evaluator)
        yield f"failed: {' · '.join(part for part in parts if part)}: {why.stage}: {why.reason}"
    if len(status.failures) > _SHOWN:
        yield f"and {len(status.failures) - _SHOWN} more (--json)"
