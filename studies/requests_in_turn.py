"""`python -m studies.requests_in_turn`: what is gone and what is lost as requests come one after another.

The concepts of one suite are erased in turn, each from what the request before has left (`bench run
--concepts "a>b>c"`). After each request: what is gone (1 − p / p_none, p the oracle's probability where the
concept is asked for outright) of the first concept, of the newest and of all so far, and what neighbours and
unrelated subjects have lost (the oracle's accuracy, in points). `studies/pooling.py` says what the intervals
are. A method that leaves something in the network beside its weights takes no second request and has one
line. Writes `results/microworld/in-turn.{csv,md}`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from erasure_bench.bench.planning.cases import THEN, Case, slug
from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.reporting.collapsed import DAGGER, marked
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.words.showing import in_markdown
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.registry import load_suite
from studies.leaderboard_summary import ACCURACY, PROBABILITY
from studies.pooling import PICTURE, Compared, change_in_points, gone, read_scores, trained_anew, written
from studies.running import bench_run

MethodAndCase = tuple[str, str]
NAME = "in-turn"
SUITE = "microworld-instances"
METHODS = ("uce", "speed", "rece", "esd-x", "esd-u", "ca-model", "sa", "advunlearn")
EVALUATORS = "classifier,coherence"
ERASED = ("first", "newest", "all")
KEPT = ("neighbour", "retention")
TITLES = {
    "first": "the first is gone",
    "newest": "the newest is gone",
    "all": "all so far are gone",
    "neighbour": "neighbours lost",
    "retention": "unrelated lost",
}


def names_of(concepts: Sequence[Concept], count: int) -> list[str]:
    """What the cases are called that a run measures after so many requests, in the order of the requests."""
    erased = tuple(concepts[:count])
    return [Case(concept=concept, erased=erased, in_turn=count > 1).name for concept in erased]


def asked_for(concepts: Sequence[Concept]) -> str:
    """`--concepts` of all requests: "a,a>b,a>b>c"."""
    names = [slug(concept.name) for concept in concepts]
    return ",".join(THEN.join(names[:count]) for count in range(1, len(names) + 1))


def after_each(
    scores: pd.DataFrame, concepts: Sequence[Concept], methods: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row for each method, number of requests and question, where every case has scores of it."""
    judged = scores[scores["evaluator"] == "classifier"]
    for method in methods:
        for count in range(1, len(concepts) + 1):
            names = names_of(concepts, count)
            cases = {"first": names[:1], "newest": names[-1:], "all": names} | dict.fromkeys(KEPT, names)
            for question, within in cases.items():
                compared = _compared(judged[judged["concept"].isin(within)], method, question, within)
                if compared is not None:
                    yield {"method": method, "requests": count, "question": question, **compared._asdict()}


def _compared(scores: pd.DataFrame, method: str, question: str, cases: Sequence[str]) -> Compared | None:
    """None where a case has no scores: a mean over the others would be another number."""
    role, metric = ("target", PROBABILITY) if question in ERASED else (question, ACCURACY)
    part = scores[(scores["role"] == role) & (scores["metric"] == metric)]
    wide = part.pivot_table(index=PICTURE, columns="method", values="value", sort=False)
    if method not in wide:
        return None
    both = wide[[method, BASELINE]].dropna()
    if set(both.index.get_level_values("concept")) != set(cases):
        return None
    trained = trained_anew(part, method)
    if question in ERASED:
        return gone(both[method], both[BASELINE], trained, "bounded")
    return change_in_points(both[method], both[BASELINE], trained, "share")


def collapsed_cases(document: Mapping[str, Any]) -> dict[MethodAndCase, str]:
    """Why the pictures of a method have collapsed, for each case in which they have."""
    return {
        (row["method"], row["concept"]): row["collapsed"]
        for row in document["rows"]
        if row["scope"] == "concept" and row["collapsed"]
    }


def page(
    rows: pd.DataFrame,
    concepts: Sequence[Concept],
    collapsed: Mapping[MethodAndCase, str],
    suite: str,
    failed: Sequence[str],
) -> str:
    """A line for each method and number of requests."""
    order = ", then ".join(in_markdown(concept.name) for concept in concepts)
    lines = [
        "# Requests one after another",
        "",
        f"{order}: each is erased from what the request before has left ({in_markdown(suite)}). Made by "
        "`python -m studies.requests_in_turn`, which says what the numbers are. Gone: 1 is all, 0 nothing. "
        "Lost: the change of the oracle's accuracy, in points. 95 % intervals, paired with the base model. A "
        "model organism: nothing here is a result on Stable Diffusion.",
        "",
        f"| method | requests | {' | '.join(TITLES.values())} |",
        "|---|---:|" + "---:|" * len(TITLES),
    ]
    found = {(row.method, row.requests, row.question): row for row in rows.itertuples()}
    for method, count in dict.fromkeys(zip(rows["method"], rows["requests"], strict=True)):
        cells = [
            written(found.get((method, count, question)), "{:.2f}" if question in ERASED else "{:+.1f}")
            for question in TITLES
        ]
        here = {name for name, case in collapsed if case in names_of(concepts, count)}
        lines.append(f"| {marked(method, here)} | {count} | {' | '.join(cells)} |")
    lines.append("")
    if collapsed:
        lines += [f"{DAGGER} Its pictures have collapsed:", ""]
        lines += [f"- {in_markdown(f'{method}, {case}: {why}')}" for (method, case), why in collapsed.items()]
        lines.append("")
    lines += [f"- failed: {in_markdown(why)}" for why in failed] + [""] * bool(failed)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.requests_in_turn", description=__doc__)
    parser.add_argument("--suite", default=SUITE)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument(
        "--requests", type=int, default=4, help="how many of the suite's concepts, in its order"
    )
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=int, help="prompts of each role and concept; all by default")
    parser.add_argument("--work", type=Path, default=Path(".bench/in-turn"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    try:
        concepts = load_suite(given.suite).concepts[: given.requests]
    except BenchError as error:
        parser.error(str(error))
    run = given.work / given.suite
    document = bench_run(
        *("--suite", given.suite, "--methods", given.methods, "--concepts", asked_for(concepts)),
        *("--seeds", given.seeds, "--evaluators", EVALUATORS),
        *(("--limit", str(given.limit)) if given.limit else ()),
        *("--store", str(given.work / "store"), "--out", str(run)),
    )
    scores = read_scores(run, given.suite)
    methods = [method for method in document["methods"] if method != BASELINE]
    rows = pd.DataFrame(after_each(scores, concepts, methods))
    if rows.empty:
        parser.error("no method has a result of every case: see what failed above")
    text = page(rows, concepts, collapsed_cases(document), given.suite, document["failures"])
    write_text(given.out / f"{NAME}.csv", rows.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    write_text(given.out / f"{NAME}.md", text)


if __name__ == "__main__":
    main()
