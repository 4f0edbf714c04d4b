"""A run's numbers beside published ones, where both are of the same suite, metric and protocol; else why not.

No paper, method or evaluator is named here: which number is which of ours, and under which protocol it was
measured, is in the published files (`bench.reporting.published`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from erasure_bench.bench.planning.cases import slug
from erasure_bench.bench.reporting.published import Counterpart, Number, Published, Stated
from erasure_bench.evaluators.instances import instance

OVERALL = "overall"
_AUTHORS = ("official", "paper")
"""What the names of presets begin with that are the authors' own."""
Json = Mapping[str, Any]


class Beside(NamedTuple):
    """A number of the run, `ours` in [low, high], and the published one, `theirs`, in our unit.

    `unstated` are the fields of how the pictures were drawn that the paper does not state.
    """

    method: str
    concept: str
    role: str
    title: str
    unit: str
    ours: float
    low: float | None
    high: float | None
    theirs: float
    verified: bool
    paper: str
    table: str
    unstated: tuple[str, ...]


class Apart(NamedTuple):
    """Published numbers of the run's suite that cannot stand beside it, all for the same reasons."""

    paper: str
    table: str
    metrics: tuple[str, ...]
    numbers: int
    why: tuple[str, ...]


class Compared(NamedTuple):
    """What was found: `elsewhere` counts the published numbers of "suites", "concepts" and "methods" that the
    run has not."""

    beside: tuple[Beside, ...]
    apart: tuple[Apart, ...]
    elsewhere: Mapping[str, Mapping[str, int]]


def compare(document: Json, published: Published, settings: Iterable[Json] = ()) -> Compared:
    """`document` is a run's leaderboard.json, `settings` what its run.json says of its methods, if known.

    A paper's number is of the method as its paper or code sets it: a row set otherwise stands apart.
    """
    beside: list[Beside] = []
    apart: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    elsewhere: dict[str, Counter[str]] = {}
    methods = {row["method"] for row in document["rows"]}
    otherwise = {one["method"]: why for one in settings if (why := _set_otherwise(one))}
    for number in published.numbers:
        if number.suite != document["suite"]:
            elsewhere.setdefault("suites", Counter())[number.suite] += 1
            continue
        if not _rows(document, number.concept):
            elsewhere.setdefault("concepts", Counter())[number.concept] += 1
            continue
        if number.method not in methods:
            elsewhere.setdefault("methods", Counter())[number.method] += 1
            continue
        counterpart = published.counterparts[number.protocol, number.metric]
        stated = published.protocols[number.protocol]
        found = _nearest(document, number, counterpart, stated, otherwise.get(number.method))
        if found.why or found.row is None:
            apart.setdefault((number.paper, number.table, found.why), []).append(number.metric)
        else:
            beside.append(_beside(number, counterpart, stated, found.row))
    return Compared(
        tuple(beside),
        tuple(
            Apart(paper, table, tuple(dict.fromkeys(metrics)), len(metrics), why)
            for (paper, table, why), metrics in apart.items()
        ),
        {kind: dict(counts) for kind, counts in elsewhere.items()},
    )


def _beside(number: Number, counterpart: Counterpart, stated: Sequence[Stated], row: Json) -> Beside:
    return Beside(
        method=str(row["method"]),
        concept=number.concept,
        role=str(row["role"]),
        title=str(row["title"]),
        unit=str(row["unit"]),
        ours=float(row["value"]),
        low=row["low"],
        high=row["high"],
        theirs=number.value * (counterpart.factor or 1.0),
        verified=number.verified,
        paper=number.paper,
        table=number.table,
        unstated=tuple(field.field for field in stated if field.value is None),
    )


class _Found(NamedTuple):
    """The row of ours that a published number may stand beside, and what keeps it from it."""

    row: Json | None
    why: tuple[str, ...]


def _set_otherwise(settings: Json) -> str:
    """How a method's settings differ from all that its authors state; empty where they do not."""
    if settings.get("weights"):
        return ""
    preset, options = str(settings["preset"]), settings["options"]
    said = [] if preset.startswith(_AUTHORS) else [f"preset {preset}"]
    said += [f"{name}={value}" for name, value in options.items()]
    return f"{settings['method']} here with {', '.join(said)}" if said else ""


def _nearest(
    document: Json, number: Number, counterpart: Counterpart, stated: Sequence[Stated], otherwise: str | None
) -> _Found:
    """The row that fewest things keep apart: a run may have several instances of an evaluator."""
    rows = _rows(document, number.concept)
    first = []
    if number.model != document["model"]:
        first.append(f"base model {number.model or 'not stated'}, here {document['model']}")
    if otherwise:
        first.append(otherwise)
    if counterpart.why_not:
        return _Found(None, (*first, counterpart.why_not))
    names = [name for name in document["evaluators"] if instance(name).name == counterpart.evaluator]
    if not names:
        return _Found(None, (*first, f"evaluator {counterpart.evaluator} is not in this run"))
    found = []
    for name in names:
        like = [
            row
            for row in rows
            if (row["evaluator"], row["metric"], row["role"]) == (name, counterpart.ours, counterpart.role)
        ]
        row = next((row for row in like if row["method"] == number.method), None)
        why = list(first)
        if row is None:
            why.append(f"{counterpart.ours} of {counterpart.role} prompts: not in this run")
        why += _differences(
            document, document["evaluators"][name]["protocol"], stated, row or next(iter(like), None)
        )
        found.append(_Found(row, tuple(why)))
    return min(found, key=lambda one: len(one.why))


def _differences(document: Json, measured: Json, stated: Sequence[Stated], row: Json | None) -> Iterator[str]:
    """What is otherwise in how it was measured, and in how the pictures of the row were drawn."""
    if row is not None and (row["value"] is None or row["status"] != "ok"):
        yield f"{row['method']}: pictures here have no score"
    yield from _otherwise([one for one in stated if one.part == "measure"], measured)
    if row is not None:
        each = _pictures_of_a_prompt(document, row)
        counted = {"images_per_prompt": each, "prompts": row["prompts"], "images": row["images"]}
        drawn = {**document["protocol"], **_guidance(document), **counted}
        yield from _otherwise([one for one in stated if one.part == "draw"], drawn)


def _guidance(document: Json) -> Json:
    """The guidance scale that the pictures were drawn with, where prompts may have one of their own."""
    scales = document.get("guidance_scales") or [document["protocol"].get("guidance_scale")]
    one = scales[0] if len(scales) == 1 else f"{scales[0]:g} to {scales[-1]:g}, each prompt's own"
    return {"guidance_scale": one}


def _pictures_of_a_prompt(document: Json, row: Json) -> float | None:
    """How many the row rests on: prompts may have a number of their own, whatever the suite's protocol says.

    Counted on the unedited model's row where there is one: of it there is one model, however many training
    seeds the run has.
    """
    same = ("scope", "concept", "role", "evaluator", "metric")
    like = (one for one in document["rows"] if all(one[name] == row[name] for name in same))
    counted = next((one for one in like if one["method"] == document["baseline"]), row)
    pictures = counted["images"] + counted.get("missing", 0)
    return round(pictures / counted["prompts"], 2) if counted["prompts"] else None


def _otherwise(stated: Sequence[Stated], ours: Json) -> Iterator[str]:
    """The fields that differ, and those of `_decides` that the paper does not state."""
    for one in stated:
        here = ours.get(one.field)
        if one.value is None:
            if _decides(one):
                yield f"{one.field} not stated, here {_shown(here)}"
        elif not _same(one.value, here):
            yield f"{one.field} {one.value}, here {_shown(here)}"


def _decides(one: Stated) -> bool:
    """What it was measured with, and whether the prompts are the whole suite's or a part of them."""
    return one.part == "measure" or one.field == "prompts"


def _same(theirs: str, ours: object) -> bool:
    with suppress(ValueError, TypeError):
        return float(theirs) == float(ours)  # type: ignore[arg-type]
    return isinstance(ours, str) and theirs == ours


def _shown(ours: object) -> str:
    if ours is None:
        return "not said"
    return str(ours).removesuffix(".0") if isinstance(ours, float) else str(ours)


def _rows(document: Json, concept: str) -> list[Json]:
    if concept == OVERALL:
        return [row for row in document["rows"] if row["scope"] == "overall"]
    return [
        row for row in document["rows"] if row["scope"] == "concept" and slug(row["concept"]) == slug(concept)
    ]


def in_words(compared: Compared) -> list[str]:
    """One line for each reason why published numbers stand apart, then those of what the run has not."""
    lines = [
        f"{one.paper}, {one.table}: {_few(one.metrics)}, {_counted(one.numbers)}: {'; '.join(one.why)}"
        for one in compared.apart
    ]
    for kind, counts in compared.elsewhere.items():
        named = ", ".join(f"{name} {count}" for name, count in counts.items())
        lines.append(f"Of other {kind}: {_counted(sum(counts.values()))} ({named})")
    return lines


def remarks(compared: Compared) -> list[str]:
    """What is to be known of those that stand beside ours."""
    lines = []
    if any(not one.verified for one in compared.beside):
        lines.append("?: not verified: from memory, not read in the paper.")
    by_table: dict[tuple[str, str], tuple[str, ...]] = {
        (one.paper, one.table): one.unstated for one in compared.beside if one.unstated
    }
    lines += [
        f"{paper}, {table}, does not state: {', '.join(unstated)}."
        for (paper, table), unstated in by_table.items()
    ]
    return lines


def _few(metrics: Sequence[str]) -> str:
    return (
        ", ".join(metrics) if len(metrics) <= 3 else f"{metrics[0]} … {metrics[-1]} ({len(metrics)} metrics)"
    )


def _counted(numbers: int) -> str:
    return f"{numbers} number{'' if numbers == 1 else 's'}"
