"""What each command does. Returns the exit code; mistakes are BenchErrors."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from erasure_bench.bench.cli.paths import find_run, run_folder, store_folder
from erasure_bench.bench.planning.config import RunConfig, names
from erasure_bench.prompt_suites.errors import BenchError, UnknownName

FAILED = 1
_PLAIN_WIDTH = 100


class RunFailed(BenchError):
    """A run that was well asked for could not be finished."""

    exit_code = FAILED


def full_run(config: RunConfig, out: Path | None, store_asked: Path | None, *, as_json: bool) -> int:
    """Does the plan's unfinished tasks, writes the run's folder and prints the leaderboard."""
    from erasure_bench.bench.planning.prepare import prepare
    from erasure_bench.bench.reporting.evidence import of_store
    from erasure_bench.bench.reporting.results import gather, write_results
    from erasure_bench.bench.reporting.tables import Board, print_rich
    from erasure_bench.bench.running.executor import execute
    from erasure_bench.bench.running.progress import LiveProgress
    from erasure_bench.bench.running.worker import Worker
    from erasure_bench.bench.storage.store import Store

    said = _stderr()
    root = store_folder(store_asked)
    prepared = prepare(config, root)
    plan, source = prepared.plan, prepared.source
    for note in prepared.notes:
        said.print(note, style="dim", markup=False, highlight=False)
    folder = run_folder(out, config, source.name)
    _make_folder(folder)
    with Store(root) as store:
        worker = Worker(
            source,
            plan.methods,
            plan.evaluators,
            store,
            device=config.device,
            dtype=config.dtype,
            batch_size=config.batch_size,
            general_prompts=prepared.general_prompts,
        )
        missing = plan.missing(store)
        todo = sum(missing.tasks.values())
        said.print(
            f"{len(plan.cells)} cells, {len(plan.tasks)} tasks: {len(plan.tasks) - todo} in the store, "
            f"{todo} to do, {missing.images} images to draw",
            highlight=False,
        )
        outcome = execute(plan, worker, store, LiveProgress(said))
        skipped = [note for note in prepared.notes if note.startswith("skipped")]
        results = gather(plan, of_store(plan, store, outcome.failures), skipped)
        made = {"execution": {"seconds": round(outcome.seconds, 3), "tasks_done": dict(outcome.done)}}
        try:
            write_results(folder, plan, results, made, store)
        except OSError as error:
            raise RunFailed(
                f"--out {folder}: {error.strerror or error}; what is finished is in the store: "
                "make room or name another folder, then run the same command again"
            ) from error
    if as_json:
        _print_json(results.document)
    else:
        print_rich(Board.from_json(results.document), _stdout())
    _say_where(said, folder, root, [case.name for case in plan.cases])
    return FAILED if outcome.failures else 0


def dry_run(config: RunConfig, store_asked: Path | None, *, as_json: bool) -> int:
    """Prints the plan: cells, tasks, how many are in the store, images to draw."""
    from erasure_bench.bench.planning.plan import unfinished
    from erasure_bench.bench.planning.prepare import prepare
    from erasure_bench.bench.storage.store import Store

    root = store_folder(store_asked)
    prepared = prepare(config, root)
    plan, store = prepared.plan, Store(root)
    missing = plan.missing(store)
    tasks = {kind: sum(task.kind == kind for task in plan.tasks) for kind in missing.tasks}
    cells = [
        {
            "method": cell.method.name,
            "concept": cell.case.name,
            "seed": cell.seed,
            "tasks": len(cell.tasks),
            "images": sum(len(task.images) for task in cell.generate),
            "to_do": len(unfinished([cell], store)),
        }
        for cell in plan.cells
    ]
    document = {
        "suite": plan.suite.name,
        "model": {"name": plan.model.name, "digest": plan.model.digest, "resolution": plan.sizes.resolution},
        "plan": plan.id,
        "tasks": tasks,
        "tasks_to_do": dict(missing.tasks),
        "images": plan.images,
        "images_to_draw": missing.images,
        "cells": cells,
        "store": str(root),
        "notes": list(prepared.notes),
    }
    if as_json:
        _print_json(document)
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("method", "concept", "seed", "images", "tasks", "to do"):
        table.add_column(title, justify="left" if title in ("method", "concept") else "right")
    for cell in cells:
        table.add_row(
            *(escape(str(cell[key])) for key in ("method", "concept", "seed", "images", "tasks", "to_do"))
        )
    console = _stdout()
    console.print(table)
    console.print(
        "\n".join(
            [
                "",
                f"{len(cells)} cells on {plan.model.name}, {plan.sizes.resolution} pixels (shared: once)",
                *(
                    f"  {kind:<9} {tasks[kind]:>6}, {tasks[kind] - missing.tasks[kind]} in the store"
                    for kind in missing.tasks
                ),
                f"  images    {plan.images:>6}, {missing.images} to draw",
                *(f"left out by the suite: {left.rows} rows ({left.reason})" for left in plan.suite.left_out),
                *prepared.notes,
            ]
        ),
        highlight=False,
        markup=False,
    )
    return 0


def list_kind(kind: Any, *, as_json: bool) -> int:
    """Prints names with titles."""
    from erasure_bench.bench.cli.cards import listed

    items = listed(kind)
    if as_json:
        _print_json([item._asdict() for item in items])
        return 0
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    table.add_column(style="dim")
    for item in items:
        table.add_row(escape(item.name), escape(item.title), escape(item.more))
    _stdout().print(table)
    return 0


def show_card(name: str, *, as_json: bool) -> int:
    """Prints a card."""
    from erasure_bench.bench.cli.cards import sheet

    card = sheet(name)
    if as_json:
        _print_json(card._asdict())
        return 0
    console = _stdout()
    console.print(
        f"[bold]{escape(card.name)}[/]  {escape(card.title)}  [dim]({card.kind})[/]", highlight=False
    )
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 2))
    facts.add_column(no_wrap=True, style="cyan")
    facts.add_column()
    for title, text in card.facts.items():
        facts.add_row(escape(title), escape(text))
    console.print(facts)
    if card.settings:
        columns = list(next(iter(card.settings.values())))
        settings = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 2))
        settings.add_column("setting", no_wrap=True)
        for column in columns:
            settings.add_column(column)
        for setting, values in card.settings.items():
            shown = [
                values[column] if column == "default" or values[column] != values["default"] else ""
                for column in columns
            ]
            settings.add_row(escape(setting), *(escape(value) for value in shown))
        console.print()
        console.print(settings)
        console.print("[dim]  A preset's empty place keeps the default.[/]")
    return 0


def print_table(run: str, form: str, concepts_asked: str | None) -> int:
    """Prints a finished run's leaderboard."""
    from erasure_bench.bench.reporting.results import LEADERBOARD, read_document
    from erasure_bench.bench.reporting.tables import Board, print_rich

    folder = find_run(run)
    try:
        if form in ("md", "csv", "json"):
            sys.stdout.write((folder / f"{LEADERBOARD}.{form}").read_text(encoding="utf-8"))
            return 0
        board = Board.from_json(read_document(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(
            f"{folder}: the leaderboard cannot be read ({error}); run the same bench run again"
        ) from error
    wanted = names(concepts_asked, "--concepts")
    if wanted == ("all",):
        wanted = board.concepts
    for name in wanted:
        if name not in board.concepts:
            raise UnknownName("concept", name, board.concepts, "--concepts")
    print_rich(board, _stdout(), wanted)
    return 0


def merge_runs(
    runs: list[str], out: Path, store_asked: Path | None, data_dir: Path | None, *, as_json: bool
) -> int:
    """Writes and prints the leaderboard of several runs' cells."""
    from erasure_bench.bench.planning.prepare import prepare
    from erasure_bench.bench.reporting.merging import merged, read_part, whole_config
    from erasure_bench.bench.reporting.record import RUN
    from erasure_bench.bench.reporting.results import gather, write_results
    from erasure_bench.bench.reporting.tables import Board, print_rich

    parts = [read_part(find_run(run, RUN)) for run in runs]
    plan = prepare(whole_config(parts, data_dir), store_folder(store_asked)).plan
    results = gather(plan, merged(plan, parts))
    _make_folder(out)
    try:
        write_results(out, plan, results, {"merged": [str(part.folder) for part in parts]})
    except OSError as error:
        raise RunFailed(f"--out {out}: {error.strerror or error}") from error
    if as_json:
        _print_json(results.document)
    else:
        print_rich(Board.from_json(results.document), _stdout())
    _stderr().print(f"Results in {out}.", highlight=False, soft_wrap=True)
    return FAILED if results.evidence.failures else 0


def export_edit_of(
    run: str,
    method: str,
    form: Any,
    out: Path,
    concept: str | None,
    seed: int | None,
    model: str | None,
) -> int:
    """Writes one edit of a finished run as weights, and prints where."""
    from erasure_bench.bench.cli.export import find_edit
    from erasure_bench.bench.running.libraries import quiet_libraries
    from erasure_bench.methods.edit import Edit
    from erasure_bench.methods.machinery.exporting import export_edit
    from erasure_bench.models.zoo import resolve_model

    found = find_edit(find_run(run), method, concept, seed)
    quiet_libraries()
    base = resolve_model(model or found.model)
    written = export_edit(Edit.load(found.folder), base.path, form, out)
    _stdout().print(str(written), highlight=False, markup=False, soft_wrap=True)
    return 0


def check_method(
    method: str, model: str | None, options: Mapping[str, Mapping[str, str]], *, as_json: bool
) -> int:
    """Prints what the contract's checks found, each as soon as it is done."""
    from erasure_bench.bench.cli.check import prepare_examination

    console = _stdout()
    examination = prepare_examination(method, model, options)
    if not as_json:
        console.print(examination.title, highlight=False, markup=False)
    marks = {"ok": "[green]ok[/]     ", "failed": "[red]failed[/] ", "skipped": "[dim]skipped[/]"}
    for check in examination.run():
        if not as_json:
            why = f"  [dim]{escape(check.why)}[/]" if check.why else ""
            console.print(
                f"  {marks[check.verdict]}  {escape(check.name)}{why}", highlight=False, soft_wrap=True
            )
    if as_json:
        _print_json(examination.to_json())
    else:
        console.print(examination.summary, highlight=False, markup=False)
    return FAILED if examination.failed else 0


def print_findings(store: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Prints what doctor found."""
    from erasure_bench.bench.cli.doctor import examine, to_json

    findings = examine(data_dir, store)
    if as_json:
        _print_json(to_json(findings))
        return 0
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    styles = {"ok": "green", "absent": "red", "note": "yellow"}
    topic = ""
    for finding in findings:
        mark = f"[{styles[finding.verdict]}]{finding.verdict}[/]"
        heading = finding.topic if finding.topic != topic else ""
        table.add_row(heading, mark, escape(finding.name), escape(finding.detail))
        topic = finding.topic
    _stdout().print(table)
    return 0


def _make_folder(folder: Path) -> None:
    """The results' folder, made before hours of work go into what it is to hold."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"--out {folder}: cannot be made: {error.strerror or error}") from error


def _say_where(said: Console, folder: Path, root: Path, concepts: list[str]) -> None:
    files = ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
    said.print(
        f"Results in {folder}: {files}. Pictures and edits in {root}.", highlight=False, soft_wrap=True
    )
    if len(concepts) > 1:
        said.print(
            f"Each concept's own table: bench table {folder} --concepts all", highlight=False, soft_wrap=True
        )


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _stdout() -> Console:
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH)


def _stderr() -> Console:
    return Console(
        stderr=True, width=None if sys.stderr.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    )
