"""What evaluators score on pictures that the project draws."""

import dataclasses
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from pandas import DataFrame

from erasure_bench.bench.identity.fingerprints import Json, NoLonger, NotHere
from erasure_bench.bench.identity.fingerprints.inputs import CONCEPTS
from erasure_bench.bench.identity.fingerprints.numbers import sketch
from erasure_bench.bench.identity.ids import plain
from erasure_bench.bench.identity.table import Numbers
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, scored
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.registry import OPTION_FLAG, evaluator_card
from erasure_bench.evaluators.sets import FeatureSet, checked_statistics, features_of, is_set_evaluator
from erasure_bench.prompt_suites.options import build_from_options
from erasure_bench.prompt_suites.suite import ROLES, Prompt

PICTURES = 16


def version(name: str) -> str:
    """The version in the card."""
    return evaluator_card(name).version


def defaults(name: str) -> Json:
    """The settings of the evaluator's class that nobody needs to name."""
    return {
        field.name: plain(field.default)
        for field in dataclasses.fields(evaluator_card(name).build)
        if field.init and field.default is not dataclasses.MISSING
    }


def cases(name: str) -> Mapping[str, Json]:
    """Every preset."""
    return {preset: plain(settings) for preset, settings in evaluator_card(name).presets.items()}


def measure(name: str, settings: Json) -> Numbers:
    """Scores of every metric; raises NotHere without the preset's weights or the evaluator's packages."""
    card = evaluator_card(name)
    if missing := [module for module in card.requires if find_spec(module) is None]:
        raise NotHere(f"{', '.join(missing)} not installed")
    if unknown := settings.keys() - {field.name for field in dataclasses.fields(card.build)}:
        raise NoLonger(f"no settings {', '.join(sorted(unknown))}")
    evaluator: Any = build_from_options(card.build, settings, {}, OPTION_FLAG, f"evaluator {name!r}")
    try:
        evaluator.prepare()
    except BenchError:
        raise NotHere("weights are not on this machine") from None
    if is_set_evaluator(evaluator):
        return _of_sets(evaluator)
    values, details = scored(evaluator, _images(), _images(first=1, count=40))
    numbers: dict[str, list[float] | str] = {}
    for metric, rows in values.groupby("metric", sort=True):
        numbers[str(metric)] = sketch(_scores(rows))
    silent = sorted(metric for metric, taken in numbers.items() if not any(taken))
    numbers = {metric: taken for metric, taken in numbers.items() if metric not in silent}
    numbers["zero everywhere"] = ", ".join(silent)
    for what, made in card.made_up().items() if card.made_up else ():
        numbers[f"made up: {what}"] = sketch({what: torch.tensor(made, dtype=torch.double)})
    if details is not None:
        shares = details.select_dtypes("float")
        numbers["details"] = sketch(
            {str(key): torch.tensor(shares[key].to_numpy()).nan_to_num(0.0) for key in shares}
        )
    return numbers


def _of_sets(evaluator: Any) -> Numbers:
    """Features of the pictures, and every statistic beside others."""
    sets = []
    for first in (0, 1):
        rows = features_of(evaluator, [picture.pixels for picture in _images(first).pictures])
        sets.append(np.stack([row for row in rows if not isinstance(row, Failure)]))
    pictures, reference = (FeatureSet(values, np.arange(len(values)) // 2) for values in sets)
    numbers: dict[str, list[float] | str] = {
        "features": sketch({"values": torch.from_numpy(sets[0]).double()})
    }
    for name, value in checked_statistics(evaluator, evaluator.metrics, pictures, reference).items():
        if isinstance(value, Failure):
            numbers[name] = value.reason
        else:
            numbers[name] = sketch({name: torch.tensor([value], dtype=torch.double)})
    return numbers


def _scores(rows: DataFrame) -> dict[str, torch.Tensor]:
    """Values in the pictures' order, and which are missing."""
    values = torch.tensor(rows["value"].to_numpy(dtype=float))
    return {"values": values.nan_to_num(0.0), "missing": values.isnan().double()}


def _images(first: int = 0, count: int = PICTURES) -> ImageSet:
    from erasure_bench.models.microworld.drawing import draw, labels, sample_scene

    rng = np.random.default_rng(first)
    pictures = []
    for place in range(count):
        scene = sample_scene(rng)
        prompt = Prompt(
            id=f"picture/{place}",
            text=f"a {scene.subject}",
            role=ROLES[place % len(ROLES)],
            subject=scene.subject,
            label=labels(scene).object,
        )
        side = 1 + place % 2  # a second size of pictures
        pixels = np.asarray(draw(scene)).repeat(side, axis=0).repeat(side, axis=1)
        pictures.append(Picture(prompt, 0, pixels))
    return ImageSet(concept=CONCEPTS[0], pictures=tuple(pictures))
