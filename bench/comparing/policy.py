"""A gate's policy: which numbers may get worse by how much, and which levels they must keep. A YAML file.

format: erasure-bench gate 1
rules:
  - name: the concept stays gone
    tier: critical
    role: target
    metric: class_probability
    allowed_worsening: 0.05
  - name: little of it is left at all
    tier: critical
    role: target
    metric: class_probability
    limit: "<= 0.1"
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from erasure_bench.bench.comparing.changes import paired
from erasure_bench.bench.comparing.finished import FinishedRun
from erasure_bench.bench.reporting.board import NEITHER
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.base import Metric
from erasure_bench.prompt_suites.suite import ROLES, Role
from erasure_bench.yaml_files import checked, read_marks

FORMAT = "erasure-bench gate 1"
Tier = Literal["critical", "supporting", "advisory"]
_LIMIT = re.compile(r"(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")


class Limit(NamedTuple):
    """A level that a number must keep: at most, or at least `value`."""

    at_most: bool
    value: float

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.value:g}"


class Rule(BaseModel):
    """One demand on one metric of one role, of every row that the gate looks at.

    `allowed_worsening` is how much worse than in the baseline run the number may be, in the metric's unit;
    `limit` is a level that the candidate must keep whatever the baseline had. A rule has one of the two.
    `scope` concept holds each concept to it, one by one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    tier: Tier = "critical"
    role: Role
    metric: str
    evaluator: str | None = None
    scope: Literal["overall", "concept"] = "overall"
    allowed_worsening: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    limit: str | None = None

    @field_validator("limit")
    @classmethod
    def _readable(cls, text: str | None) -> str | None:
        if text is not None and not _LIMIT.fullmatch(text.strip()):
            raise ValueError(f'{text!r} is no limit: write "<= 0.1" or ">= 0.8"')
        return text

    @model_validator(mode="after")
    def _one_demand(self) -> Self:
        if (self.allowed_worsening is None) == (self.limit is None):
            raise ValueError("give either allowed_worsening or limit")
        return self

    @property
    def level(self) -> Limit | None:
        """The limit, read."""
        if self.limit is None:
            return None
        found = _LIMIT.fullmatch(self.limit.strip())
        assert found is not None
        return Limit(found[1] == "<=", float(found[2]))

    @property
    def demand(self) -> str:
        """In words."""
        level = self.level
        return f"worse by at most {self.allowed_worsening:g}" if level is None else str(level)


class Policy(BaseModel):
    """The rules, the rows that they hold for (all that both runs have, by default) and the error rate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["erasure-bench gate 1"]
    methods: tuple[str, ...] = ()
    significance: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        counts = Counter(rule.name for rule in self.rules)
        if doubled := next((name for name, times in counts.items() if times > 1), None):
            raise ValueError(f"two rules are called {doubled!r}")
        return self


def read_policy(path: Path) -> Policy:
    """Raises BenchError that names the file, the line and the key that is wrong, and the valid choices."""
    try:
        marked = read_marks(path, "--policy")
    except BenchError as error:
        raise BenchError(f"{error} (bench gate init RUN writes one)") from error
    if (found := marked.value.get("format")) != FORMAT:
        line = marked.line(("format",))
        raise BenchError(f"{path}:{line}: format {found!r}; this version reads {FORMAT!r}")
    return checked(Policy, marked, str(path))


def check_rules(policy: Policy, run: FinishedRun) -> None:
    """Raises BenchError for a rule on what the run does not measure: a gate that holds nothing passes all."""
    for rule in policy.rules:
        where = f"rule {rule.name!r}"
        owners = _owners(rule, run)
        if not owners:
            known = {metric.name for metrics in run.metrics.values() for metric in metrics}
            raise UnknownName(f"metric of {where}", rule.metric, known, "--policy")
        if len(owners) > 1:
            raise BenchError(
                f"--policy: {where}: {', '.join(owners)} all measure {rule.metric}: name one as evaluator"
            )
        (owner,) = owners
        metric = next(metric for metric in run.metrics[owner] if metric.name == rule.metric)
        if rule.role not in metric.better:
            roles = ", ".join(role for role in ROLES if role in metric.better)
            raise BenchError(
                f"--policy: {where}: {rule.metric} means nothing for {rule.role}; valid: {roles}"
            )
        if rule.level is None and not paired(metric):
            raise BenchError(
                f"--policy: {where}: {rule.metric} is of whole sets, whose change no pictures tell: give a "
                "limit, or another metric"
            )
        _check_reach(rule, metric, where)
        if rule.level is None and metric.better[rule.role] == NEITHER:
            raise BenchError(
                f"--policy: {where}: {rule.metric} has no better or worse for {rule.role}: give a limit, "
                "or another metric"
            )


def _check_reach(rule: Rule, metric: Metric, where: str) -> None:
    """Raises BenchError where a rule's number lies beyond the metric's range, as 5 for 5 points of a share.

    Nothing could break it. At the end of the range it still asks that the number is there.
    """
    least, most = metric.bounds
    within = f"{rule.metric} lies between {least:g} and {most:g}"
    allowed, level = rule.allowed_worsening, rule.level
    if allowed is not None and allowed > most - least:
        raise BenchError(
            f"--policy: {where}: allowed_worsening {allowed:g}: {within} and cannot get worse by so much; "
            f"{_allowed(metric.bounds):g} is a twentieth of its range"
        )
    if level is not None and (level.value > most if level.at_most else level.value < least):
        raise BenchError(f"--policy: {where}: limit {level}: {within}: nothing could break it")


def owner_of(rule: Rule, run: FinishedRun) -> str:
    """The evaluator that a checked rule is about."""
    return _owners(rule, run)[0]


def _owners(rule: Rule, run: FinishedRun) -> list[str]:
    return [
        name
        for name, metrics in run.metrics.items()
        if rule.evaluator in (None, name) and rule.metric in (metric.name for metric in metrics)
    ]


def first_policy(run: FinishedRun) -> str:
    """A policy to start from: the run's own headline metrics, as YAML with comments."""
    rules = [*_first_rules(run)]
    if not rules:
        raise BenchError(f"{run.folder} has no headline metric with a better and a worse: nothing to hold to")
    document: dict[str, Any] = {
        "format": FORMAT,
        "methods": [name for name in run.methods if name != run.baseline],
        "significance": 0.05,
        "rules": rules,
    }
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return "".join(f"# {line}\n" for line in _ABOUT) + text


_ABOUT: Sequence[str] = (
    "A gate's policy: bench gate BASELINE CANDIDATE --policy THIS_FILE",
    "tier: critical rules block, supporting ones warn, advisory ones only say so.",
    "allowed_worsening: in the metric's unit, against the baseline run; 0.05 of a share is 5 points.",
    'limit: a level that the candidate must keep whatever the baseline had, such as "<= 0.1".',
    "scope: overall (the mean over concepts) or concept (each of them).",
)
_SHARE_OF_RANGE = 0.05


def _first_rules(run: FinishedRun) -> list[dict[str, Any]]:
    """One rule for each role and evaluator: its first headline metric that has a direction there."""
    shown = {row["role"] for row in run.document["rows"]}
    rules = []
    for role in (role for role in ROLES if role in shown):
        for place, (evaluator, metrics) in enumerate(run.metrics.items()):
            fitting = [
                metric
                for metric in metrics
                if metric.headline and metric.better.get(role, NEITHER) != NEITHER and paired(metric)
            ]
            if not fitting:
                continue
            metric = fitting[0]
            rules.append(
                {
                    "name": f"{role}: {metric.name}",
                    "tier": "critical" if place == 0 else "supporting",
                    "role": role,
                    "metric": metric.name,
                    "evaluator": evaluator,
                    "allowed_worsening": _allowed(metric.bounds),
                }
            )
    return rules


def _allowed(bounds: tuple[float, float]) -> float:
    """A twentieth of the metric's range; 0, to be filled in, where it has none."""
    width = bounds[1] - bounds[0]
    return float(f"{_SHARE_OF_RANGE * width:.2g}") if width < float("inf") else 0.0
