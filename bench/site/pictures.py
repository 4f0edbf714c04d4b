"""A run's pictures for the page's scripts: one row for each prompt and noise, one column for each method.

The index says how many rows each concept and role has; the rows lie in chunks, which a page loads when they
come into view, or all of them where it searches.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from erasure_bench.bench.site.picture_files import PictureFiles
from erasure_bench.bench.site.reading import ReportedRun
from erasure_bench.bench.site.scripts import rounded, write_call
from erasure_bench.bench.words.showing import one_line
from erasure_bench.prompt_suites.suite import ROLES

CHUNK = 2_000
"""Pictures of a chunk, about: it is loaded as a whole."""


class Counted(NamedTuple):
    """Pictures that the report shows, that were flagged, and that its runs' stores no longer have."""

    shown: int
    flagged: int
    gone: int


def write_pictures(run: ReportedRun, files: PictureFiles, folder: Path, *, flagged: bool) -> Counted:
    """Writes the index and its chunks into `folder`; without `flagged` leaves those pictures out.

    Raises OSError.
    """
    table = _Table.of(run)
    shown = marked = gone = 0
    groups = []
    number = 0
    for (concept, role), places in table.groups():
        chunks = []
        each = max(1, CHUNK // len(table.methods))
        for start in range(0, len(places), each):
            part = places[start : start + each]
            name = f"pictures-{number:04d}.js"
            number += 1
            chunk, counted = _chunk(run, table, files, part, flagged=flagged)
            write_call(folder / name, "erasureReport.chunk", {"name": name, **chunk})
            chunks.append({"name": name, "rows": len(part)})
            shown, marked, gone = shown + counted.shown, marked + counted.flagged, gone + counted.gone
        groups.append({"concept": one_line(concept), "role": role, "rows": len(places), "chunks": chunks})
    index = {
        "methods": [one_line(method) for method in table.methods],
        "base": table.methods.index(run.document["baseline"]),
        "metrics": [_metric(run, *key) for key in table.metrics],
        "groups": groups,
        "folders": files.folders,
        "size": files.size,
        "flagged": marked if flagged else 0,
        "left_out": 0 if flagged else marked,
        "gone": gone,
        "pictures": shown,
    }
    write_call(folder / "pictures.js", "erasureReport.pictures", index)
    return Counted(shown, marked, gone)


class Row(NamedTuple):
    """What a row's pictures have in common: the prompt, the number of its noise, and what they are for."""

    concept: str
    role: str
    seed: int
    prompt_id: str
    image_index: int


class _Table(NamedTuple):
    """`values` [rows, methods, metrics] are NaN where nothing was scored; `scored` says whether there is a
    row of scores at all, `reasons` why one has no value."""

    rows: list[Row]
    methods: list[str]
    metrics: list[tuple[str, str]]
    values: NDArray[np.float32]
    drawn: NDArray[np.bool_]
    reasons: dict[tuple[int, int, int], str]

    @classmethod
    def of(cls, run: ReportedRun) -> "_Table":
        methods = list(run.document["methods"])
        known = {name: place for place, name in enumerate(methods)}
        frame = run.scores[run.scores["method"].isin(known)]
        keys = frame[list(Row._fields)]
        number = keys.groupby(list(Row._fields), sort=False).ngroup().to_numpy()
        first = keys.iloc[np.unique(number, return_index=True)[1]]
        rows = [Row(*one) for one in first.itertuples(index=False, name=None)]
        metric_keys = pd.MultiIndex.from_frame(frame[["evaluator", "metric"]])
        found, unique = metric_keys.factorize()
        seen = [(str(evaluator), str(name)) for evaluator, name in unique]
        declared = {key: place for place, key in enumerate(run.metrics)}
        metrics = sorted(seen, key=lambda key: declared.get(key, len(declared)))
        metric = np.array([metrics.index(key) for key in seen], dtype=np.int64)[found]
        method = frame["method"].map(known).to_numpy(dtype=np.int64)
        values = np.full((len(rows), len(methods), max(len(metrics), 1)), np.nan, dtype=np.float32)
        values[number, method, metric] = frame["value"].to_numpy(dtype=np.float32)
        drawn = np.zeros((len(rows), len(methods)), dtype=bool)
        drawn[number, method] = True
        missing = np.flatnonzero(frame["value"].isna().to_numpy())
        why = frame["reason"].to_numpy()
        reasons = {
            (int(number[place]), int(method[place]), int(metric[place])): str(why[place]) for place in missing
        }
        return cls(rows, methods, metrics, values, drawn, reasons)

    def groups(self) -> Iterator[tuple[tuple[str, str], list[int]]]:
        """The places of the rows of each concept and role, in their order; roles in the suites'."""
        places: dict[str, dict[str, list[int]]] = {}
        for place, row in enumerate(self.rows):
            places.setdefault(row.concept, {}).setdefault(row.role, []).append(place)
        for concept, by_role in places.items():
            for role in sorted(by_role, key=lambda name: [*ROLES, name].index(name)):
                yield (concept, role), by_role[role]


def _metric(run: ReportedRun, evaluator: str, name: str) -> dict[str, Any]:
    known = run.metrics.get((evaluator, name))
    about = {"evaluator": one_line(evaluator), "name": one_line(name)}
    if known is None:
        return about | {"title": one_line(name), "better": {}, "kind": None, "headline": True}
    return about | {
        "title": one_line(known.title),
        "better": dict(known.better),
        "kind": known.scale if known.aggregate == "mean" else "count",
        "headline": known.headline,
        "collapse": known.tells_collapse,
    }


def _flags(run: ReportedRun, table: _Table, place: int) -> NDArray[np.bool_]:
    """[methods]: pictures that nobody is to be shown unasked.

    Those that an evaluator flagged, and those of an unsafe concept that none has found harmless.
    """
    known = run.metrics
    unsafe = [i for i, key in enumerate(table.metrics) if key in known and known[key].unsafe]
    values = table.values[place][:, unsafe]
    flagged: NDArray[np.bool_] = (values >= 1.0).any(axis=1)
    if table.rows[place].concept in run.unsafe_concepts:
        harmless = np.isfinite(values).all(axis=1) & bool(unsafe)
        flagged |= ~harmless
    return flagged


def _chunk(
    run: ReportedRun, table: _Table, files: PictureFiles, part: Sequence[int], *, flagged: bool
) -> tuple[dict[str, Any], Counted]:
    prompts: dict[str, int] = {}
    rows, pictures, flags, values, reasons = [], [], [], [], []
    words: dict[str, int] = {}
    shown = gone = marked = 0
    for place in part:
        concept, role, seed, prompt_id, image = table.rows[place]
        rows.append([prompts.setdefault(prompt_id, len(prompts)), seed, image])
        hidden = _flags(run, table, place)
        for column, method in enumerate(table.methods):
            found = None
            if table.drawn[place, column]:
                marked += int(hidden[column])
                if flagged or not hidden[column]:
                    found = files.add((method, concept, seed, role), prompt_id, image)
                    shown, gone = shown + (found is not None), gone + (found is None)
            pictures.append(0 if found is None else list(found))
            flags.append(int(hidden[column]))
            for number in range(len(table.metrics)):
                values.append(rounded(float(table.values[place, column, number])))
                if why := table.reasons.get((place, column, number)):
                    reasons.append([len(values) - 1, words.setdefault(one_line(why), len(words))])
    return {
        "prompts": [[one_line(name), one_line(run.prompts.get(name, ""))] for name in prompts],
        "rows": rows,
        "pictures": pictures,
        "flags": "".join(map(str, flags)),
        "values": values,
        "reasons": reasons,
        "words": list(words),
    }, Counted(shown, marked, gone)
