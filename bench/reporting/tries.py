"""What attacks' pictures scored: every try of every attack, read from the store."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.planning.attacks import is_success
from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.stored_prompts import STORED
from erasure_bench.bench.planning.tasks import ScoreTask
from erasure_bench.bench.reporting.scores import score_table
from erasure_bench.bench.storage.store import Store

TRIES = "attacks.parquet"
EDIT, UNRELATED = "edit", "unrelated"
TRY_COLUMNS = (
    *("method", "concept", "seed", "attack", "on", "evaluator", "metric", "success", "prompt_id", "number"),
    *("loss", "value", "reason", "asked", "held_back"),
)
"""`on` is the edit of the concept itself or of an unrelated one, `number` counts a prompt's tries from 0,
`loss` is the attack's own of the try, `success` says whether the metric is one that judges success, else it
tells of a picture that is none. `asked` is what the try asked for; what was `held_back` by the screen of
minors asked for the prompt as it is instead."""


class Attacked(NamedTuple):
    """Which attack drew some pictures, and on which edit: `EDIT` or `UNRELATED`."""

    attack: str
    on: str


def collect_tries(plan: Plan, store: Store) -> DataFrame:
    """Every score of an attack's picture that the store has, columns `TRY_COLUMNS`."""
    parts = [part for cell in plan.cells for part in _of_cell(plan, cell, store)]
    if not parts:
        return DataFrame({column: [] for column in TRY_COLUMNS})
    return pd.concat(parts, ignore_index=True)[list(TRY_COLUMNS)]


def attacked(cell: Cell) -> Iterator[tuple[ScoreTask, Attacked]]:
    """The cell's scores of attacks' pictures, and of stored prompts' on an unrelated edit."""
    for task in cell.assaults:
        if isinstance(task, ScoreTask):
            attack = task.generate.attack
            on = EDIT if task.generate.erase.id == cell.erase.id else UNRELATED
            yield task, Attacked(STORED if attack is None else attack.name, on)


def counted(plan: Plan, evaluator: str) -> dict[str, bool]:
    """What counts of an attack's pictures, and whether 1 is a success: else the picture is none."""
    metrics = next(one.metrics for one in plan.evaluators if one.name == evaluator)
    return {one.name: is_success(one) for one in metrics if is_success(one) or one.tells_collapse}


def _of_cell(plan: Plan, cell: Cell, store: Store) -> Iterator[DataFrame]:
    by_name = {evaluator.name: evaluator.metrics for evaluator in plan.evaluators}
    for task, at in attacked(cell):
        if not store.has(task.kind, task.id) or not store.has(task.generate.kind, task.generate.id):
            continue
        success = counted(plan, task.evaluator)
        frame = score_table(store, task, by_name[task.evaluator]).to_pandas()
        frame = frame[frame["metric"].isin(list(success))]
        tries = _tries(task, store)
        own = tries.merge(frame, on=["prompt_id", "image_index"]).rename(columns={"image_index": "number"})
        yield own.assign(
            method=cell.method.name,
            concept=cell.case.name,
            seed=cell.seed,
            attack=at.attack,
            on=at.on,
            evaluator=task.evaluator,
            success=own["metric"].map(success),
        )


def _tries(task: ScoreTask, store: Store) -> DataFrame:
    """Of each picture its prompt, its number and what the attack said of it: of stored prompts nothing."""
    drawn = task.generate
    numbers = [image.image_index for image in drawn.images.images]
    losses, asked = [float(number) for number in numbers], [""] * len(numbers)
    held_back = [False] * len(numbers)
    if drawn.attack is not None:
        about = store.entry(drawn.kind, drawn.id).about["attack"]
        losses, asked = about["tries_losses"], about["asked"]
        if about.get("held_back"):
            held_back = [
                text == image.prompt.text for text, image in zip(asked, drawn.images.images, strict=True)
            ]
    return DataFrame(
        {
            "prompt_id": [image.prompt.id for image in drawn.images.images],
            "image_index": numbers,
            "loss": losses,
            "asked": asked,
            "held_back": held_back,
        }
    )
