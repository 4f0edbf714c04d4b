"""Does a plan and reads its results back, until nothing that was read is damaged."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.planning.tasks import FeatureTask, ScoreTask
from erasure_bench.bench.reporting.evidence import Evidence, of_store
from erasure_bench.bench.reporting.results import Results, gather
from erasure_bench.bench.reporting.sheet import contact_sheet
from erasure_bench.bench.running.executor import NOTHING, Outcome, Reporter, Work, execute
from erasure_bench.bench.running.worker import Worker
from erasure_bench.bench.storage.store import DamagedEntry, Store


class Completed(NamedTuple):
    """What all passes together did, and what came of it."""

    outcome: Outcome
    results: Results


def complete(
    plan: Plan,
    worker: Worker | Work,
    store: Store,
    reporter: Callable[[], Reporter],
    notes: Sequence[str] = (),
    *,
    draw: bool = True,
    earlier: Outcome = NOTHING,
    results_of: Callable[[Evidence], Results] | None = None,
) -> Completed:
    """Executes the plan and gathers its results, contact sheet included; each pass has its own reporter.

    `draw` and `earlier` are those of `execute`; `results_of` gathers in another way.

    An entry that turns out to be damaged while the results are read is made anew in another pass, and so
    is whatever else of the scores is damaged. Raises what `execute` raises: a StoreError too where the same
    entry is damaged again and again.
    """
    outcome = earlier
    while True:
        outcome = execute(plan, worker, store, reporter(), outcome, draw=draw)
        try:
            evidence = of_store(plan, store, outcome.failures)
            results = results_of(evidence) if results_of else gather(plan, evidence, notes)
            return Completed(outcome, results._replace(sheet=contact_sheet(plan, store)))
        except DamagedEntry:
            _set_damaged_scores_aside(plan, store)


def _set_damaged_scores_aside(plan: Plan, store: Store) -> None:
    """One damaged entry is rarely alone: looks for the others at once, not one in every pass."""
    for task in plan.tasks:
        if isinstance(task, ScoreTask | FeatureTask) and store.has(task.kind, task.id):
            with suppress(DamagedEntry):
                store.entry(task.kind, task.id).checked()
