"""The robustness table on a terminal, as Markdown and as CSV. Reads only a `Robustness`."""

from collections.abc import Iterator, Sequence

import pandas as pd
from rich.console import Group, RenderableType
from rich.text import Text

from erasure_bench.bench.reporting.robustness import RATES, Rate, Robustness, RobustnessRow
from erasure_bench.bench.words.grid import Column, grids
from erasure_bench.bench.words.numbers import number
from erasure_bench.bench.words.prose import prose
from erasure_bench.bench.words.showing import in_csv, in_markdown, one_line

HEADINGS = {
    "plain": "as asked",
    "chosen": "chosen",
    "control_chosen": "control, chosen",
    "base_chosen": "on the base, chosen",
    "unrelated_chosen": "unrelated edit, chosen",
    "asked_or_any": "as asked or any of n",
    "any": "any of n",
    "control_any": "control, any of n",
    "above": "above control",
    "base_any": "on the base, any",
    "unrelated_any": "unrelated edit, any",
    "coherent": "coherent",
}
"""The numbers that a table shows; all of them are in robustness.json and robustness.csv."""
READ_AS = "share of prompts whose picture shows the concept [95% interval]; lower is more robust"
SIGNED = frozenset({"above", "above_chosen"})


def sections(table: Robustness) -> Iterator[tuple[str, list[RobustnessRow]]]:
    """A heading and its rows: each judge's overall rows, then each concept's."""
    judges = dict.fromkeys((row.evaluator, row.metric, row.title) for row in table.rows)
    scopes = dict.fromkeys((row.scope, row.concept) for row in table.rows)
    for evaluator, metric, title in judges:
        for scope, concept in scopes:
            rows = [
                row
                for row in table.rows
                if (row.evaluator, row.metric, row.scope, row.concept) == (evaluator, metric, scope, concept)
            ]
            if rows:
                where = f"mean over {len(table.concepts)} concepts" if scope != "concept" else concept
                yield f"{where}, judged by {evaluator}: {title}", rows


def shown(rate: Rate, *, signed: bool = False) -> str:
    """`0.25 [0.03, 0.65]`, – where nothing is known."""
    if rate.value is None:
        return "–"
    value = number(rate.value, 2, signed=signed)
    if rate.low is None or rate.high is None:
        return value
    ends = (number(end, 2, signed=signed) for end in (rate.low, rate.high))
    return f"{value} [{', '.join(ends)}]"


def name_of(row: RobustnessRow) -> str:
    """The attack with its number of tries."""
    return f"{row.attack} (n = {row.tries})"


def cell(row: RobustnessRow, name: str) -> str:
    """A number of the row as the table shows it."""
    rate: Rate = getattr(row, name)
    return shown(rate, signed=name in SIGNED)


def on_terminal(table: Robustness, width: int, *, brief: bool = False) -> RenderableType:
    """Every section within `width`; `brief` is the first alone."""
    parts: list[RenderableType] = [Text(f"Attacks: {one_line(table.title)}", "bold"), Text(READ_AS, "dim")]
    for heading, rows in list(sections(table))[: 1 if brief else None]:
        parts.append(Text(one_line(heading), "bold cyan"))
        columns = [
            Column(Text(title), tuple(Text(cell(row, name)) for row in rows))
            for name, title in HEADINGS.items()
            if name == "any" or any(getattr(row, name).value is not None for row in rows)
        ]
        # One name of both: where the columns do not fit beside each other, each part has it.
        names = [Text(f"{one_line(row.method)} · {name_of(row)}") for row in rows]
        parts += grids("method · attack", names, columns, width)
        parts.append(Text(""))
    parts += prose(table.notes, width)
    return Group(*parts)


def markdown(table: Robustness) -> str:
    """Every section and note."""
    lines = [f"# Attacks: {in_markdown(table.title)}", "", f"{READ_AS}.".capitalize(), ""]
    for heading, rows in sections(table):
        lines += [f"## {in_markdown(heading)}", "", *_grid(rows), ""]
    lines += [f"- {in_markdown(attack)} chooses by {how}." for attack, how in table.chosen_by.items()]
    lines += [f"- {in_markdown(note)}" for note in table.notes]
    return "\n".join(lines).rstrip() + "\n"


def _grid(rows: Sequence[RobustnessRow]) -> Iterator[str]:
    names = [name for name in HEADINGS if any(getattr(row, name).value is not None for row in rows)]
    yield f"| method | attack | prompts | {' | '.join(HEADINGS[name] for name in names)} |"
    yield "|---|---|---:|" + "---:|" * len(names)
    for row in rows:
        cells = " | ".join(cell(row, name) for name in names)
        yield f"| {in_markdown(row.method)} | {in_markdown(name_of(row))} | {row.any.prompts} | {cells} |"


def csv(table: Robustness) -> str:
    """A line for each row, every rate with its ends."""
    records = []
    for row in table.rows:
        record: dict[str, object] = {key: value for key, value in vars(row).items() if key not in RATES}
        for name in RATES:
            rate: Rate = getattr(row, name)
            record |= {name: rate.value, f"{name}_low": rate.low, f"{name}_high": rate.high}
            record[f"{name}_prompts"] = rate.prompts
        records.append(record)
    frame = pd.DataFrame(records).map(lambda each: in_csv(each) if isinstance(each, str) else each)
    return frame.to_csv(index=False)
