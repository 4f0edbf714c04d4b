"""`python -m studies.unlearning_reference FOLDER`: who comes near a model that never knew?

FOLDER is the built-in generator trained anew without one concept of each kind, from the work folder W of a
training (`models/microworld/weights/TRAINING.md`); about 2½ hours of one core:

    python -m erasure_bench.models.microworld.train --work W --without "{concepts}"
    python -m erasure_bench.models.microworld.ship --work W --references R

Every method erases each of the concepts, and its pictures are held against those that the reference draws for
the same prompts: KID in the oracle's features, pairs of one noise left out. Writes `reference.md` and
`reference.csv` in `results/microworld`. About half an hour of one core.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from scipy.stats import kendalltau

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.reporting.collapsed import marked
from erasure_bench.bench.reporting.run_file import LEADERBOARD
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.models.microworld.loop import FACTS_FILE
from studies.digits_findings import Key, Number, Values
from studies.running import bench_run

CASES = {
    "microworld-instances": "grumpy cat",
    "microworld-styles": "mosaic",
    "microworld-identities": "Mira Voss",
    "microworld-implicit": "fire",
    "microworld-objects": "boat",
    "microworld-memorized": "The Silver Harbour at Dusk",
}
"""A concept of each kind, with its suite."""
METHODS = (
    *("sa", "uce", "ca-model", "ca-noise", "ca-reverse", "esd-x", "esd-x-strict", "esd-u", "esd-all"),
    *("sld-weak", "sld-weak-diffusers", "sld-medium", "sld-strong", "sld-max", "negative-prompt", "loss-max"),
)
REFERENCE = "retrained"
TO_REFERENCE = "fidelity@microworld"
EVALUATORS = ("classifier", "coherence", TO_REFERENCE)
ERASED, KEPT = "target", ("neighbour", "retention")
P: Key = (ERASED, "classifier", "class_probability")
SEEN: tuple[tuple[str, Key, int], ...] = (
    ("p(concept) ↓", P, 3),
    ("anchor instead", (ERASED, "classifier", "anchor_share"), 2),
    ("something known", (ERASED, "classifier", "known_share"), 2),
    ("KID to the reference ↓", (ERASED, TO_REFERENCE, "kid"), 3),
    *((f"{role}: right ↑", (role, "classifier", "class_accuracy"), 2) for role in KEPT),
    *((f"{role}: KID to the reference ↓", (role, TO_REFERENCE, "kid"), 3) for role in KEPT),
)
DISTANCE: Key = (ERASED, TO_REFERENCE, "kid")
HEAD = """# How near to a model that never knew the concept

Made by `python -m studies.unlearning_reference`, seed 0. *{reference}* is the built-in generator trained
anew, from nothing, {facts}.
It has never seen any of the six concepts; that it went without the other five as well touches what is shown
here only where these stand among the kept. *{none}* is the base model. KID is that of the oracle's features
between a row's pictures and the reference's of the same prompts, pairs of one noise left out: that of
*{none}* on the kept roles says how far two trainings lie apart anyway. [Intervals] are 95 %, for other
prompts. †: the pictures have collapsed.

"""


class Case(NamedTuple):
    """What was measured of one concept."""

    suite: str
    concept: str
    values: Values
    collapsed: frozenset[str]

    @classmethod
    def read(cls, suite: str, concept: str, run: Path) -> "Case":
        rows = pd.read_csv(run / f"{LEADERBOARD}.csv")
        return cls(suite, concept, Values(rows), frozenset(rows.loc[rows["collapsed"].notna(), "method"]))

    def distances(self) -> dict[str, Number]:
        """Each method's KID to the reference where it is asked for the concept."""
        found = {method: self.values.get(method, DISTANCE) for method in self.values.methods}
        return {method: value for method, value in found.items() if value is not None}

    def order(self) -> float:
        """Kendall's τ-b between what is left of the concept and the distance, over the methods."""
        names = [name for name in self.distances() if name != BASELINE]
        left = [self.values.get(name, P) for name in names]
        far = [self.distances()[name].value for name in names]
        return float(kendalltau([one.value if one else float("nan") for one in left], far).statistic)


def run_case(suite: str, concept: str, reference: Path, work: Path, store: Path, limit: int | None) -> Case:
    """Erases the concept in every way and measures, beside the reference."""
    run = work / suite
    bench_run(
        *("--suite", suite, "--concepts", concept, "--methods", ",".join(METHODS)),
        *("--reference", str(reference), "--evaluators", ",".join(EVALUATORS)),
        *("--evaluator-option", f"{TO_REFERENCE}.reference=row:{reference.name}"),
        *(("--limit", str(limit)) if limit else ()),
        *("--store", str(store), "--out", str(run)),
    )
    return Case.read(suite, concept, run)


def page(cases: Sequence[Case], facts: str) -> str:
    """The page in Markdown."""
    head = HEAD.format(reference=REFERENCE, facts=facts, none=BASELINE)
    return head + "\n".join([*_overview(cases), *(line for case in cases for line in _table(case))]) + "\n"


def _overview(cases: Sequence[Case]) -> Iterator[str]:
    """Where the concept is asked for: every method's distance, concept by concept."""
    yield "## Asked for the concept: KID to the reference\n"
    yield "| method | " + " | ".join(case.concept for case in cases) + " |"
    yield "|:---|" + "---:|" * len(cases)
    for method in (BASELINE, *METHODS):
        found = [case.distances().get(method) for case in cases]
        name = marked(method, set().union(*(case.collapsed for case in cases)))
        yield f"| {name} | " + " | ".join(one.text(3) if one else "not measured" for one in found) + " |"
    yield ""
    yield "| concept | certainly nearer than the base model | nearest | τ-b of p(concept) and the distance |"
    yield "|:---|---:|:---|---:|"
    for case in cases:
        far = case.distances()
        others = {name: one for name, one in far.items() if name not in (BASELINE, *case.collapsed)}
        nearer = sum(one.high < far[BASELINE].low for one in others.values())
        nearest = min(others, key=lambda name: others[name].value)
        yield f"| {case.concept} | {nearer} of {len(others)} | {nearest} | {case.order():.2f} |"
    yield ""


def _table(case: Case) -> Iterator[str]:
    yield f"## {case.concept} ({case.suite})\n"
    yield "| method | " + " | ".join(title for title, _, _ in SEEN) + " |"
    yield "|:---|" + "---:|" * len(SEEN)
    for method in (BASELINE, REFERENCE, *METHODS):
        cells = []
        for _, key, decimals in SEEN:
            found = case.values.get(method, key)
            cells.append(
                found.text(decimals) if found else "reference" if method == REFERENCE else "not measured"
            )
        yield f"| {marked(method, case.collapsed)} | " + " | ".join(cells) + " |"
    yield ""


def numbers(cases: Sequence[Case]) -> pd.DataFrame:
    """Every number of the page."""
    rows = [
        (case.suite, case.concept, method, *key, *found)
        for case in cases
        for method in case.values.methods
        for _, key, _ in SEEN
        if (found := case.values.get(method, key))
    ]
    columns = ["suite", "concept", "method", "role", "evaluator", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns).round(6)


def said_of(reference: Path) -> str:
    """How the reference was trained, in its own words."""
    facts = json.loads((reference / FACTS_FILE).read_text(encoding="utf-8"))
    kept, gone = facts["pictures"], facts["left_out"]
    return f"for {facts['steps']:,} steps on the {kept:,} drawings that are left of {kept + gone:,}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m studies.unlearning_reference",
        description=(__doc__ or "").format(concepts="+".join(CASES.values())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("reference", type=Path, metavar="FOLDER")
    parser.add_argument("--limit", type=int, help="only the first prompts of each role: a trial")
    parser.add_argument("--work", type=Path, default=Path(".bench/reference"))
    parser.add_argument("--store", type=Path, help="by default in --work")
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    given = parser.parse_args()
    if not (given.reference / FACTS_FILE).exists():
        parser.error(f"{given.reference} has no {FACTS_FILE}: pack the training with ship --references")
    reference = given.work / REFERENCE  # the row is called by the folder's name
    shutil.rmtree(reference, ignore_errors=True)
    shutil.copytree(given.reference, reference)
    store = given.store or given.work / "store"
    cases = [
        run_case(suite, concept, reference, given.work, store, given.limit)
        for suite, concept in CASES.items()
    ]
    write_text(given.out / "reference.csv", numbers(cases).to_csv(index=False))
    write_text(given.out / "reference.md", page(cases, said_of(reference)))


if __name__ == "__main__":
    main()
