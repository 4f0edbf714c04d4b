"""`bench run`: does a plan, or prints it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from erasure_bench.bench.cli.output import (
    FAILED,
    RunFailed,
    make_folder,
    print_json,
    say_where,
    stderr_console,
    stdout_console,
    words,
)
from erasure_bench.bench.cli.paths import (
    check_apart,
    check_out,
    check_store,
    remote_url,
    run_folder,
    store_folder,
)
from erasure_bench.bench.planning.config import AUTO, RunConfig
from erasure_bench.bench.words.grid import Column, grids

if TYPE_CHECKING:
    from erasure_bench.bench.running.executors import Hands

_DRY_RUN: tuple[tuple[str, str, Literal["left", "right"]], ...] = (
    ("concept", "concept", "left"),
    ("seed", "seed", "right"),
    ("images", "images", "right"),
    ("tasks", "tasks", "right"),
    ("to do", "to_do", "right"),
)


def full_run(
    config: RunConfig,
    out: Path | None,
    store_asked: Path | None,
    remote_asked: str | None,
    track: Sequence[str],
    hands: "Hands",
    *,
    as_json: bool,
) -> int:
    """Does the plan's unfinished tasks, writes the run's folder and prints the leaderboard.

    `track` names the trackers that are told of it, `hands` says who does the tasks.
    """
    from erasure_bench.bench.cli.workers import by_workers, exchange, worker_of
    from erasure_bench.bench.planning.tasks import Task
    from erasure_bench.bench.reporting.board import Board
    from erasure_bench.bench.reporting.completing import complete
    from erasure_bench.bench.reporting.finished import added_later
    from erasure_bench.bench.reporting.results import write_results
    from erasure_bench.bench.reporting.robustness_table import on_terminal
    from erasure_bench.bench.reporting.tables import print_summary
    from erasure_bench.bench.running.estimating import Estimator, estimator_of
    from erasure_bench.bench.running.executor import NOTHING, Reporter
    from erasure_bench.bench.running.journal import journal_of
    from erasure_bench.bench.running.progress import LiveProgress
    from erasure_bench.bench.running.settled import settled
    from erasure_bench.bench.running.together import Together
    from erasure_bench.bench.storage.two_levels import opened
    from erasure_bench.bench.tracking.guarded import Guarded
    from erasure_bench.bench.tracking.registry import build_tracker
    from erasure_bench.bench.tracking.telling import telling, tracked_run

    said = stderr_console()
    config, places = _placed(config, track, hands)
    root = store_folder(store_asked)
    check_store(root)
    remote = remote_url(remote_asked)
    prepared, skipped = settled(config, root)
    plan, source = prepared.plan, prepared.source
    for note in prepared.notes:
        said.print(words(note, "dim"))
    folder = run_folder(out, config, source.name)
    check_apart(folder, root)
    make_folder(folder)
    added = added_later(folder, {evaluator.name for evaluator in plan.evaluators})

    def guarded(name: str) -> Guarded:
        return Guarded(name, lambda: build_tracker(name), lambda line: said.print(words(line, "yellow")))

    with (
        opened(root, remote) as store,
        journal_of(folder, plan, store) as journal,
        telling(map(guarded, track), tracked_run(plan, folder)) as told,
    ):
        exchange(plan, store)
        worker = worker_of(prepared, store)
        missing = plan.missing(store)
        todo = sum(missing.tasks.values())
        said.print(
            f"{len(plan.cells)} cells, {len(plan.tasks)} tasks: {len(plan.tasks) - todo} in the store, "
            f"{todo} to do, {missing.images} images to draw"
        )

        def estimate(todo: tuple[Task, ...]) -> Estimator:
            return estimator_of(plan, todo, store, prepared.general_prompts)

        def reporter() -> Reporter:
            live = LiveProgress(said, estimate)
            journal.left = live.left
            return Together((live, journal, told))

        done = NOTHING
        if len(places) > 1 or hands.executor != "local":
            done = by_workers(plan, store, remote, folder, hands, places, (journal, told), estimate)
        outcome, results = complete(plan, worker, store, reporter, skipped, earlier=done)
        if done is not NOTHING:
            exchange(plan, store)  # what a worker could not send
        made = {"execution": {"seconds": round(outcome.seconds, 3), "tasks_done": dict(outcome.done)}}
        try:
            write_results(folder, plan, results, made, store)
        except OSError as error:
            raise RunFailed(
                f"--out {folder}: {error.strerror or error}; what is finished is in the store: "
                "make room or name another folder, then run the same command again"
            ) from error
        told.results(results.document, folder)
    if as_json:
        print_json(results.document)
    else:
        console = stdout_console()
        print_summary(Board.from_json(results.document), console)
        if results.robustness is not None:
            console.print("")
            console.print(on_terminal(results.robustness, console.width, brief=True))
    say_where(said, folder, root)
    for command in added:
        said.print(
            f"The folder had more than this command asks for; to have it again: {command}", soft_wrap=True
        )
    return FAILED if outcome.failures else 0


def _placed(config: RunConfig, track: Sequence[str], hands: "Hands") -> tuple[RunConfig, list[str | None]]:
    """The config as this process plans by it, and the workers' devices; raises BenchError for bad flags."""
    from erasure_bench.bench.tracking.registry import check_trackers

    check_trackers(track)
    hands.check(config)
    places = hands.places(config)
    if hands.executor != "local":  # a cluster's devices need not be here, where nothing is drawn
        return config.model_copy(update={"device": AUTO}), places
    return (config.model_copy(update={"device": places[0]}) if len(places) == 1 else config), places


def dry_run(
    config: RunConfig,
    out: Path | None,
    store_asked: Path | None,
    remote_asked: str | None,
    track: Sequence[str],
    hands: "Hands",
    *,
    as_json: bool,
) -> int:
    """Prints the plan: cells, tasks, how many are in the store, images to draw.

    Raises BenchError for the flags that `full_run` refuses before it draws; asks no bucket and no cluster.
    """
    from erasure_bench.bench.planning.preflight import check_evaluators
    from erasure_bench.bench.planning.tasks import FeatureTask, ScoreTask
    from erasure_bench.bench.running.estimating import estimator_of
    from erasure_bench.bench.running.progress import in_full
    from erasure_bench.bench.running.settled import settled
    from erasure_bench.bench.storage.remote import Remote
    from erasure_bench.bench.storage.store import Store

    config, _ = _placed(config, track, hands)
    root = store_folder(store_asked)
    check_store(root, make=False)
    if (url := remote_url(remote_asked)) is not None:
        Remote(url)
    prepared = settled(config, root).prepared
    plan, store = prepared.plan, Store(root)
    folder = run_folder(out, config, prepared.source.name)
    check_apart(folder, root)
    check_out(folder)
    missing = plan.missing(store)
    todo = plan.unfinished(store)
    measuring = {task.evaluator for task in todo if isinstance(task, ScoreTask | FeatureTask)}
    check_evaluators(each for each in plan.evaluators if each.name in measuring)
    to_do = {task.id for task in todo}
    estimator = estimator_of(plan, todo, store, prepared.general_prompts)
    left, own_making = estimator.left(), estimator.own_making
    tasks = {kind: sum(task.kind == kind for task in plan.tasks) for kind in missing.tasks}
    cells = [
        {
            "method": cell.method.name,
            "concept": cell.case.name,
            "seed": cell.seed,
            "tasks": len(cell.tasks),
            "images": sum(len(task.images) for task in cell.generate),
            "to_do": len({task.id for task in cell.tasks} & to_do),
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
        "methods_make_for_themselves": own_making,
        "estimate": {
            "seconds": None if left.told is None else round(left.told, 1),
            "by_kind": {kind: round(seconds, 1) for kind, seconds in left.seconds.items()},
            "not_known_of": list(left.unknown),
        },
        "cells": cells,
        "store": str(root),
        "base_models": {base.name: base.record() for base in plan.bases},
        "notes": list(prepared.notes),
    }
    if as_json:
        print_json(document)
        return 0
    columns = [
        Column(words(title), tuple(words(cell[key]) for cell in cells), justify=justify)
        for title, key, justify in _DRY_RUN
    ]
    console = stdout_console()
    for table in grids("method", [words(cell["method"]) for cell in cells], columns, console.width):
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
                *(f"  {unit} that methods make for themselves: {own_making[unit]}" for unit in own_making),
                f"  time      {in_full(left)}",
                *(f"left out by the suite: {left.rows} rows ({left.reason})" for left in plan.suite.left_out),
                *prepared.notes,
            ]
        ),
    )
    return 0
