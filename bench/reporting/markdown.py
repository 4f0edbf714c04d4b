"""The leaderboard as Markdown: every metric, every concept, every note."""

from collections.abc import Sequence

from erasure_bench.bench.reporting.board import (
    Board,
    Cell,
    Judgement,
    Numbers,
    further,
    judgements,
    sections,
)
from erasure_bench.bench.words.showing import in_markdown


def markdown(board: Board, concepts: Sequence[str] | None = None) -> str:
    """The overall tables, one for each role, those of parts of a whole, then the concepts'.

    Without `concepts` those of all, where there are several.
    """
    if concepts is None:
        concepts = board.concepts if len(board.concepts) > 1 else ()
    lines = [f"# {in_markdown(board.title)}", ""]
    for heading, columns in sections(board, concepts):
        if heading:
            lines += [f"## {in_markdown(heading)}", ""]
        lines += _by_role(board.names(heading), columns)
        if not heading:
            lines += _verdicts(board, judgements(board))
            for of_parts, parts in further(board):
                lines += [f"## {in_markdown(of_parts)}", "", *_by_role(board.names(), parts)]
    if board.failures:
        lines += ["Failed:", "", *(f"- {in_markdown(line)}" for line in board.failures), ""]
    lines += [f"- {in_markdown(note)}" for note in board.notes]
    return "\n".join(lines).rstrip() + "\n"


def _by_role(methods: Sequence[str], columns: Sequence[Numbers]) -> list[str]:
    """A table for each role, the costs' last."""
    by_role: dict[str | None, list[Numbers]] = {}
    for column in columns:
        by_role.setdefault(column.role, []).append(column)
    lines = []
    for role, of_role in by_role.items():
        lines += [f"**{in_markdown(role) if role else 'cost'}**", "", *table(methods, of_role), ""]
    return lines


def table(methods: Sequence[str], columns: Sequence[Numbers]) -> list[str]:
    """The lines of one table."""
    heads = " | ".join(in_markdown(column.heading) for column in columns)
    lines = [f"| method | {heads} |", "|---|" + "---:|" * len(columns)]
    for index, method in enumerate(methods):
        cells = " | ".join(_cell(column.cells[index]) for column in columns)
        lines.append(f"| {in_markdown(method)} | {cells} |")
    return lines


def _verdicts(board: Board, columns: Sequence[Judgement]) -> list[str]:
    """By role whether its bar is met, with the interval that says so, and the method's place."""
    heads = []
    for column in columns:
        named = f"{column.role}, {column.title}"
        heads += [f"{named}: {column.bar}"] if column.bar else []
        heads.append("place" if column.bar else f"{named}: place")
    front = board.on_front()
    if front:
        heads.append("front")
    lines = ["**verdicts**", ""]
    lines += [f"| method | {' | '.join(map(in_markdown, heads))} |", "|---|" + "---:|" * len(heads)]
    for index, method in enumerate(board.names()):
        cells: list[str] = []
        for column in columns:
            cell = column.cells[index]
            cells += [f"{cell.verdict or '–'} {cell.interval}".rstrip()] if column.bar else []
            cells.append(cell.place or "–")
        if front:
            cells.append(front[index])
        lines.append(f"| {in_markdown(method)} | {' | '.join(cells)} |")
    return [*lines, ""] if columns else []


def _cell(cell: Cell) -> str:
    value = in_markdown(cell.value)
    shown = f"**{value}**" if cell.best else f"*{value}*" if cell.second else value
    parts = (shown, cell.interval, cell.change)
    return " ".join(part for part in parts if part)
