"""run.json: what a run was asked to do, with what it did it, and its cells with what they cost."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from erasure_bench.bench.identity.ids import plain
from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import Task
from erasure_bench.bench.reporting.evidence import CellKey, Evidence
from erasure_bench.bench.reporting.run_file import RESULTS, RUN, Json, opened, sealed
from erasure_bench.bench.reporting.scores import CellCost
from erasure_bench.bench.reporting.started import STARTED, started
from erasure_bench.bench.running.failures import Failure
from erasure_bench.bench.running.versions import git_revision, hardware
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.words.showing import in_json

_ELSEWHERE = ("rows", "notes", "cautions", "provenance", "failures")
"""What leaderboard.json has and run.json has not, or in another form."""
OF_ONE_STORE = ("edit", "images", "besides")
"""What a cell of run.json says of a store that nobody else has."""


def run_record(
    plan: Plan, document: Mapping[str, Any], evidence: Evidence, made: Mapping[str, Any], store: Store | None
) -> Json:
    """What run.json holds; `document` is leaderboard.json's."""
    return {
        **{key: value for key, value in document.items() if key not in _ELSEWHERE},
        "config": json.loads(plan.config.model_dump_json()),
        "git": git_revision(),
        "hardware": hardware(),
        "suite_source": plan.suite.source,
        "model_resolution": plan.sizes.resolution,
        "size_multiple": plan.sizes.multiple,
        "base_models": {base.name: base.record() for base in plan.bases},
        **made_by(plan),
        "concept_definitions": {case.name: plain(case) for case in plan.cases},
        "read_as": dict(evidence.read_as),
        "notes": document["notes"],
        **({} if store is None else started(plan.config)),
        **made,
        "failures": [_failure_record(failure) for failure in evidence.failures],
        "store": str(store.root.resolve()) if store else None,
        "cells": [_cell_record(cell, evidence, store) for cell in plan.cells],
    }


def made_by(plan: Plan) -> Json:
    """The part of run.json that says by which code, in which settings."""
    return {
        "method_settings": [
            {
                "method": method.name,
                "preset": method.preset,
                "options": dict(method.options),
                "settings": dict(method.settings),
                "code": method.code,
                "base": (method.base or plan.model).digest,
                "weights": str(method.weights) if method.weights else None,
            }
            for method in plan.methods
        ],
        "evaluator_code": {evaluator.name: evaluator.code for evaluator in plan.evaluators},
    }


def read_record(run: Path) -> Json:
    """A run's run.json; raises BenchError where it cannot be read, or is not what this version wrote."""
    return opened(run / RUN)


def write_record(run: Path, record: Mapping[str, Any], results: Iterable[str] = RESULTS) -> None:
    """Writes run.json, the last file of a run's folder: bound to the results beside it. Raises OSError."""
    write_text(run / RUN, in_json(sealed(record, run, results)))


def cost_of(cell: Mapping[str, Any]) -> CellCost:
    """What a cell of run.json cost; more than that may stand there."""
    return CellCost(**{name: cell["cost"][name] for name in CellCost._fields})


def failure_of(record: Mapping[str, Any]) -> Failure:
    """A failure of run.json; more than that may stand there."""
    known = {name: record[name] for name in Failure.__annotations__}
    return Failure(**{**known, "losses": tuple(float(loss) for loss in record["losses"])})


def portable(record: Mapping[str, Any]) -> Json:
    """The record without what only holds where the run was made: its store, and where it was started."""
    cells = [
        {key: value for key, value in cell.items() if key not in OF_ONE_STORE} for cell in record["cells"]
    ]
    return {key: value for key, value in record.items() if key != STARTED} | {"store": None, "cells": cells}


def key_of(cell: Mapping[str, Any]) -> CellKey:
    """Which cell of a plan a cell of run.json is."""
    return cell["method"], cell["concept"], cell["seed"]


def _cell_record(cell: Cell, evidence: Evidence, store: Store | None) -> Json:
    key: CellKey = (cell.method.name, cell.case.name, cell.seed)
    about: Json = dict(zip(("method", "concept", "seed"), key, strict=True)) | {
        "id": cell.id,
        "model": cell.model,
        "cost": evidence.costs[key]._asdict(),
    }
    if store is None:
        return about
    # Edits that came before it, and what attacks made of it or were held against.
    others = (*cell.erase.earlier, *(task for task in cell.assaults if task.kind in ("erase", "generate")))
    return about | {
        "edit": _entry(cell.erase),
        "images": {
            role: [_entry(task) for task in cell.generate if task.images.role == role]
            for role in dict.fromkeys(task.images.role for task in cell.generate)
        },
        "besides": [_entry(task) for task in others],
    }


def _entry(task: Task) -> str:
    """Where the store has it."""
    return f"{task.kind}/{task.id[:2]}/{task.id}"


def _failure_record(failure: Failure) -> Json:
    return {
        "method": failure.method,
        "concept": failure.concept,
        "seed": failure.seed,
        "stage": failure.stage,
        "role": failure.role,
        "evaluator": failure.evaluator,
        "reason": failure.reason,
        "trace": failure.trace,
        "losses": [loss if math.isfinite(loss) else str(loss) for loss in failure.losses],
    }
