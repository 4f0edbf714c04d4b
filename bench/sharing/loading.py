"""`load_run`: a finished run in a notebook, as data frames."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pandas as pd
from pandas import DataFrame
from PIL import Image

from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.comparing.flips import Pictures
from erasure_bench.bench.reporting.leaderboard import COLUMNS, Row
from erasure_bench.bench.reporting.prompt_list import read_prompts
from erasure_bench.bench.sharing.finding import find_run_at
from erasure_bench.errors import BenchError, UnknownName

ONE_PICTURE = ["method", "concept", "seed", "role", "prompt_id", "image_index"]
"""What names a picture of a run."""
_NUMBERS = [name for name, hint in get_type_hints(Row).items() if float in (hint, *get_args(hint))]


@dataclass(frozen=True, repr=False)
class LoadedRun:
    """A finished run: `leaderboard`, `scores`, `pictures` and `failures` are data frames of their own.

    What they hold was checked against the run's digests when it was loaded. Change the frames as you like:
    each is made once, and nothing is written back.
    """

    run: FinishedRun

    @property
    def folder(self) -> Path:
        """Where its files lie; of an archive, where it was unpacked."""
        return self.run.folder

    @property
    def title(self) -> str:
        return str(self.run.document["title"])

    @cached_property
    def leaderboard(self) -> DataFrame:
        """One row for each number of the tables, with interval, change against the base, verdict and costs.

        Columns: the fields of `bench.reporting.leaderboard.Row`. `scope` is overall or concept.
        """
        rows = [[row.get(column) for column in COLUMNS] for row in self.run.document["rows"]]
        frame = DataFrame(rows, columns=list(COLUMNS))
        return frame.astype(dict.fromkeys(_NUMBERS, "float64"))

    @cached_property
    def scores(self) -> DataFrame:
        """One row for each picture and metric; a score that is missing is NaN, and `reason` says why.

        Columns: `bench.reporting.scores.RUN_COLUMNS`.
        """
        return self.run.scores.copy()

    @cached_property
    def pictures(self) -> DataFrame:
        """One row for each picture: what names it (`ONE_PICTURE`), its prompt's `text`, and its `file`.

        `file` is a PNG in the run's store, None where the store is not on this machine or has it no more.
        `text` is None where the run was made before runs wrote their prompts down.
        """
        found = self.run.scores[ONE_PICTURE].drop_duplicates(ignore_index=True)
        texts = read_prompts(self.folder, self.run.record)
        files = Pictures(self.run)
        where = [files.file(*row) for row in found.itertuples(index=False, name=None)]
        words = [texts.get(prompt) for prompt in found["prompt_id"]]
        return found.assign(text=pd.Series(words, dtype="object"), file=pd.Series(where, dtype="object"))

    def picture(
        self, method: str, concept: str, prompt_id: str, image_index: int = 0, seed: int | None = None
    ) -> Image.Image:
        """One picture in RGB; raises UnknownName, or BenchError where there is none here."""
        frame = self.pictures
        wanted = {"method": method, "concept": concept, "prompt_id": prompt_id, "image_index": image_index}
        for column, value in (wanted if seed is None else wanted | {"seed": seed}).items():
            if (frame[column] == value).sum() == 0:
                raise UnknownName(column, str(value), {str(one) for one in frame[column]})
            frame = frame[frame[column] == value]
        file = frame.iloc[0]["file"]
        if file is None:
            raise BenchError(f"{self.folder}: the store {self.run.record['store']} has no such picture here")
        with Image.open(file) as picture:
            return picture.convert("RGB")

    @property
    def protocol(self) -> Mapping[str, Any]:
        """Under which conditions all of it was drawn and measured: what must agree between two tables.

        `drawing`, `suite`, `model` and `evaluators`, each with its version or digest.
        """
        document = self.run.document
        return {
            "suite": {"name": document["suite"], "version": document["suite_version"]},
            "model": {"name": document["model"], "sha256": document["model_digest"]},
            "drawing": dict(document["protocol"]),
            "seeds": list(document["seeds"]),
            "evaluators": {name: dict(about["protocol"]) for name, about in document["evaluators"].items()},
            "versions": dict(document["versions"]),
        }

    @cached_property
    def failures(self) -> DataFrame:
        """What has no result, and why: method, concept, seed, stage, role, evaluator, reason."""
        columns = ["method", "concept", "seed", "stage", "role", "evaluator", "reason"]
        return pd.DataFrame(
            [[getattr(failure, column) for column in columns] for failure in self.run.failures],
            columns=columns,
        )

    @property
    def notes(self) -> list[str]:
        """What stands below the tables."""
        return list(self.run.document["notes"])

    def __repr__(self) -> str:
        return "\n".join(self._words())

    def _repr_html_(self) -> str:
        from html import escape

        title, *rest = self._words()
        return f"<b>{escape(title)}</b><br>" + "<br>".join(map(escape, rest))

    def _words(self) -> Iterator[str]:
        yield self.title
        yield f"rows: {', '.join(self.run.methods)}"
        yield f"concepts: {', '.join(self.run.document['concepts'])}"
        yield f"{len(self.scores)} scores, {len(self.run.failures)} failures, in {self.folder}"


def load_run(path: str | Path) -> LoadedRun:
    """The finished run at `path`: its folder, its name below `runs`, or an archive of `bench pack`.

    Raises BenchError where there is none, or where it is not what the run wrote.
    """
    return LoadedRun(read_finished(find_run_at(path)))
