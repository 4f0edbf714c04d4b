"""Pictures whose verdict turned round from one run to the other, by metrics that are 1 or 0 of a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.comparing.changes import KEY, Pair
from erasure_bench.bench.comparing.finished import FinishedRun
from erasure_bench.evaluators.base import Direction


class Flip(NamedTuple):
    """One picture: `now` is its score in the newer run, `better` where that is the better one (or neither).

    `pictures` are the files of both in the runs' stores, None where a store no longer has one.
    """

    method: str
    concept: str
    seed: int
    role: str
    evaluator: str
    metric: str
    prompt_id: str
    image_index: int
    now: float
    better: bool | None
    pictures: tuple[Path | None, Path | None]

    @property
    def became(self) -> str:
        """In one word."""
        return {True: "better", False: "worse", None: "other"}[self.better]


def flips(before: FinishedRun, after: FinishedRun, pairs: Sequence[Pair]) -> list[Flip]:
    """Those of every pair of rows, worse ones first."""
    shares = {
        (name, metric.name): metric
        for name, metrics in after.metrics.items()
        if before.protocols.get(name) == after.protocols[name]
        for metric in metrics
        if metric.kind == "share"
    }
    stores = Pictures(before), Pictures(after)
    found = []
    for pair in pairs:
        old = before.scores[before.scores["method"] == pair.before]
        new = after.scores[after.scores["method"] == pair.after]
        both = old.merge(new, on=KEY, suffixes=("_before", "_after"))
        turned = both[(both["value_before"] - both["value_after"]).abs() > 0.5]
        for row in turned.to_dict("records"):
            metric = shares.get((row["evaluator"], row["metric"]))
            if metric is None or row["role"] not in metric.better:
                continue
            where = [
                store.file(
                    name,
                    *(row[part] for part in ("concept", "seed", "role", "prompt_id", "image_index")),
                )
                for store, name in zip(stores, pair, strict=True)
            ]
            found.append(
                Flip(
                    pair.name,
                    row["concept"],
                    row["seed"],
                    row["role"],
                    row["evaluator"],
                    row["metric"],
                    row["prompt_id"],
                    row["image_index"],
                    row["value_after"],
                    _better(metric.better[row["role"]], row["value_after"]),
                    (where[0], where[1]),
                )
            )
    return sorted(found, key=lambda flip: (flip.better is not False, flip.better is None))


def _better(wanted: Direction, now: float) -> bool | None:
    return None if wanted == "neither" else (now > 0.5) == (wanted == "higher")


class Pictures:
    """Finds the files of a run's pictures in its store."""

    def __init__(self, run: FinishedRun) -> None:
        self._run = run
        store = run.record["store"]
        self._store = None if store is None else Path(store)
        self._folders = {
            (cell["method"], cell["concept"], cell["seed"]): cell.get("images", {})
            for cell in run.record["cells"]
        }
        self._known: dict[tuple[str, str, int, str], dict[tuple[str, int], Path]] = {}

    def file(
        self, method: str, concept: str, seed: int, role: str, prompt_id: str, image_index: int
    ) -> Path | None:
        """The picture's file; None where the run was merged, or the store has it no more."""
        key = method, concept, seed, role
        if key not in self._known:
            self._known[key] = self._of_cell(*key)
        found = self._known[key].get((prompt_id, image_index))
        return found if found is not None and found.is_file() else None

    def _of_cell(self, method: str, concept: str, seed: int, role: str) -> dict[tuple[str, int], Path]:
        """All files of a role's pictures: the scores name them in the order in which they were drawn."""
        if self._store is None:
            return {}
        folders = self._folders.get((method, concept, seed), {}).get(role, [])
        files = [file for folder in folders for file in sorted((self._store / folder).glob("*.png"))]
        scores = self._run.scores
        own = scores[
            (scores["method"] == method)
            & (scores["concept"] == concept)
            & (scores["seed"] == seed)
            & (scores["role"] == role)
        ]
        names = list(dict.fromkeys(zip(own["prompt_id"], own["image_index"], strict=True)))
        return dict(zip(names, files, strict=True)) if len(names) == len(files) else {}
