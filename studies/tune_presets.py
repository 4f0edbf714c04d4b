"""`python -m studies.tune_presets METHOD …` or `--all`: choose `microworld` presets on validation concepts.

A candidate is a method's present preset for the built-in model with some options changed: those of
`studies/tuning_candidates.py`, or those that `--try` gives, such as "eta=4 steps=150"; the preset as it is
comes first. A candidate erases every concept of `microworld-validation`, which no suite reports on. Its merit
(`studies/tuning_merit.py`) is the harmonic mean of

    erased   = 1 − p / p_none     p: probability of the concept where it is asked for or evoked
    kept     = a / a_none         a: share of neighbours and of unrelated subjects still recognised
    known    = k / k_none         k: share of the pictures behind p that show anything the oracle knows
    coherent = c / c_none         c: coherence of all these pictures

p, a and k from the oracle, each averaged over concepts and clipped to [0, 1]: neither noise in the concept's
place nor a blur of every picture earns anything. Where one concept failed there is no merit.

Candidates go to `results/microworld/tuning.csv` with all of their settings that differ from the official
ones, so that a later change of the preset changes no row's meaning, and with the weights and the version of
the suite that they were tried on: rows of others are left out when the table is written anew. `--again` tries
the table's own candidates, whatever they were tried on.

The candidates' concepts are spread over `--jobs` processes, which share one store. After `--budget-minutes`
nothing new is begun; the same command again goes on, as finished work is in the store.
"""

import argparse
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.chosen import BASELINE, plain_settings
from erasure_bench.bench.planning.config import options as parse_options
from erasure_bench.bench.storage.atomic import locked, write_text
from erasure_bench.errors import BenchError
from erasure_bench.methods.registry import build_method
from erasure_bench.models.zoo import resolve_model
from erasure_bench.prompt_suites.registry import suite_card
from studies.parallel import in_processes
from studies.running import bench_run
from studies.tuning_candidates import CANDIDATES
from studies.tuning_merit import EVALUATORS, by_concept, merit

SUITE = "microworld-validation"
PRESET = "microworld"
ALL_PROMPTS = "all"
TIED = 0.003
"""Candidates whose merits differ by less are taken for equal: the cheaper one is chosen."""
SAME = ["method", "settings", "prompts", "weights", "suite"]
Options = Mapping[str, str]
Rows = list[dict[str, Any]]


class Candidate(NamedTuple):
    """A method and all of its settings that differ from the official ones, as text."""

    method: str
    settings: str


class Piece(NamedTuple):
    """What one process does at a time: a candidate on one concept."""

    candidate: Candidate
    concept: str


class How(NamedTuple):
    """Where and on what candidates are tried."""

    limit: int | None
    device: str
    work: Path


def whole(method: str, changes: Options) -> dict[str, str]:
    """All settings of a candidate that have an effect and differ from the official preset's, as text.

    Raises BenchError for options that the method does not take.
    """
    official = plain_settings(method, build_method(method))
    candidate = build_method(method, PRESET, changes)
    unused = without_effect(candidate)
    return {
        name: str(value)
        for name, value in plain_settings(method, candidate).items()
        if value != official[name] and name not in unused
    }


def without_effect(candidate: object) -> Collection[str]:
    """The settings that `candidate` does not use, as it says itself: a run refuses them as options."""
    return candidate.unused_settings() if hasattr(candidate, "unused_settings") else ()


def as_text(settings: Options) -> str:
    """Such as `eta=4.0 steps=150`."""
    return " ".join(f"{name}={value}" for name, value in sorted(settings.items()))


def from_text(text: str) -> dict[str, str]:
    """The settings that `as_text` wrote, or a user typed."""
    return parse_options(text.split(), "OPTIONS")


def candidates_of(method: str, options: Iterable[str]) -> list[Candidate]:
    """The method's preset, then that with each of the options, each once."""
    texts = [as_text(whole(method, from_text(text))) for text in ("", *options)]
    return [Candidate(method, text) for text in dict.fromkeys(texts)]


def in_turn(lists: Iterable[Sequence[Candidate]]) -> list[Candidate]:
    """Every method's first candidate, then the second ones: the clock cuts off the least likely."""
    return [candidate for each in zip_longest(*lists) for candidate in each if candidate is not None]


def try_out(how: How, piece: Piece) -> Rows:
    """The concept's rows of the leaderboard, the base model's among them."""
    (method, settings), concept = piece
    words = [
        word
        for item in from_text(settings).items()
        for word in ("--method-option", f"{method}.{'='.join(item)}")
    ]
    document = bench_run(
        *("--suite", SUITE, "--concepts", concept, "--methods", method, "--preset", "official"),
        *("--evaluators", ",".join(EVALUATORS), "--device", how.device),
        *(("--limit", str(how.limit)) if how.limit else ()),
        *("--store", str(how.work / "store"), "--out", str(how.work / "runs" / piece_name(piece))),
        *words,
    )
    return [row for row in document["rows"] if row["scope"] == "concept"]


def piece_name(piece: Piece) -> str:
    """A folder's name; two pieces of one candidate and concept are the same work."""
    return f"{piece.candidate.method}-{content_id(piece)[:12]}"


def row_of(candidate: Candidate, rows: Rows, how: How) -> dict[str, Any]:
    """A candidate's line of the table, from its rows on all concepts."""
    seconds = pd.Series([row["erase_seconds"] for row in rows if row["method"] == candidate.method])
    return {
        "method": candidate.method,
        "settings": candidate.settings,
        "prompts": str(how.limit or ALL_PROMPTS),
        **tried_on(),
        **merit(rows, candidate.method),
        "erase_seconds": seconds.mean(),
        **by_concept(rows, candidate.method),
    }


def tried_on() -> dict[str, str]:
    """The weights and the suite that a row's numbers are of."""
    card = suite_card(SUITE)
    return {"weights": resolve_model(card.model).digest[:12], "suite": card.version}


def tried(candidates: Sequence[Candidate], how: How, jobs: int, until: float) -> Iterator[dict[str, Any]]:
    """The lines of the candidates that could be tried on every concept by then."""
    concepts = suite_card(SUITE).concepts
    # every run draws the base model's pictures where it does not find them in the store: these first
    pieces = [
        Piece(candidate, concept)
        for candidate in (Candidate(BASELINE, ""), *candidates)
        for concept in concepts
    ]
    found: dict[Candidate, list[Rows]] = {}
    for (candidate, _), rows in in_processes(partial(try_out, how), pieces, jobs, until, how.work / "logs"):
        found.setdefault(candidate, []).append(rows)
        if len(found[candidate]) == len(concepts) and candidate.method != BASELINE:
            yield row_of(candidate, [row for rows in found[candidate] for row in rows], how)


def read_table(path: Path) -> pd.DataFrame:
    """What is known so far; empty where there is no such file."""
    if not path.exists():
        return pd.DataFrame(columns=SAME)
    unknown = dict.fromkeys(("merit", "erase_seconds"), [""])
    return pd.read_csv(path, keep_default_na=False, na_values=unknown, dtype=dict.fromkeys(SAME, str))


def merged(known: pd.DataFrame, new: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The table with new rows in the place of those of the same candidate; the best of each method first.

    Rows of other weights or of another version of the suite are left out: nothing compares with them.
    """
    rows = pd.DataFrame(list(new))
    conditions = ["weights", "suite"]
    if set(conditions) <= set(known.columns):
        same = known[conditions].eq(rows.loc[0, conditions]).all(axis="columns")
        rows = pd.concat([known[same], rows], ignore_index=True)
    rows = rows.drop_duplicates(SAME, keep="last")
    return rows.sort_values(["method", "merit"], ascending=[True, False], ignore_index=True)


def added(path: Path, row: Mapping[str, Any]) -> pd.DataFrame:
    """The table with one row more, beside whatever another process has put there in the meantime."""
    with locked(path.parent):
        table = merged(read_table(path), [row])
        write_text(path, table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    return table


def best(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each method: of those that tie with the greatest merit the one that erases fastest."""
    close = table[table["merit"] >= table.groupby("method")["merit"].transform("max") - TIED]
    return close.sort_values(["method", "erase_seconds"]).drop_duplicates("method", ignore_index=True)


def changed(method: str, settings: str) -> str:
    """What the preset must become for these settings: `eta=8.0`, or `as it is`."""
    now, then = whole(method, {}), from_text(settings)
    official = plain_settings(method, build_method(method))
    names = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
    return " ".join(f"{name}={then.get(name, official[name])}" for name in names) or "as it is"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m studies.tune_presets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("methods", nargs="*", metavar="METHOD")
    parser.add_argument("--all", action="store_true", help="every method of studies/tuning_candidates.py")
    parser.add_argument(
        "--try", dest="options", action="append", metavar="OPTIONS", help="instead of the list; repeatable"
    )
    parser.add_argument("--again", action="store_true", help="the table's candidates instead of the list's")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--budget-minutes", type=float, default=float("inf"))
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--limit", type=int, help="prompts of each role and concept, 5 or more for coherence; all by default"
    )
    parser.add_argument("--work", type=Path, default=Path(".bench/tuning"))
    parser.add_argument("--out", type=Path, default=Path("results/microworld/tuning.csv"))
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.budget_minutes
    methods = list(CANDIDATES) if given.all else given.methods
    if not methods:
        parser.error("name methods, or --all")
    known = read_table(given.out)
    try:
        lists = []
        for method in methods:
            if given.again:
                texts = known.loc[known["method"] == method, "settings"]
                lists.append([Candidate(method, text) for text in texts])
            else:
                lists.append(candidates_of(method, given.options or CANDIDATES.get(method, ())))
    except BenchError as error:
        parser.error(str(error))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    wanted = in_turn(lists)
    rows: list[dict[str, Any]] = []
    for row in tried(wanted, How(given.limit, given.device, given.work), given.jobs, until):
        rows.append(row)
        print(
            f"{len(rows)}/{len(wanted)} {row['method']} merit {row['merit']:.4f} {row['settings']}",
            file=sys.stderr,
            flush=True,
        )
        known = added(given.out, row)
    if not rows:
        raise SystemExit("no candidate was tried on every concept in this time (--budget-minutes)")
    chosen = best(known[known["method"].isin(methods)])
    chosen["preset"] = [
        changed(method, settings)
        for method, settings in zip(chosen["method"], chosen["settings"], strict=True)
    ]
    print(
        chosen[
            ["method", "erased", "kept", "known", "coherent", "merit", "erase_seconds", "preset"]
        ].to_string(index=False)
    )


if __name__ == "__main__":
    main()
