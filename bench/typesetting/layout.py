"""A layout: what a table shows, as data (`layouts.yaml`)."""

from functools import lru_cache
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

from erasure_bench.errors import UnknownName
from erasure_bench.prompt_suites.suite import Role

LEADERBOARD = "leaderboard"
ROBUSTNESS = "robustness"
"""The table of attacks, which is no part of the leaderboard."""


class Field(BaseModel):
    """A column: a metric of an evaluator on prompts of a role, under the paper's heading.

    `instead` are metrics that stand there where the run has not the metric itself: then the heading is their
    own. `group` heads neighbouring columns, else the role does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    evaluator: str
    metric: str
    heading: str
    instead: tuple[str, ...] = ()
    group: str | None = None


class Layout(BaseModel):
    """What a table shows. One without columns shows whatever the run measured, aspect by aspect.

    `by` concept: every concept has its own columns, beside each other. `show` percent_of_base: the change in
    percent of the base model's value. `harmonic` heads a last column, the harmonic mean of a line's numbers,
    which are shares, each turned so that 1 is the best. `cannot_show` says what of the paper's table is not
    in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    columns: tuple[Field, ...] = ()
    by: Literal["overall", "concept"] = "overall"
    show: Literal["value", "percent_of_base"] = "value"
    harmonic: str | None = None
    cannot_show: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def layouts() -> dict[str, Layout]:
    """All layouts by name."""
    text = files(__package__).joinpath("layouts.yaml").read_text(encoding="utf-8")
    return {one["name"]: Layout.model_validate(one) for one in yaml.safe_load(text)}


def layout(name: str) -> Layout:
    """The layout of that name; raises UnknownName."""
    if name not in layouts():
        raise UnknownName("layout", name, (*layouts(), ROBUSTNESS), "--layout")
    return layouts()[name]
