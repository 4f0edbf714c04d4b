"""A page with the papers' tables as the project keeps them, each with its protocol and what of ours it is."""

from collections.abc import Iterator, Sequence

from erasure_bench.bench.reporting.published import Number, Published, published
from website.markdown import code, link, prose, table

PAGE = "paper-tables.md"
UNVERIFIED = "?"


def published_pages() -> dict[str, str]:
    """The Markdown of the page by its place in the site."""
    whole = published()
    lines = [
        "# What papers report",
        "",
        f"Never edited to fit. {code(UNVERIFIED)} marks a number from memory. Below each table stands its "
        "protocol, as far as the paper or its code states it, and which of our metrics is the same. "
        f"{link('Why a number does not match a paper', 'paper-numbers.md', PAGE)}.",
        "",
    ]
    for paper in dict.fromkeys(number.paper for number in whole.numbers):
        lines += [f"## {prose(paper, PAGE)}", ""]
        for (name, suite, protocol), numbers in _tables(whole.numbers, paper):
            lines += [f"### {prose(f'{name}: {suite}', PAGE)}", "", *_numbers(numbers)]
            lines += [*_protocol(whole, protocol, numbers), *_ours(whole, numbers), *_notes(numbers)]
    return {PAGE: "\n".join(lines)}


def _tables(numbers: Sequence[Number], paper: str) -> Iterator[tuple[tuple[str, str, str], list[Number]]]:
    """The paper's numbers by table, suite and protocol, in the file's order."""
    found: dict[tuple[str, str, str], list[Number]] = {}
    for number in numbers:
        if number.paper == paper:
            found.setdefault((number.table, number.suite, number.protocol), []).append(number)
    yield from found.items()


def _numbers(numbers: Sequence[Number]) -> list[str]:
    """A row for each method and base model, a column for each concept and metric."""
    columns = list(dict.fromkeys((number.concept, number.metric, _unit(number)) for number in numbers))
    concepts, metrics = (len({column[place] for column in columns}) > 1 for place in (0, 1))
    rows = list(dict.fromkeys((number.method, number.model) for number in numbers))
    models = len({model for _, model in rows}) > 1
    cells = {(each.method, each.model, each.concept, each.metric): each for each in numbers}
    heads = [
        ", ".join([concept] * concepts + [metric + unit] * (metrics or not concepts))
        for concept, metric, unit in columns
    ]
    lines = []
    for method, model in rows:
        found = [cells.get((method, model, concept, metric)) for concept, metric, _ in columns]
        about = [code(method), *([prose(model or "unstated", PAGE)] if models else [])]
        lines.append([*about, *("" if each is None else _value(each) for each in found)])
    return table(["method", *(["model"] if models else []), *(prose(head, PAGE) for head in heads)], lines)


def _unit(number: Number) -> str:
    return f" [{number.unit}]" if number.unit else ""


def _value(number: Number) -> str:
    return f"{number.value:g}{'' if number.verified else f' {UNVERIFIED}'}"


def _protocol(whole: Published, name: str, numbers: Sequence[Number]) -> list[str]:
    """What is known of how the numbers came about, and what is not."""
    stated = whole.protocols[name]
    models = {number.model for number in numbers}
    said = [*(f"model {model}" for model in models if model and len(models) == 1)]
    said += [f"{one.field} {one.value}" for one in stated if one.value is not None]
    silent = [one.field for one in stated if one.value is None]
    parts = [
        f"Stated: {'; '.join(said)}." if said else "",
        f"Not stated: {', '.join(silent)}." if silent else "",
    ]
    return [prose(" ".join(filter(None, parts)), PAGE), ""]


def _ours(whole: Published, numbers: Sequence[Number]) -> list[str]:
    """Which of our metrics each of the columns is, or why none."""
    lines = []
    for protocol, metric in dict.fromkeys((number.protocol, number.metric) for number in numbers):
        ours = whole.counterparts[protocol, metric]
        if ours.why_not is not None:
            means = prose(ours.why_not, PAGE)
        else:
            times = "" if ours.factor == 1 else f", the paper's times {ours.factor:g}"
            owner = link(code(str(ours.evaluator)), f"evaluators/{ours.evaluator}.md", PAGE)
            means = f"{code(str(ours.ours))} of {owner} on {ours.role}{times}"
        lines.append([code(metric), means])
    return table(["the paper's metric", "here"], lines)


def _notes(numbers: Sequence[Number]) -> list[str]:
    notes: dict[str, list[str]] = {}
    for number in numbers:
        if number.note:
            notes.setdefault(number.note, []).append(number.method)
    return [
        line
        for note, methods in notes.items()
        for line in (f"{', '.join(map(code, dict.fromkeys(methods)))}: {prose(note, PAGE)}.", "")
    ]
