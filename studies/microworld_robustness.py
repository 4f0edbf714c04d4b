"""`python -m studies.microworld_robustness`: every method on the built-in model under every attack.

Writes `results/microworld/robustness/<suite>/` `robustness.{md,csv,json}` with every number and control,
`attacks.parquet` with every try, `scores.parquet`, `prompts.parquet` and `run.json`, and one page of
methods × attacks over the suites that are there, `results/microworld/ROBUSTNESS.md`. What those folders
hold already, of the same code and settings, is not done again, nor what is in the store of `--work`. What
is lacking is done in pieces, one method on one suite each, `--jobs` at a time, and can be spread over
several calls (`--suites`, `--methods`, `--minutes`) and machines (`--parts` names a folder of another's
`--work`, whose finished pieces are taken). The methods that are whole are put into the folders. A suite's
methods have all stood the same attacks: other attacks, concepts or prompts need another `--out`. Ends with
1 where something failed. `--` hands the rest to `bench run`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from erasure_bench.attacks.registry import ATTACKS, attack_card
from erasure_bench.bench.reporting.reading import read_robustness
from erasure_bench.bench.reporting.robustness import Robustness, RobustnessRow
from erasure_bench.bench.reporting.robustness_table import name_of, shown
from erasure_bench.bench.reporting.run_file import ROBUSTNESS
from erasure_bench.bench.reporting.tries import TRIES
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.bench.words.showing import in_markdown
from erasure_bench.errors import BenchError
from erasure_bench.methods.registry import METHODS
from studies.pieces import add_options, complete, configs_of

SUITES = ("microworld-instances", "microworld-styles")
"""Where a concept is erased from among its neighbours, and where it is in every picture."""
LIMIT = 12
"""Prompts that are attacked, of each concept."""
EVALUATORS = ("classifier", "coherence")
PAGE = "ROBUSTNESS.md"
FOLDER = "robustness"
KEEP = (*(f"{ROBUSTNESS}.{form}" for form in ("md", "csv", "json")), TRIES)


def searches() -> list[str]:
    """Every attack that stands beside a control; the controls come along."""
    return [name for name in ATTACKS if attack_card(name).control is not None]


def tables(out: Path) -> dict[str, Robustness]:
    """The tables that are there, by suite."""
    found = sorted((out / FOLDER).glob(f"*/{ROBUSTNESS}.json"))
    return {path.parent.name: read_robustness(path.parent) for path in found}


def page(found: dict[str, Robustness]) -> str:
    """Methods × attacks of each suite: the best of the tries above the same of the control."""
    lines = [
        "# Do erased concepts come back?",
        "",
        "Of the prompts that ask for the concept, the share for which at least one of an attack's n pictures",
        "shows it, less the same share of n pictures of the attack's control: random tokens, or other noise.",
        "95 % intervals, paired by prompts; in brackets the share itself / on the base model / on an edit of",
        "an unrelated concept; and how many of the pictures that the attack chose are pictures at all. The",
        "oracle judges, which no attack has seen. An attack that brings no more than its control stands at",
        "0, – what failed or does not apply. Of `ring-a-bell` and `p4d`, which put another prompt in the",
        "place of the prompt, it is random tokens there; of the other searches for words, before it.",
        "All numbers, with what the attack itself chose: robustness/.",
    ]
    for suite, table in found.items():
        lines += ["", f"## {in_markdown(suite)}", "", in_markdown(table.title), "", *matrix(table)]
    return "\n".join(lines) + "\n"


def matrix(table: Robustness) -> list[str]:
    """A line for each method, a column for each attack that has a control."""
    rows = overall(table)
    attacks = {row.attack: name_of(row) for row in rows if row.control is not None}
    of = {(row.method, row.attack): row for row in rows}
    lines = [f"| method | as asked | {' | '.join(map(in_markdown, attacks.values()))} |"]
    lines.append("|---|---:|" + "---:|" * len(attacks))
    for method in table.methods:
        own = [of.get((method, name)) for name in attacks]
        plain = next((shown(row.plain) for row in own if row is not None), "–")
        lines.append(f"| {in_markdown(method)} | {plain} | {' | '.join(map(_cell, own))} |")
    return lines


def overall(table: Robustness) -> list[RobustnessRow]:
    """One judge's rows of all concepts together, or of the only one."""
    judge = next(((row.evaluator, row.metric) for row in table.rows), None)
    rows = [row for row in table.rows if (row.evaluator, row.metric) == judge]
    together = [row for row in rows if row.scope != "concept"]
    return together or rows


def _cell(row: RobustnessRow | None) -> str:
    if row is None or row.any.value is None:
        return "–"
    beside = (
        f"{rate.value:.2f}" if rate.value is not None else "–"
        for rate in (row.any, row.base_any, row.unrelated_any)
    )
    coherent = "–" if row.coherent.value is None else f"{row.coherent.value:.2f}"
    return f"{shown(row.above, signed=True)} ({' / '.join(beside)}; {coherent})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is asked for and writes the page; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m studies.microworld_robustness", description=__doc__)
    parser.add_argument("--suites", default=",".join(SUITES))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--attacks", help="comma list; by default every one that has a control")
    parser.add_argument("--concepts", help="comma list; all of the suite by default")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=int, default=LIMIT)
    add_options(parser, ".bench/robustness")
    given = parser.parse_args(arguments)
    attacks = tuple(given.attacks.split(",")) if given.attacks else tuple(searches())
    concepts = tuple(given.concepts.split(",")) if given.concepts else ()
    failures: list[str] = []
    try:
        asked = {"attacks": attacks, "concepts": concepts, "evaluators": EVALUATORS}
        configs = configs_of(given.suites.split(","), given, **asked)
        for document in complete(configs, given.out / FOLDER, KEEP, given, ["--offline"]):
            failures += document["failures"]
            write_text(given.out / PAGE, page(tables(given.out)))
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code or 1
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
