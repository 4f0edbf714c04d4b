"""What statistics of large sets came to, which the store remembers.

KID takes seconds for a thousand pictures, and every leaderboard of the same run asks for the same again.

They are remembered by all that they hang on: the evaluator's code and settings, the features of both sets,
which of them are of one prompt and one noise.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.chosen import ChosenEvaluator
from erasure_bench.bench.storage.memory import recall, remember
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.sets import FeatureSet, Statistics

FOLDER = "statistics"
WORTH_SECONDS = 0.5
"""What took less is computed again: to write it down would take as long."""
_WHOLE, _LEFT = "whole", "left"


class Computed(NamedTuple):
    """Each metric's statistic of the set, and without each group of prompts [groups] where it has one."""

    whole: Statistics
    left: Mapping[str, NDArray[np.float64]]


def remembered(
    folder: Path | None,
    chosen: ChosenEvaluator,
    pictures: FeatureSet,
    beside: FeatureSet | None,
    groups: int,
    find: Callable[[], Computed],
) -> Computed:
    """What `find` gives, or gave for the same sets before; `folder` is where that is kept, if anywhere."""
    if folder is None:
        return find()
    note = folder / f"{_key(chosen, pictures, beside, groups)}.json"
    known = recall(note)
    if known is not None:
        return _read(known)
    started = time.perf_counter()
    found = find()
    if time.perf_counter() - started >= WORTH_SECONDS and (written := _written(found)):
        with suppress(OSError):  # a store that cannot be written is reported where it matters
            remember(note, written)
    return found


def _written(found: Computed) -> dict[str, Any] | None:
    """In JSON's values, a reason as a list of one, NaN as null; None where anything is endless."""
    if any(np.isinf(row).any() for row in found.left.values()):
        return None
    whole = {name: [v.reason] if isinstance(v, Failure) else v for name, v in found.whole.items()}
    left = {name: [None if np.isnan(v) else float(v) for v in row] for name, row in found.left.items()}
    return {_WHOLE: whole, _LEFT: left}


def _read(known: Mapping[str, Any]) -> Computed:
    return Computed(
        {name: Failure(*v) if isinstance(v, list) else v for name, v in known[_WHOLE].items()},
        {name: np.array(row, dtype=np.float64) for name, row in known[_LEFT].items()},
    )


def _key(chosen: ChosenEvaluator, pictures: FeatureSet, beside: FeatureSet | None, groups: int) -> str:
    about: dict[str, Any] = {
        "evaluator": chosen.registered,
        "code": chosen.code,
        "preset": chosen.preset,
        "options": dict(chosen.options),
        "protocol": dict(chosen.protocol),
        "metrics": [(metric.name, [repr(bound) for bound in metric.bounds]) for metric in chosen.metrics],
        "pictures": _digest(pictures),
        "beside": None if beside is None else _digest(beside),
        "groups": groups,
    }
    return content_id(about)


def _digest(held: FeatureSet) -> str:
    digest = hashlib.sha256()
    for array in (held.values, held.prompts, held.noises):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape} ".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
