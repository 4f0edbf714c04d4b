"""`python -m studies.by_rung`: how far erasure reaches from a concept's name to its description.

From the scores of the leaderboards in `results/microworld`, over the concepts of all suites. Erased, of
concepts that can be described, for each rung of the ladder (name, sentence, variant, short and long
description): 1 − p / p_none, p the oracle's probability of the concept where that rung asks for it. Kept,
for what a prompt asks of what should stay (a thing in a sentence, a number, a colour, a position; beside an
erased thing its presence, colour and position): the change of the oracle's accuracy in points. Intervals are
95 %, from a bootstrap over concepts, each with all of its prompts and seeds. Writes
`results/microworld/by-rung.{csv,md}`.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.prompt_suites.microworld.wording import RUNGS, Rung
from erasure_bench.prompt_suites.suite import ERASED_ROLES, ROLES, Role
from studies.leaderboard_summary import ACCURACY, PROBABILITY
from studies.microworld_leaderboards import reported_suites

NAME = "by-rung"
RESAMPLES = 5000
DESCRIBED = "short"
"""A rung that only concepts have that can be described."""
Values = NDArray[np.float64]


class Question(NamedTuple):
    """What a table is on: a metric in some roles, and what it makes of two means per concept."""

    title: str
    metric: str
    erased: bool
    compare: Callable[[Values, Values], Any]
    shown: str


def _gone(own: Values, base: Values, axis: int = -1) -> Any:
    return 1 - own.mean(axis=axis) / base.mean(axis=axis)


def _points(own: Values, base: Values, axis: int = -1) -> Any:
    return 100 * (own.mean(axis=axis) - base.mean(axis=axis))


QUESTIONS = (
    Question("Erased", PROBABILITY, True, _gone, "{:.2f}"),
    Question("Kept", ACCURACY, False, _points, "{:+.1f}"),
)


def rung_of(prompt_id: str) -> str:
    """`variant` of `grumpy-cat/target/variant-03`; empty for an id that says none."""
    return prompt_id.rpartition("/")[2].rpartition("-")[0]


def by_concept(scores: pd.DataFrame, question: Question) -> pd.DataFrame:
    """Columns method, role, rung, concept, value: the concept's mean of what the question is on."""
    roles = scores["role"].isin(ERASED_ROLES)
    wanted = (scores["metric"] == question.metric) & (scores["evaluator"] == "classifier")
    wanted &= roles if question.erased else ~roles
    found = scores[wanted].assign(rung=scores["prompt_id"].map(rung_of))
    if question.erased:  # one ladder for the same concepts at each rung, or nearly: a style has no bare name
        found = found[found["concept"].isin(found.loc[found["rung"] == DESCRIBED, "concept"])]
    within = ["method", "role", "rung", "suite", "concept"]
    return found[found["rung"] != ""].groupby(within, sort=False)["value"].mean().reset_index()


def compared(means: pd.DataFrame, question: Question) -> Iterator[dict[str, Any]]:
    """One row for each method, role and rung, the base model's own level among them."""
    for (role, rung), part in means.groupby(["role", "rung"], sort=False):
        wide = part.pivot_table(index=["suite", "concept"], columns="method", values="value", sort=False)
        base = wide[BASELINE].to_numpy()
        for method in wide.columns:
            own = wide[method].to_numpy()
            both = ~np.isnan(own + base)
            row = {
                "question": question.title,
                "role": role,
                "rung": rung,
                "method": method,
                "concepts": both.sum(),
            }
            if method == BASELINE:
                yield {**row, "value": base.mean()}
                continue
            low, high = _ends(question, own[both], base[both])
            yield {**row, "value": question.compare(own[both], base[both]), "low": low, "high": high}


def _ends(question: Question, own: Values, base: Values) -> tuple[float, float]:
    """The interval's ends; NaN where there is one concept alone."""
    if len(own) < 2:
        return np.nan, np.nan
    found = bootstrap(
        (own, base),
        question.compare,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return found.confidence_interval.low, found.confidence_interval.high


def page(rows: pd.DataFrame) -> str:
    """Both tables in Markdown."""
    lines = [
        "# By rung",
        "",
        "How far erasure reaches from a concept's name to its description, and what it costs number, colour "
        "and place. Made by `python -m studies.by_rung`, which says what the numbers are. A model organism: "
        "nothing here is a result on Stable Diffusion.",
        "",
    ]
    for question in QUESTIONS:
        part = rows[rows["question"] == question.title]
        columns = sorted(dict.fromkeys(zip(part["role"], part["rung"], strict=True)), key=_place)
        found = {(row.method, row.role, row.rung): row for row in part.itertuples()}
        lines += [f"## {question.title}", "", f"| method | {' | '.join(map(' '.join, columns))} |"]
        lines += ["|---|" + "---:|" * len(columns)]
        for method in dict.fromkeys(part["method"]):
            cells = [_shown(question, found.get((method, *column)), method) for column in columns]
            lines.append(f"| {method} | {' | '.join(cells)} |")
        concepts = [str(found[BASELINE, *column].concepts) for column in columns]
        lines.append(f"| *concepts* | {' | '.join(concepts)} |")
        lines += ["", f"The row {BASELINE} has the base model's own level ({question.metric}).", ""]
    return "\n".join(lines)


def _place(column: tuple[str, str]) -> tuple[int, int]:
    """Role by role, and down the ladder; what is no rung of it stands last."""
    role, rung = column
    return ROLES.index(cast(Role, role)), (*RUNGS, rung).index(cast(Rung, rung))


def _shown(question: Question, row: Any, method: str) -> str:
    if row is None or np.isnan(row.value):
        return "–"
    if method == BASELINE:
        return f"{row.value:.2f}"
    texts = [question.shown.format(each) for each in (row.value, row.low, row.high) if not np.isnan(each)]
    value, *ends = (text.replace("-", "−") for text in texts)
    return f"{value} [{', '.join(ends)}]" if ends else value


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.by_rung", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    parts = [
        pd.read_parquet(given.out / suite / SCORES).assign(suite=suite)
        for suite in reported_suites()
        if (given.out / suite / SCORES).exists()
    ]
    if not parts:
        parser.error(
            f"--out {given.out}: no {SCORES} of a suite there; studies.microworld_leaderboards makes them"
        )
    scores = pd.concat(parts, ignore_index=True)
    rows = pd.DataFrame([row for each in QUESTIONS for row in compared(by_concept(scores, each), each)])
    if rows.empty:
        parser.error(f"--out {given.out}: the ids of these prompts name no rungs; make the leaderboards anew")
    write_text(given.out / f"{NAME}.csv", rows.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    write_text(given.out / f"{NAME}.md", page(rows))


if __name__ == "__main__":
    main()
