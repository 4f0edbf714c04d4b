"""`bench score`, `bench details`: a finished run scored further or rated, and what is behind its scores."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from erasure_bench.bench.cli.output import (
    FAILED,
    PlainConsole,
    RunFailed,
    print_json,
    say_where,
    stderr_console,
    stdout_console,
    words,
)
from erasure_bench.bench.cli.paths import RUNS, store_folder
from erasure_bench.bench.planning.config import Options
from erasure_bench.bench.sharing.finding import find_own_run
from erasure_bench.errors import BenchError, UnknownName

if TYPE_CHECKING:
    from erasure_bench.bench.planning.plan import Plan
    from erasure_bench.bench.reporting.finished import Finished
    from erasure_bench.bench.reporting.footnotes import Note
    from erasure_bench.bench.reporting.results import Results
    from erasure_bench.bench.storage.store import Store


def score_with(
    run: str,
    evaluators: Sequence[str],
    options: Mapping[str, Options],
    preset: str | None,
    store_asked: Path | None,
    data_dir: Path | None,
    device: str | None,
    *,
    redraw: bool,
    trust_code: bool,
    as_json: bool,
) -> int:
    """Adds the evaluators' scores to the run's folder and prints its leaderboard; draws only to `redraw`."""
    from erasure_bench.bench.cli.workers import worker_of
    from erasure_bench.bench.planning.chosen import evaluator_name
    from erasure_bench.bench.planning.devices import check_devices
    from erasure_bench.bench.planning.more_evaluators import as_asked, with_evaluators
    from erasure_bench.bench.planning.prepare import prepare
    from erasure_bench.bench.planning.tasks import Task
    from erasure_bench.bench.reporting.completing import complete
    from erasure_bench.bench.reporting.evidence import Evidence
    from erasure_bench.bench.reporting.finished import (
        as_recorded,
        check_same_pictures,
        known_outcome,
        ratings_of,
        read_finished,
        scored_anew,
    )
    from erasure_bench.bench.reporting.rated import joined
    from erasure_bench.bench.reporting.results import Results, gather
    from erasure_bench.bench.running.estimating import Estimator, estimator_of
    from erasure_bench.bench.running.executor import DRAWING, NOTHING, Reporter
    from erasure_bench.bench.running.journal import journal_of
    from erasure_bench.bench.running.progress import LiveProgress
    from erasure_bench.bench.running.together import Together
    from erasure_bench.bench.storage.store import Store

    said = stderr_console()
    finished = read_finished(_folder(run), trust_code=trust_code)
    ratings = ratings_of(finished)
    root = finished.store(store_asked)
    asked = as_asked(evaluators, preset)
    config = with_evaluators(finished.config, finished.evaluators, asked, options)
    changes = {"data_dir": data_dir or config.data_dir, "device": device or config.device}
    config = config.model_copy(update=changes)
    check_devices(config)
    prepared = prepare(config, root)
    plan = prepared.plan
    check_same_pictures(plan, finished)
    for name in scored_anew(plan, finished):
        said.print(words(f"{name}: other code, weights or settings than in the run: scored anew", "dim"))
    notes = finished.skipped(evaluator.name for evaluator in plan.evaluators)
    with Store(root) as store, journal_of(finished.folder, plan, store) as journal:
        known = NOTHING
        if not redraw:
            again = ["bench", "score", run, "--evaluators", ",".join(asked), "--redraw"]
            known = known_outcome(plan, finished, store, shlex.join(again))
        worker = worker_of(prepared, store)
        todo = sum(count for kind, count in plan.missing(store).tasks.items() if kind not in DRAWING)
        said.print(f"{len(plan.cells)} cells, {todo} tasks of scoring to do; pictures from {root}")

        def estimate(todo: tuple[Task, ...]) -> Estimator:
            return estimator_of(plan, todo, store, prepared.general_prompts)

        def results_of(evidence: Evidence) -> Results:
            rated = joined(plan, as_recorded(evidence, plan, finished, store), ratings)
            return gather(rated.plan, rated.evidence, (*notes, *rated.notes))

        def reporter() -> Reporter:
            live = LiveProgress(said, estimate)
            journal.left = live.left
            return Together((live, journal))

        outcome, results = complete(
            plan,
            worker,
            store,
            reporter,
            draw=redraw,
            earlier=known,
            results_of=results_of,
        )
        scored = {"seconds": round(outcome.seconds, 3), "tasks_done": dict(outcome.done)}
        made = {**finished.made, "scored": scored}
        _write(finished.folder, plan, results, made, store)
    added = [evaluator_name(name) for name in asked]
    _show(said, results, added, finished.folder, root, as_json=as_json)
    return FAILED if outcome.failures else 0


def score_by_people(
    run: str,
    file: Path,
    name: str | None,
    metrics: Sequence[str],
    store_asked: Path | None,
    data_dir: Path | None,
    *,
    trust_code: bool,
    as_json: bool,
) -> int:
    """Joins a file of ratings to the run's folder and prints its leaderboard; needs no picture."""
    from erasure_bench.bench.reporting.finished import keep_ratings, kept_sheet, ratings_of, read_finished
    from erasure_bench.bench.reporting.merging import Part, merged
    from erasure_bench.bench.reporting.rated import joined
    from erasure_bench.bench.reporting.rating_file import read_ratings
    from erasure_bench.bench.reporting.results import gather
    from erasure_bench.bench.storage.store import Store

    said = stderr_console()
    given = read_ratings(file, name, metrics)
    finished = read_finished(_folder(run), trust_code=trust_code)
    files = [*ratings_of(finished, without=given.name), given]
    plan = _planned(finished, store_asked, data_dir)
    evidence = merged(plan, [Part(finished.folder, dict(finished.record))])
    rated = joined(plan, evidence, files)
    if given.ignored:
        said.print(words(f"{file}: nothing is read from the columns {', '.join(given.ignored)}", "dim"))
    notes: list[str | Note] = [*finished.skipped(each.name for each in plan.evaluators), *rated.notes]
    results = gather(rated.plan, rated.evidence, notes)._replace(sheet=kept_sheet(finished))
    root = finished.record["store"]
    try:
        made = {**finished.made, "ratings": keep_ratings(finished.folder, files)}
    except OSError as error:
        raise RunFailed(f"{finished.folder}: {error.strerror or error}") from error
    _write(finished.folder, plan, results, made, Store(Path(root)) if root else None)
    for note in rated.notes:
        said.print(words(note.text, "" if note.weight == "caution" else "dim"), soft_wrap=True)
    _show(said, results, [given.name], finished.folder, None, as_json=as_json)
    return FAILED if evidence.failures else 0


def write_template(
    run: str,
    file: Path,
    name: str | None,
    metrics: Sequence[str],
    seed: int,
    store_asked: Path | None,
    data_dir: Path | None,
    *,
    trust_code: bool,
) -> int:
    """Writes the form for raters, with copies of the run's pictures, and prints where."""
    from erasure_bench.bench.reporting.finished import check_same_pictures, read_finished
    from erasure_bench.bench.reporting.rating_form import write_form
    from erasure_bench.bench.storage.store import Store

    finished = read_finished(_folder(run), trust_code=trust_code)
    root = finished.store(store_asked)
    plan = _planned(finished, store_asked, data_dir)
    check_same_pictures(plan, finished)
    form = write_form(plan, Store(root), file, name, metrics, seed)
    said = stderr_console()
    if form.missing:
        said.print(f"{form.missing} pictures are not in the store {root}: they are left out")
    said.print(f"{form.pictures} pictures in {form.folder}; fill in the column value, then:", soft_wrap=True)
    said.print(f"  bench score {shlex.quote(run)} --scores {shlex.quote(str(file))}", soft_wrap=True)
    stdout_console().print(str(form.file), soft_wrap=True)
    return 0


def write_details(
    run: str,
    evaluator: str,
    out: Path | None,
    store_asked: Path | None,
    data_dir: Path | None,
    *,
    trust_code: bool,
) -> int:
    """Writes what an evaluator keeps of each picture beside its scores: to stdout as CSV, or to a file."""
    import sys

    from erasure_bench.bench.reporting.details import collect_details
    from erasure_bench.bench.reporting.finished import read_finished
    from erasure_bench.bench.storage.store import Store

    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise BenchError(f"--out {out}: what kind of file? valid: FILE.csv, FILE.parquet")
    finished = read_finished(_folder(run), trust_code=trust_code)
    plan, root = _planned(finished, store_asked, data_dir), finished.store(store_asked)
    names = [chosen.name for chosen in plan.evaluators]
    if evaluator not in names:
        raise UnknownName(f"evaluator of {run}", evaluator, names, "EVALUATOR")
    with Store(root) as store:
        found = collect_details(plan, store, evaluator)
    if found.lacking:
        stderr_console().print(
            f"{found.lacking} sets of scores are not in the store {root}: they are left out"
        )
    if not found.scored:
        raise BenchError(f"{evaluator} keeps nothing beside its scores here, which are in scores.parquet")
    if out is None:
        found.rows.to_csv(sys.stdout, index=False)
        return 0
    form = found.rows.to_csv if out.suffix == ".csv" else found.rows.to_parquet
    try:
        form(out, index=False)
    except OSError as error:
        raise BenchError(f"--out {out}: {error.strerror or error}") from error
    stderr_console().print(f"{len(found.rows)} rows in {out}", soft_wrap=True)
    return 0


def _folder(run: str) -> Path:
    """The run's folder. Raises BenchError where there is none, or where the run never came to its end."""
    from erasure_bench.bench.reporting.run_file import RUN

    try:
        return find_own_run(run, RUN)
    except BenchError:
        for place in (Path(run), RUNS / run):
            if place.is_dir():
                raise BenchError(
                    f"{place}: the run has no {RUN}, as it was stopped before its end: the same bench run "
                    "goes on, and --evaluators takes more of them"
                ) from None
        raise


def _planned(finished: "Finished", store_asked: Path | None, data_dir: Path | None) -> "Plan":
    """The run's plan made again; the store is where resolved settings are remembered."""
    from erasure_bench.bench.planning.more_evaluators import with_evaluators
    from erasure_bench.bench.planning.prepare import prepare

    config = with_evaluators(finished.config, finished.evaluators, (), {})
    if data_dir:
        config = config.model_copy(update={"data_dir": data_dir})
    root = finished.record["store"]
    return prepare(config, store_asked or (Path(root) if root else store_folder(None))).plan


def _write(
    folder: Path, plan: "Plan", results: "Results", made: Mapping[str, Any], store: "Store | None"
) -> None:
    from erasure_bench.bench.reporting.results import write_results

    try:
        write_results(folder, plan, results, made, store)
    except OSError as error:
        raise RunFailed(
            f"{folder}: {error.strerror or error}; what was scored is in the store: make room, then run the "
            "same command again"
        ) from error


def _show(
    said: PlainConsole,
    results: "Results",
    added: Sequence[str],
    folder: Path,
    store: Path | None,
    *,
    as_json: bool,
) -> None:
    """The whole leaderboard as JSON, or what the `added` evaluators have in it."""
    from erasure_bench.bench.reporting.board import Board
    from erasure_bench.bench.reporting.tables import print_whole

    document = results.document
    if as_json:
        print_json(document)
    else:
        rows = [row for row in document["rows"] if row["evaluator"] in added]
        own = {"rows": rows, "notes": document["cautions"], "provenance": []}
        print_whole(Board.from_json({**document, **own}), stdout_console())
    say_where(said, folder, store)
