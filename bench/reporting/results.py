"""A run's folder: leaderboard.{json,csv,md}, scores.parquet, features.parquet, images.png, prompts.parquet,
rewritten.csv, robustness.{json,csv,md}, attacks.parquet and run.json.

Every file is put in place whole; run.json goes last and binds the others by their digests.
leaderboard.json alone is enough to print the tables again, run.json and scores.parquet to merge the run
with others.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pandas import DataFrame
from PIL.Image import Image

from erasure_bench.bench.identity.ids import plain
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.agreeing import agreement_notes, agreements
from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.collapsed import collapsed_methods
from erasure_bench.bench.reporting.evidence import Evidence
from erasure_bench.bench.reporting.features import FEATURES, write_feature_table
from erasure_bench.bench.reporting.footnotes import Note, footnotes, guidance_scales
from erasure_bench.bench.reporting.front import front_note, front_of
from erasure_bench.bench.reporting.leaderboard import Row, rows_of, to_frame, to_json
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.bench.reporting.maxima import maxima, too_few
from erasure_bench.bench.reporting.metric_record import metric_record
from erasure_bench.bench.reporting.prompt_list import PROMPTS, write_prompts
from erasure_bench.bench.reporting.record import run_record, write_record
from erasure_bench.bench.reporting.rewritten import REWRITTEN, rewritten_list
from erasure_bench.bench.reporting.robustness import Robustness, robustness_of
from erasure_bench.bench.reporting.robustness_table import csv as robustness_csv
from erasure_bench.bench.reporting.robustness_table import markdown as robustness_markdown
from erasure_bench.bench.reporting.run_file import (
    ALWAYS,
    LEADERBOARD,
    OPTIONAL,
    RESULTS,
    ROBUSTNESS,
    RUN,
    named,
)
from erasure_bench.bench.reporting.sampling import interval_record
from erasure_bench.bench.reporting.scores import protocol_key, write_scores
from erasure_bench.bench.reporting.sets import joined_scores, statistics_of
from erasure_bench.bench.reporting.sheet import save_png
from erasure_bench.bench.reporting.tabled import Measured, tabled
from erasure_bench.bench.reporting.tries import TRIES
from erasure_bench.bench.reporting.verdicts import judged, retests
from erasure_bench.bench.running.progress import describe
from erasure_bench.bench.running.versions import package_versions
from erasure_bench.bench.storage.atomic import locked, remove_temporaries, write_atomically, write_text
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.showing import in_csv, in_json
from erasure_bench.prompt_suites.suite import ROLES, Role

SCORES = "scores.parquet"
SHEET = "images.png"


class Results(NamedTuple):
    """A run's results: what `leaderboard.json` holds, its rows, what they were made from, a contact sheet.

    And the list of the prompts that were rewritten, and what attacks came to, if any.
    """

    document: dict[str, Any]
    rows: list[Row]
    evidence: Evidence
    sheet: Image | None = None
    rewritten: DataFrame | None = None
    robustness: Robustness | None = None


def gather(plan: Plan, evidence: Evidence, notes: Sequence[str | Note] = ()) -> Results:
    """The leaderboard of the plan, with `notes` below it; those of plain words are cautions."""
    sets = statistics_of(plan, evidence.features, evidence.memory)
    asked = measured(plan)
    table = tabled(joined_scores(evidence.scores, sets.scores), asked)
    rows = judged(table, rows_of(table, evidence.failures, evidence.costs))
    between_seeds, between_evaluators = retests(table, rows), agreements(evidence.scores, asked)
    own = [Note(note, "caution") if isinstance(note, str) else note for note in notes]
    agreed = [Note(text) for text in agreement_notes(between_evaluators)]
    front = front_of(table, rows)
    on_front = [Note(text) for text in front_note(front)]
    left_out = [Note(text, "caution") for text in too_few(evidence.scores, asked)]
    said = footnotes(plan, rows, between_seeds, evidence)
    below = [*said, *on_front, *agreed, *sets.notes, *left_out, *own]
    document = {
        "title": title(plan),
        "suite": plan.suite.name,
        "suite_version": plan.suite.version,
        "model": plan.model.name,
        "model_digest": plan.model.digest,
        "plan": plan.id,
        "methods": [method.name for method in plan.methods],
        "baseline": plan.methods[0].name,
        "concepts": [case.name for case in plan.cases],
        "seeds": list(plan.config.seeds),
        "protocol": plain(plan.suite.protocol),
        "guidance_scales": guidance_scales(plan),
        "interval": interval_record(plan),
        "left_out": [plain(left._asdict()) for left in plan.suite.left_out],
        "evaluators": {
            evaluator.name: {
                "key": protocol_key(evaluator.protocol),
                "protocol": plain(evaluator.protocol),
                "metrics": [metric_record(metric) for metric in evaluator.metrics],
            }
            for evaluator in plan.evaluators
        },
        "collapsed": collapsed_methods(rows),
        "front": front.record() if front else None,
        "retest": [agreement._asdict() for agreement in between_seeds],
        "agreement": [
            {"question": each.question, "one": each.one, "other": each.other, **each.found._asdict()}
            for each in between_evaluators
        ],
        "maxima": [maximum._asdict() for maximum in maxima(evidence.scores, asked)],
        "versions": package_versions(),
        "drawn_with": dict(evidence.drawn_with),
        "failures": [describe(failure) for failure in evidence.failures],
        "notes": [note.text for note in below],
        "cautions": [note.text for note in below if note.weight == "caution"],
        "provenance": [note.text for note in below if note.weight == "provenance"],
        "rows": [to_json(row) for row in rows],
    }
    rewritten = rewritten_list(plan.suite) if plan.suite.rewritten else None
    robustness = None
    if evidence.tries is not None:
        failed = [describe(failure) for failure in evidence.failures if failure.role in (None, "attack")]
        robustness = robustness_of(plan, evidence.scores, evidence.tries, title(plan), failed)
    return Results(document, rows, evidence, rewritten=rewritten, robustness=robustness)


def write_results(
    folder: Path, plan: Plan, results: Results, made: Mapping[str, Any], store: Store | None = None
) -> None:
    """Writes the run's folder; raises OSError where it cannot.

    `made` says in run.json how the results came about; `store` holds the pictures and edits, if any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        _forget_earlier(folder)
        write_text(folder / f"{LEADERBOARD}.json", in_json(results.document))
        write_text(folder / f"{LEADERBOARD}.md", markdown(Board.from_json(results.document)))
        _write_csv(folder / f"{LEADERBOARD}.csv", to_frame(results.rows))
        write_atomically(folder / SCORES, lambda path: write_scores(path, results.evidence.scores))
        write_atomically(folder / PROMPTS, lambda path: write_prompts(path, plan.prompts))
        written = [*ALWAYS, PROMPTS]
        if features := results.evidence.features:
            write_atomically(folder / FEATURES, lambda path: write_feature_table(path, features))
            written.append(FEATURES)
        if (sheet := results.sheet) is not None:
            write_atomically(folder / SHEET, lambda path: save_png(sheet, path))
            written.append(SHEET)
        if results.rewritten is not None:
            _write_csv(folder / REWRITTEN, results.rewritten)
            written.append(REWRITTEN)
        if results.robustness is not None:
            written += _write_robustness(folder, results.robustness, results.evidence)
        record = run_record(plan, results.document, results.evidence, made, store)
        write_record(folder, record, written)


def _forget_earlier(folder: Path) -> None:
    """Removes an earlier run's files, and no file that is not known to be one.

    Those that every run has are replaced in their places; run.json never stands beside files that are not
    its own, but for optional ones that are no longer there.
    """
    for name in named(folder / RUN):
        if name in OPTIONAL:
            (folder / name).unlink(missing_ok=True)
    (folder / RUN).unlink(missing_ok=True)
    remove_temporaries(folder, (RUN, *RESULTS))


def _write_robustness(folder: Path, robustness: Robustness, evidence: Evidence) -> list[str]:
    """The names of the files that it wrote."""
    write_text(folder / f"{ROBUSTNESS}.json", in_json(robustness.document()))
    write_text(folder / f"{ROBUSTNESS}.csv", robustness_csv(robustness))
    write_text(folder / f"{ROBUSTNESS}.md", robustness_markdown(robustness))
    if (tries := evidence.tries) is not None:
        write_atomically(folder / TRIES, lambda path: tries.to_parquet(path, index=False))
    return [*(f"{ROBUSTNESS}.{form}" for form in ("json", "csv", "md")), TRIES]


def _write_csv(path: Path, table: DataFrame) -> None:
    safe = table.map(lambda cell: in_csv(cell) if isinstance(cell, str) else cell)
    write_atomically(path, lambda temporary: safe.to_csv(temporary, index=False))


def measured(plan: Plan) -> Measured:
    """What the plan's leaderboard has rows for."""
    present = {cell.case.name: {task.images.role for task in cell.generate} for cell in plan.cells}
    roles: dict[str, tuple[Role, ...]] = {
        concept: tuple(role for role in ROLES if role in found) for concept, found in present.items()
    }
    return Measured(
        methods=[method.name for method in plan.methods],
        baseline=plan.methods[0].name,
        roles=roles,
        metrics=[(evaluator.name, metric) for evaluator in plan.evaluators for metric in evaluator.metrics],
        seeds=plan.config.seeds,
        pictures=_pictures(plan),
        models={(cell.method.name, cell.case.name, cell.seed): cell.model for cell in plan.cells},
        references=frozenset(method.name for method in plan.methods if method.base),
        rewrites={prompt.id: prompt.rewrites for prompt in plan.prompts if prompt.rewrites is not None},
    )


def _pictures(plan: Plan) -> dict[tuple[str, str, Role], int]:
    """How many different ones there should be; cells of several seeds may share some."""
    tasks = {
        (cell.method.name, cell.case.name, task.images.role, task.id): len(task.images)
        for cell in plan.cells
        for task in cell.generate
    }
    counts: Counter[tuple[str, str, Role]] = Counter()
    for (method, concept, role, _), count in tasks.items():
        counts[method, concept, role] += count
    return counts


def title(plan: Plan) -> str:
    """The leaderboard's heading."""
    cases = plan.cases
    what = cases[0].name if len(cases) == 1 else f"mean over {len(cases)} concepts"
    return f"{plan.suite.title} ({plan.suite.name} {plan.suite.version}) on {plan.model.name}: {what}"
