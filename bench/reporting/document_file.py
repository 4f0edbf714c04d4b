"""What leaderboard.json must hold where it is read again: all that tables and reports take."""

from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.evaluators.base import Direction, Kind
from erasure_bench.prompt_suites.suite import Role

Ends = Annotated[list[float | None], Field(min_length=2, max_length=2)]
"""A range's ends: null where there is none."""


class _Part(BaseModel):
    """More fields than these may be there: they are for people."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


_HINTS = get_type_hints(Row)
RowFile = create_model(
    "RowFile",
    __base__=_Part,
    **{
        field.name: (_HINTS[field.name], ... if field.default is MISSING else field.default)
        for field in fields(Row)
    },  # type: ignore[call-overload]
)
"""`bench.reporting.leaderboard.Row`, as `to_json` writes it."""


class MetricFile(_Part):
    """`bench.reporting.metric_record.metric_record`."""

    model_config = ConfigDict(extra="forbid")

    name: str
    title: str
    unit: str
    bounds: Ends
    better: dict[Role, Direction]
    reach: Ends | None
    aggregate: Literal["mean", "sum"] = "mean"
    headline: bool = True
    kind: Kind | None = None
    tells_collapse: bool = False
    unsafe: bool = False


class EvaluatorFile(_Part):
    """How an evaluator measured: the short name of its protocol, the protocol, and what it measures.

    An earlier version did not write the metrics down.
    """

    key: str
    protocol: dict[str, Any]
    metrics: list[MetricFile] = []


class MaximumFile(_Part):
    """`bench.reporting.maxima.Maximum`."""

    method: str
    role: str
    evaluator: str
    title: str
    better: Direction
    over: int
    missing: int = 0
    mean: float
    std: float


class FrontFile(_Part):
    """`bench.reporting.front.Front`."""

    erasure: dict[str, str]
    retention: dict[str, str]
    methods: list[str]
    beaten: dict[str, list[str]]


class DocumentFile(_Part):
    """The whole file."""

    title: str
    suite: str
    suite_version: str
    model: str
    model_digest: str
    plan: str
    methods: list[str]
    baseline: str
    concepts: list[str]
    seeds: list[int]
    protocol: dict[str, Any]
    evaluators: dict[str, EvaluatorFile]
    versions: dict[str, str]
    drawn_with: dict[str, list[str]]
    rows: list[RowFile]  # type: ignore[valid-type]
    notes: list[str]
    failures: list[str]
    collapsed: dict[str, str] = {}
    maxima: list[MaximumFile] = []
    cautions: list[str] = []
    provenance: list[str] = []
    front: FrontFile | None = None
    guidance_scales: Any = None
    interval: Any = None
    left_out: Any = None
    retest: Any = None
    agreement: Any = None
