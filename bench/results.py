"""A run's folder: leaderboard.{json,csv,md}, scores.parquet, images.png and run.json.

Every file is put in place whole; run.json goes last. leaderboard.json alone is enough to print
the tables again.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pandas import DataFrame

from bench.atomic import write_atomically, write_text
from bench.bootstrap import CONFIDENCE, RESAMPLES
from bench.chosen import ChosenMethod
from bench.executor import Outcome
from bench.ids import plain
from bench.leaderboard import Measured, Row, build_leaderboard, to_frame, to_json
from bench.plan import Plan
from bench.progress import describe
from bench.scores import collect_costs, collect_scores, protocol_key
from bench.sheet import contact_sheet, save_png
from bench.store import Store
from bench.tables import Board, markdown
from bench.versions import git_revision, hardware, package_versions
from prompt_suites.suite import ROLES, Role

LEADERBOARD = "leaderboard"
SCORES = "scores.parquet"
RUN = "run.json"
SHEET = "images.png"
DEVICE = "device"
DRAWING = (DEVICE, "erasure-bench", "torch", "diffusers")
"""What a picture depends on besides its task."""


class Results(NamedTuple):
    """A run's results: what `leaderboard.json` holds, all scores, and the rows."""

    document: dict[str, Any]
    scores: DataFrame
    rows: list[Row]


def gather(plan: Plan, store: Store, outcome: Outcome, notes: Sequence[str] = ()) -> Results:
    """The leaderboard of what the store holds of the plan."""
    scores = collect_scores(plan, store)
    costs = collect_costs(plan, store)
    rows = build_leaderboard(scores, measured(plan), outcome.failures, costs)
    drawn = drawn_with(plan, store)
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
        "interval": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "resampled": "prompts"},
        "left_out": [plain(left._asdict()) for left in plan.suite.left_out],
        "evaluators": {
            evaluator.name: {"key": protocol_key(evaluator.protocol), "protocol": plain(evaluator.protocol)}
            for evaluator in plan.evaluators
        },
        "versions": package_versions(),
        "drawn_with": drawn,
        "failures": [describe(failure) for failure in outcome.failures],
        "notes": [*footnotes(plan, rows, store, drawn), *notes],
        "rows": [to_json(row) for row in rows],
    }
    return Results(document, scores, rows)


def write_results(folder: Path, plan: Plan, store: Store, outcome: Outcome, results: Results) -> None:
    """Writes the run's folder; raises OSError where it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{LEADERBOARD}.json", to_text(results.document))
    write_text(folder / f"{LEADERBOARD}.md", markdown(Board.from_json(results.document)))
    write_atomically(
        folder / f"{LEADERBOARD}.csv", lambda path: to_frame(results.rows).to_csv(path, index=False)
    )
    write_atomically(folder / SCORES, lambda path: results.scores.to_parquet(path, index=False))
    if (sheet := contact_sheet(plan, store)) is not None:
        write_atomically(folder / SHEET, lambda path: save_png(sheet, path))
    write_text(folder / RUN, to_text(_run_record(plan, store, outcome, results)))


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


def footnotes(plan: Plan, rows: Sequence[Row], store: Store, drawn: Mapping[str, Sequence[str]]) -> list[str]:
    """What a reader must know to compare the numbers; `drawn` as `drawn_with` gives it."""
    protocol, config = plan.suite.protocol, plan.config
    images = [image for cell in plan.cells for task in cell.generate for image in task.images.images]
    sizes = sorted({f"{image.width}×{image.height}" for image in images})
    scales = sorted({image.guidance_scale for image in images})
    seeds = ", ".join(str(seed) for seed in config.seeds)
    own = " (prompts' own seeds)" if any(image.prompt.seed is not None for image in images) else ""
    counts = [
        f"{role} {len({image.prompt.id for image in images if image.prompt.role == role})}"
        for role in ROLES
        if any(image.prompt.role == role for image in images)
    ]
    notes = [
        f"Protocol: {protocol.scheduler}, {protocol.steps} steps, η {protocol.eta:g}, guidance scale "
        f"{_few(f'{scale:g}' for scale in scales)}, {_few(sizes)} pixels, {config.dtype}, "
        f"{protocol.images_per_prompt} per prompt, seeds {seeds}{own}; the same for every method.",
        f"Base model {plan.model.name}, weights {plan.model.digest[:12]}. Prompts: {', '.join(counts)}"
        + (f", the first {config.limit} of each role and concept only (--limit)." if config.limit else "."),
    ]
    notes += [
        f"Row {method.name}: another base model, weights {method.base.digest[:12]}."
        for method in plan.methods
        if method.base
    ]
    notes += [
        f"Row {method.name}: {'; '.join([str(method.weights), *about['read_as']])}."
        for method, about in _user_weights(plan, store)
    ]
    for case in plan.cases:
        asked = len(plan.suite.prompts[case.concept.name])
        if dropped := asked - len(case.prompts(plan.suite)):
            notes.append(f"{case.name}: {dropped} prompts that ask to keep what else is erased are left out.")
    if plan.suite.left_out:
        total = sum(left.rows for left in plan.suite.left_out)
        reasons = "; ".join(f"{left.rows}: {left.reason}" for left in plan.suite.left_out)
        notes.append(f"Left out by the suite: {total} rows ({reasons}).")
    baseline = plan.methods[0].name
    notes.append(
        f"[low, high]: {CONFIDENCE:.0%} interval, bootstrap over prompts ({RESAMPLES:,} resamples). "
        f"In parentheses: change against {baseline} on the same prompts and noise."
        + (
            " Over several concepts: their mean, prompts resampled within each."
            if len(plan.cases) > 1
            else ""
        )
    )
    notes += [
        f"{evaluator.name} [{protocol_key(evaluator.protocol)}]: {_in_words(evaluator.protocol)}"
        for evaluator in plan.evaluators
    ]
    if missing := [row for row in rows if row.scope == "concept" and row.missing]:
        worst = max(missing, key=lambda row: row.missing)
        notes.append(
            f"Scores are missing in {len(missing)} numbers; most: {worst.missing} of "
            f"{worst.missing + worst.images} of {worst.method}, {worst.concept}, {worst.role}, {worst.title}."
        )
    if any(row.status == "partial" for row in rows):
        notes.append("*: pictures are missing; the number is that of the others, never marked as best.")
    presets = sorted({method.preset for method in plan.methods[1:]})
    made_with = ", ".join(f"{name} {' and '.join(found)}" for name, found in drawn.items() if name != DEVICE)
    notes.append(
        f"Method presets: {', '.join(presets) or 'none'}. "
        + (f"Drawn on {', '.join(drawn[DEVICE])}; {made_with}." if drawn else "Nothing drawn.")
    )
    if any(len(found) > 1 for name, found in drawn.items() if name != DEVICE):
        notes.append("Pictures of several versions are compared: a difference may be the versions' own.")
    return notes


def to_text(document: Any) -> str:
    """Readable JSON with keys in their given order; refuses NaN, which JSON has not."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_document(folder: Path) -> dict[str, Any]:
    """A run's `leaderboard.json`; raises OSError or ValueError."""
    document: dict[str, Any] = json.loads((folder / f"{LEADERBOARD}.json").read_text(encoding="utf-8"))
    return document


def _run_record(plan: Plan, store: Store, outcome: Outcome, results: Results) -> dict[str, Any]:
    head = {key: value for key, value in results.document.items() if key not in ("rows", "notes", "failures")}
    return {
        **head,
        "config": json.loads(plan.config.model_dump_json()),
        "git": git_revision(),
        "hardware": hardware(),
        "suite_source": plan.suite.source,
        "model_resolution": plan.sizes.resolution,
        "size_multiple": plan.sizes.multiple,
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
        "concept_definitions": {case.name: plain(case) for case in plan.cases},
        "notes": results.document["notes"],
        "execution": {"seconds": round(outcome.seconds, 3), "tasks_done": dict(outcome.done)},
        "failures": [
            {
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
            for failure in outcome.failures
        ],
        "store": str(store.root.resolve()),
        "cells": [
            {
                "method": cell.method.name,
                "concept": cell.case.name,
                "seed": cell.seed,
                "edit": f"erase/{cell.erase.id[:2]}/{cell.erase.id}",
                "images": {
                    role: [
                        f"generate/{task.id[:2]}/{task.id}"
                        for task in cell.generate
                        if task.images.role == role
                    ]
                    for role in dict.fromkeys(task.images.role for task in cell.generate)
                },
            }
            for cell in plan.cells
        ],
    }


def _user_weights(plan: Plan, store: Store) -> Iterator[tuple[ChosenMethod, Mapping[str, Any]]]:
    """Rows that are a user's checkpoint, with what was noted of it when it was read."""
    seen = set()
    for cell in plan.cells:
        task = cell.erase
        if cell.method.weights and task.id not in seen and store.has(task.kind, task.id):
            seen.add(task.id)
            yield cell.method, store.entry(task.kind, task.id).about


def drawn_with(plan: Plan, store: Store) -> dict[str, list[str]]:
    """Device and versions that the store's pictures of this plan come from; empty where there are none."""
    found: dict[str, set[str]] = {}
    tasks = {task.id: task for cell in plan.cells for task in cell.generate}
    for task in tasks.values():
        if store.has(task.kind, task.id):
            about = store.entry(task.kind, task.id).about
            for name, value in {DEVICE: about["device_name"], **about["versions"]}.items():
                if name in DRAWING:
                    found.setdefault(name, set()).add(str(value))
    return {name: sorted(found[name]) for name in DRAWING if name in found}


def _few(values: Any) -> str:
    words = list(values)
    return ", ".join(words) if len(words) <= 3 else f"{words[0]} … {words[-1]} ({len(words)} values)"


def _in_words(protocol: Any) -> str:
    """A protocol in one line; digests are cut to twelve digits, nested parts left to run.json."""
    parts = []
    for key, value in protocol.items():
        if isinstance(value, dict) or value is None:
            continue
        text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        is_digest = len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
        text = text[:12] if is_digest else text if len(text) <= 80 else f"{text[:77]}…"
        parts.append(f"{key} {text}")
    return "; ".join(parts)
