"""`python -m studies.by_rung`: how far erasure reaches from a concept's name to its description.

From the scores of the leaderboards in `results/microworld`, over the concepts of all suites. Erased, of
concepts that can be described, for each rung of the ladder (name, sentence, variant, short and long
description): 1 − p / p_none, p the oracle's probability of the concept where that rung asks for it. Kept,
for what a prompt asks of what should stay (a thing in a sentence, a number, a colour, a position; beside an
erased thing its presence, colour and position): the change of the oracle's accuracy in points. Means over
concepts of means over prompts; intervals are the leaderboards': 95 %, paired, for other prompts on the same
concepts and, where there are several, other training seeds. Writes `results/microworld/by-rung.{csv,md}`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.reporting.collapsed import DAGGER, marked
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.statistics.intervals import Scale
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.prompt_suites.microworld.wording import RUNGS, Rung
from erasure_bench.prompt_suites.suite import ERASED_ROLES, ROLES, Role
from studies.leaderboard_summary import ACCURACY, PROBABILITY
from studies.microworld_leaderboards import documents, reported_suites
from studies.pooling import CASE, PICTURE, change_in_points, gone, pooled, read_scores, trained_anew, written

NAME = "by-rung"
DESCRIBED = "short"
"""A rung that only concepts have that can be described."""


class Question(NamedTuple):
    """What a table is on: a metric in some roles, what its values are, and how a comparison is shown."""

    title: str
    metric: str
    scale: Scale
    erased: bool
    shown: str


QUESTIONS = (
    Question("Erased", PROBABILITY, "bounded", True, "{:.2f}"),
    Question("Kept", ACCURACY, "share", False, "{:+.1f}"),
)


def rung_of(prompt_id: str) -> str:
    """`variant` of `grumpy-cat/target/variant-03`; empty for an id that says none."""
    return prompt_id.rpartition("/")[2].rpartition("-")[0]


def asked(scores: pd.DataFrame, question: Question) -> pd.DataFrame:
    """The scores of what the question is on, with the rung of each."""
    roles = scores["role"].isin(ERASED_ROLES)
    wanted = (scores["metric"] == question.metric) & (scores["evaluator"] == "classifier")
    wanted &= roles if question.erased else ~roles
    found = scores[wanted].assign(rung=scores["prompt_id"].map(rung_of))
    if question.erased:  # one ladder for the same concepts at each rung, or nearly: a style has no bare name
        found = found[found["concept"].isin(found.loc[found["rung"] == DESCRIBED, "concept"])]
    return found[found["rung"] != ""]


def compared(found: pd.DataFrame, question: Question) -> Iterator[dict[str, Any]]:
    """One row for each method, role and rung, the base model's own level among them.

    None for a method that has no value of a concept of the rung: a mean over the others is another number.
    """
    for (role, rung), part in found.groupby(["role", "rung"], sort=False):
        wide = part.pivot_table(index=PICTURE, columns="method", values="value", sort=False)
        for method in dict.fromkeys(part["method"]):
            both = wide[[method, BASELINE]].dropna() if method != BASELINE else wide[[BASELINE]].dropna()
            row: dict[str, Any] = {"question": question.title, "role": role, "rung": rung, "method": method}
            row |= {"concepts": len(both.groupby(CASE)), "prompts": len(both.groupby("prompt_id"))}
            if method == BASELINE:
                yield {**row, "value": pooled(both[BASELINE], ()).value.item()}
            elif row["concepts"] == part.groupby(CASE).ngroups:
                compare = gone if question.erased else change_in_points
                trained = trained_anew(part, method)
                yield {**row, **compare(both[method], both[BASELINE], trained, question.scale)._asdict()}


def collapsed_in(folder: Path) -> dict[str, str]:
    """The methods whose pictures have collapsed in a suite, and in which."""
    found: dict[str, list[str]] = {}
    for suite, document in documents(folder).items():
        for method in document["collapsed"]:
            found.setdefault(method, []).append(suite)
    return {method: ", ".join(suites) for method, suites in found.items()}


def page(rows: pd.DataFrame, collapsed: Mapping[str, str], left_out: Sequence[str] = ()) -> str:
    """Both tables in Markdown; methods that are `collapsed` are marked, with where they are."""
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
        found: dict[Any, Any] = {(row.method, row.role, row.rung): row for row in part.itertuples()}
        lines += [f"## {question.title}", "", f"| method | {' | '.join(map(' '.join, columns))} |"]
        lines += ["|---|" + "---:|" * len(columns)]
        methods = dict.fromkeys(part["method"])
        for method in methods:
            cells = [_shown(question, found.get((method, *column)), method) for column in columns]
            lines.append(f"| {marked(method, collapsed)} | {' | '.join(cells)} |")
        for count in ("concepts", "prompts"):
            counts = [str(getattr(found[BASELINE, *column], count)) for column in columns]
            lines.append(f"| *{count}* | {' | '.join(counts)} |")
        lines += ["", f"The row {BASELINE} has the base model's own level ({question.metric}).", ""]
        others = ((column, found.get((method, *column))) for column in columns for method in methods)
        unsure = {column for column, row in others if row and row.method != BASELINE and np.isnan(row.low)}
        if alone := sorted(unsure, key=_place):
            where = ", ".join(map(" ".join, alone))
            lines += [f"No interval ({where}): a concept has one prompt there, whose spread is unknown.", ""]
    if left_out:
        lines += [
            f"Left out, as some of these concepts are not measured with them: {', '.join(left_out)}.",
            "",
        ]
    if collapsed:
        named = "; ".join(f"{method}: {suites}" for method, suites in collapsed.items())
        lines += [f"{DAGGER} Its pictures have collapsed: {named}.", ""]
    return "\n".join(lines)


def _place(column: tuple[str, str]) -> tuple[int, int]:
    """Role by role, and down the ladder; what is no rung of it stands last."""
    role, rung = column
    return ROLES.index(cast(Role, role)), (*RUNGS, rung).index(cast(Rung, rung))


def _shown(question: Question, row: Any, method: str) -> str:
    if method == BASELINE and row is not None and not np.isnan(row.value):
        return f"{row.value:.2f}"
    return written(row, question.shown)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.by_rung", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    parts = [
        read_scores(given.out / suite, suite)
        for suite in reported_suites()
        if (given.out / suite / SCORES).exists()
    ]
    if not parts:
        parser.error(
            f"--out {given.out}: no {SCORES} of a suite there; studies.microworld_leaderboards makes them"
        )
    scores = pd.concat(parts, ignore_index=True)
    rows = pd.DataFrame([row for each in QUESTIONS for row in compared(asked(scores, each), each)])
    if rows.empty:
        parser.error(f"--out {given.out}: the ids of these prompts name no rungs; make the leaderboards anew")
    write_text(given.out / f"{NAME}.csv", rows.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    left_out = sorted(set(scores["method"]) - set(rows["method"]))
    collapsed = {name: where for name, where in collapsed_in(given.out).items() if name not in left_out}
    write_text(given.out / f"{NAME}.md", page(rows, collapsed, left_out))


if __name__ == "__main__":
    main()
