"""Statistics of whole sets, computed from the kept features: the leaderboard's numbers that no picture has.

A set is what one edited model drew for one role of one concept: with a trained method that is one seed, with
others all seeds together. Beside pictures of other seeds each seed makes a set of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.planning.chosen import ChosenEvaluator, OfSets
from erasure_bench.bench.planning.plan import Cell, Plan
from erasure_bench.bench.planning.tasks import FeatureTask, GenerateTask
from erasure_bench.bench.reporting.footnotes import Note
from erasure_bench.bench.reporting.remembered_sets import Computed, remembered
from erasure_bench.bench.reporting.scores import RUN_COLUMNS, protocol_key
from erasure_bench.bench.running.kept_features import KeptFeatures
from erasure_bench.bench.running.reasons import reason_of
from erasure_bench.bench.statistics.jackknife import in_groups, shares
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.evaluators.score_frames import MISSING, OK
from erasure_bench.evaluators.sets import (
    BASE,
    NO_PROMPT,
    OTHER_NOISE,
    OTHER_SEEDS,
    ROW,
    FeatureSet,
    Vectors,
    checked_statistics,
    without_each,
)
from erasure_bench.foreign.errors import in_one_line
from erasure_bench.foreign.process import left_alone
from erasure_bench.prompt_suites.suite import ROLES, Role

Features = Mapping[str, KeptFeatures]


class SetStatistics(NamedTuple):
    """The prompts' shares of every statistic, one row for each picture (columns `RUN_COLUMNS`), and notes."""

    scores: DataFrame
    notes: list[Note]


def statistics_of(plan: Plan, features: Features, memory: Path | None = None) -> SetStatistics:
    """All that the plan's evaluators of sets say; what fails is a missing value with the reason.

    `memory` is the folder that remembers those of large sets.
    """
    frames, notes = [], []
    for evaluator in plan.evaluators:
        if evaluator.of_sets is not None:
            sizes = _Sizes()
            frames += list(_of_evaluator(plan, evaluator, evaluator.of_sets, features, sizes, memory))
            notes += _notes(evaluator, evaluator.of_sets, sizes)
    scores = pd.concat(frames, ignore_index=True) if frames else DataFrame(columns=list(RUN_COLUMNS))
    return SetStatistics(scores, notes)


def joined_scores(scores: DataFrame, statistics: DataFrame) -> DataFrame:
    """Both in one table."""
    parts = [part for part in (scores, statistics) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else scores


@dataclass
class _Sizes:
    """How many pictures the smallest and the largest set have, and the smallest reference.

    `lost` is how many pictures of a reference have no features, at most, and `why` one of them has none.
    """

    least: int = 0
    most: int = 0
    reference: int = 0
    lost: int = 0
    why: str = ""

    def add(self, pictures: int, reference: int) -> None:
        self.least = min(self.least or pictures, pictures)
        self.most = max(self.most, pictures)
        self.reference = min(self.reference or reference, reference or self.reference)

    def lose(self, reasons: Sequence[str]) -> None:
        """`reasons` say why pictures of a reference are not in it."""
        if len(reasons) > self.lost:
            self.lost, self.why = len(reasons), reasons[0]


class _Drawn(NamedTuple):
    """One picture: who drew it, the prompt that is left out with it, its features, or why it has none.

    `noise` names the prompt and noise that it was drawn from; empty where nobody knows.
    """

    seed: int
    prompt_id: str
    image_index: int
    source: str
    noise: str
    features: Vectors
    reason: str


def _of_evaluator(
    plan: Plan,
    chosen: ChosenEvaluator,
    of_sets: OfSets,
    features: Features,
    sizes: _Sizes,
    memory: Path | None,
) -> Iterator[DataFrame]:
    evaluator = build_evaluator(chosen.registered, chosen.preset, chosen.options, chosen.settings)
    row = of_sets.reference.removeprefix(ROW) if of_sets.reference.startswith(ROW) else plan.methods[0].name
    cells: dict[tuple[str, str], list[Cell]] = {}
    for cell in plan.cells:
        cells.setdefault((cell.method.name, cell.case.name), []).append(cell)
    files = _of_files(of_sets, chosen, plan, features)
    of_base: dict[Any, list[_Drawn] | Failure] = {}
    for (method, concept), own in cells.items():
        for group in _by_model(own, apart=of_sets.reference == OTHER_SEEDS):
            for role in ROLES:
                drawn = _drawn(group, chosen.name, role, features)
                if not drawn:
                    continue
                reference: Sequence[_Drawn] | Failure | None
                if of_sets.folder:
                    reference = _of_classes(files, _labels(group, role)) if of_sets.labels else files
                elif method == row and of_sets.reference != OTHER_SEEDS:
                    reference = None
                else:
                    key = concept, role, *(cell.seed for cell in group)
                    if key not in of_base:
                        base = cells.get((row, concept), [])
                        of_base[key] = _of_base(base, group, chosen, role, features)
                    reference = of_base[key]
                rows = _rows(evaluator, chosen, drawn, reference, sizes, memory)
                yield rows.assign(
                    method=method,
                    concept=concept,
                    role=role,
                    evaluator=chosen.name,
                    evaluator_protocol=protocol_key(chosen.protocol),
                    repeated=False,
                )[list(RUN_COLUMNS)]


def _by_model(cells: Sequence[Cell], *, apart: bool) -> list[list[Cell]]:
    """The cells of one method and concept whose edited model is the same; `apart`: each for itself."""
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.seed if apart else cell.erase.id, []).append(cell)
    return list(groups.values())


def _tasks(
    cells: Sequence[Cell], evaluator: str, role: Role
) -> Iterator[tuple[int, FeatureTask, GenerateTask]]:
    """Seed and tasks of the role's pictures, none twice: prompts with seeds of their own come again."""
    seen = set()
    for cell in cells:
        for task in cell.features:
            pictures = task.pictures
            if task.evaluator != evaluator or task.id in seen or not isinstance(pictures, GenerateTask):
                continue
            if pictures.images.role == role:
                seen.add(task.id)
                yield cell.seed, task, pictures


def _drawn(
    cells: Sequence[Cell],
    evaluator: str,
    role: Role,
    features: Features,
    without: frozenset[str] = frozenset(),
) -> list[_Drawn]:
    """The role's pictures whose features were taken, but for those on the noises `without`."""
    found = []
    for seed, task, pictures in _tasks(cells, evaluator, role):
        if task.id in features and pictures.images.drawn not in without:
            kept = features[task.id]
            found += [
                _Drawn(
                    seed,
                    image.prompt.id,
                    image.image_index,
                    image.prompt.rewrites or image.prompt.id,
                    f"{pictures.images.drawn}/{place}",
                    *row,
                )
                for place, (image, row) in enumerate(
                    zip(pictures.images.images, zip(*kept, strict=True), strict=True)
                )
            ]
    return found


def _of_base(
    base: Sequence[Cell], group: Sequence[Cell], chosen: ChosenEvaluator, role: Role, features: Features
) -> list[_Drawn] | Failure:
    """The pictures of the base model, or of the row in its place, that the group's are held against."""
    seeds = {cell.seed for cell in group}
    if chosen.of_sets is not None and chosen.of_sets.reference == OTHER_SEEDS:
        others = [cell for cell in base if cell.seed not in seeds]
        if not others:
            return Failure("the run has no other seeds to compare with (--seeds)")
        own = frozenset(pictures.images.drawn for _, _, pictures in _tasks(group, chosen.name, role))
        found = _drawn(others, chosen.name, role, features, own)
        why = "other seeds give the same pictures, as the prompts have seeds of their own"
        return found or Failure(why)
    found = _drawn([cell for cell in base if cell.seed in seeds], chosen.name, role, features)
    return found or Failure(_NONE)


def _of_files(
    of_sets: OfSets, chosen: ChosenEvaluator, plan: Plan, features: Features
) -> list[_Drawn] | Failure:
    """The pictures of the folder, if there is one; the label of a data set's stands in the prompt's place."""
    wanted = {part.id for part in of_sets.folder}
    tasks = {
        task.pictures.id: task.id
        for task in plan.cells[0].features
        if task.evaluator == chosen.name and task.pictures.id in wanted
    }
    labels = of_sets.labels or ("",) * len(of_sets.folder)
    found = [
        _Drawn(0, label, place, "", "", *row)
        for part, label in zip(of_sets.folder, labels, strict=True)
        if tasks[part.id] in features
        for place, row in enumerate(zip(*features[tasks[part.id]], strict=True))
    ]
    return (
        found if len(found) == sum(map(len, of_sets.folder)) else Failure("the folder's features are missing")
    )


def _labels(cells: Sequence[Cell], role: Role) -> frozenset[str | None]:
    """What the role's prompts ask for, by a classifier's labels."""
    drawn = (task.images for cell in cells for task in cell.generate if task.images.role == role)
    return frozenset(image.prompt.label for images in drawn for image in images.images)


def _of_classes(
    files: Sequence[_Drawn] | Failure, labels: frozenset[str | None]
) -> Sequence[_Drawn] | Failure:
    """A data set's pictures of these classes alone."""
    if isinstance(files, Failure):
        return files
    of_them = [picture for picture in files if picture.prompt_id in labels]
    return of_them or Failure("the data set has no picture of a class that the prompts ask for")


def _rows(
    evaluator: Any,
    chosen: ChosenEvaluator,
    drawn: Sequence[_Drawn],
    reference: Sequence[_Drawn] | Failure | None,
    sizes: _Sizes,
    memory: Path | None,
) -> DataFrame:
    """One row for each picture and metric: its prompt's share of the statistic, or why there is none."""
    known = _known(drawn)
    other = None if reference is None or isinstance(reference, Failure) else _known(reference)
    if other is not None and not other:
        reference = Failure(_NONE)
    prompts = {name: place for place, name in enumerate(dict.fromkeys(one.source for one in known))}
    group = in_groups(len(prompts))
    codes = {name: int(group[place]) for name, place in prompts.items()}
    given: dict[str, Any] = {metric.name: reference for metric in chosen.metrics}
    if known and not isinstance(reference, Failure):
        noises = {name: place for place, name in enumerate(dict.fromkeys(one.noise for one in known))}
        beside = None if other is None else _set(other, codes, noises)
        try:
            with in_one_line(f"{chosen.name}'s statistics"), left_alone(f"{chosen.name}'s statistics"):
                pictures, groups = _set(known, codes, noises), int(group.max()) + 1

                def compute() -> Computed:
                    found = checked_statistics(evaluator, chosen.metrics, pictures, beside)
                    return Computed(found, without_each(evaluator, found, pictures, beside, range(groups)))

                whole, left = remembered(memory, chosen, pictures, beside, groups, compute)
            given = {
                name: value if isinstance(value, Failure) else shares(value, left[name], group)
                for name, value in whole.items()
            }
            sizes.add(len(known), len(other or ()))
            sizes.lose([picture.reason for picture in reference or () if picture.reason])
        except Exception as error:
            given = dict.fromkeys(given, Failure(reason_of(error)))
    rows = []
    for picture in drawn:
        for name, value in given.items():
            reason = picture.reason or (value.reason if isinstance(value, Failure) else "")
            share = np.nan if reason else float(value[prompts[picture.source]])
            rows.append((*picture[:3], name, share, MISSING if reason else OK, reason))
    return DataFrame(
        rows, columns=["seed", "prompt_id", "image_index", "metric", "value", "status", "reason"]
    )


def _known(pictures: Sequence[_Drawn]) -> list[_Drawn]:
    """Those that have features."""
    return [picture for picture in pictures if not picture.reason]


def _set(pictures: Sequence[_Drawn], prompts: Mapping[str, int], noises: Mapping[str, int]) -> FeatureSet:
    values = np.stack([one.features for one in pictures])
    return FeatureSet(
        values,
        np.array([prompts.get(one.source, NO_PROMPT) for one in pictures], dtype=np.int64),
        np.array([noises.get(one.noise, OTHER_NOISE) for one in pictures], dtype=np.int64),
    )


_NONE = "no picture of the reference has features"
_REFERENCES = {
    BASE: "the base model's of the same prompts and noises",
    OTHER_SEEDS: "the base model's of the same prompts and other seeds",
}


def _notes(chosen: ChosenEvaluator, of_sets: OfSets, sizes: _Sizes) -> list[Note]:
    """How large the sets are, what they are compared with, and what the evaluator says of sets so small."""
    if not sizes.most:
        return []
    count = f"{sizes.least}" if sizes.least == sizes.most else f"{sizes.least} to {sizes.most}"
    beside = _REFERENCES.get(of_sets.reference, of_sets.said)
    if of_sets.reference.startswith(ROW):
        beside = f"{of_sets.reference.removeprefix(ROW)}'s of the same prompts and noises"
    notes = [Note(f"{chosen.name}: sets of {count} pictures of one edited model, beside {beside}.")]
    if sizes.lost:
        lost = f"{chosen.name}: {sizes.lost} of the reference's pictures could not be used: {sizes.why}."
        notes.append(Note(lost, "caution"))
    evaluator = build_evaluator(chosen.registered, chosen.preset, chosen.options, chosen.settings)
    said = getattr(evaluator, "caution", None)
    if callable(said) and (words := said(min(sizes.least, sizes.reference or sizes.least))):
        notes.append(Note(f"{chosen.name}: {words}", "caution"))
    return notes
