"""From rows of a file to prompts of concepts."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from itertools import chain, product
from typing import get_args

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.hostile import seed_trouble
from erasure_bench.prompt_suites.rows import MOST_ROWS, PROMPT, Row
from erasure_bench.prompt_suites.schema import COLUMNS, FILL, MOST_GUIDANCE, Column, PromptSource
from erasure_bench.prompt_suites.suite import ROLES, Prompt, Role
from erasure_bench.prompt_suites.transformations.phrases import named_in

SEPARATOR = ";"
"""Between the concepts, and between the tags, of one cell."""


def rows_in_suite(source: PromptSource, where: str) -> list[Row]:
    """The rows that stand in the suite's own file: `rows`, or one for each of `texts`."""
    if source.rows:
        known = {*COLUMNS, *chain(*source.columns.values()), *source.where, *source.fill}
        for number, row in enumerate(source.rows):
            if stray := next((name for name in row if name not in known), None):
                raise UnknownName("column", stray, COLUMNS, f"{where}.rows[{number}]")
        return [
            Row({name: str(cell) for name, cell in row.items()}, number, f"{where}.rows[{number}]")
            for number, row in enumerate(source.rows)
        ]
    return [
        Row({PROMPT: text}, number, f"{where}.texts[{number}]") for number, text in enumerate(source.texts)
    ]


def filled_rows(source: PromptSource, rows: Sequence[Row], where: str) -> list[Row]:
    """Each row once for every way to fill it, with a column for each name of `fill`; at most `MOST_ROWS`."""
    if not source.fill:
        return list(rows)
    if (count := len(rows) * math.prod(map(len, source.fill.values()))) > MOST_ROWS:
        raise BenchError(f"{where}.fill: makes {count:,} prompts, more than {MOST_ROWS:,}")
    ways = [dict(zip(source.fill, values, strict=True)) for values in product(*source.fill.values())]
    return [
        Row({**row.cells, **way}, number, row.where) for number, (row, way) in enumerate(product(rows, ways))
    ]


def chosen_rows(source: PromptSource, rows: Sequence[Row], options: Mapping[str, str]) -> list[Row]:
    """The rows for which every condition of `where` holds; BenchError where they are not so many."""
    chosen = [row for row in rows if all(_holds(source, row, column, options) for column in source.where)]
    if source.expect is not None and len(chosen) != source.expect:
        raise BenchError(f"{rows[0].where}: {len(chosen):,} rows count, expected {source.expect:,}")
    return chosen


def _holds(source: PromptSource, row: Row, column: str, options: Mapping[str, str]) -> bool:
    if column not in row.cells:
        raise UnknownName("column", column, row.cells, f"where, {row.where}")
    try:
        return source.where[column].holds(row.cells[column], options)
    except ValueError:
        raise BenchError(f"{row.where}: {column}: {row.cells[column]!r} is no number") from None


class PromptReader:
    """Turns the rows of one source into prompts of the `concepts`; `cells` has the columns of the rows.

    Raises BenchError, with the row's place, for a cell that cannot be read and for a concept that is none of
    the concepts.
    """

    def __init__(
        self, source: PromptSource, cells: Mapping[str, object], concepts: Sequence[Concept]
    ) -> None:
        self.source, self.concepts = source, concepts
        self.column = {column: self._column(column, cells) for column in get_args(Column)}
        self.by_name = {_typed(concept.name): concept for concept in concepts}
        phrases = [(phrase, concept) for concept in concepts for phrase in concept.targets]
        self.phrases = sorted(phrases, key=lambda pair: -len(pair[0]))
        self.named = sorted(source.named, key=len, reverse=True)

    def _column(self, column: Column, cells: Mapping[str, object]) -> str | None:
        names = self.source.columns.get(column)
        if names is None:
            return column if column == PROMPT or not self.source.columns else None
        for name in names:
            if name in cells:
                return name
        raise UnknownName("column", names[0], cells, f"columns.{column}")

    def read(self, row: Row) -> list[tuple[str, Prompt]]:
        """The names of the concepts that the row is for, each with the prompt that it is to it."""
        text = self._text(row)
        owners = self._owners(row, text)
        if owners == ():
            return []
        role = self._role(row)
        fills = any(FILL in (part or "") for part in (text, *self._shown(row, text)))
        plain: dict[Role, Prompt] = {}
        found = []
        for concept in self.concepts:
            its_role = role if owners is None or concept in owners else self.source.others
            if its_role is None:
                continue
            owner = concept if owners is None or concept in owners else owners[0]
            if not fills and its_role in plain:
                found.append((concept.name, plain[its_role]))
                continue
            apart = concept.name if owners is None and fills else None
            prompt = self._prompt(row, text, its_role, owner, other=its_role != role, apart=apart)
            plain[its_role] = prompt
            found.append((concept.name, prompt))
        return found

    def _prompt(
        self, row: Row, text: str, role: Role, owner: Concept, *, other: bool, apart: str | None
    ) -> Prompt:
        source, filled, seed = self.source, text.replace(FILL, owner.target), self._seed(row)
        subject, label = self._shown(row, text)
        return Prompt(
            id=self._own_id(row, role if other else None, apart) or _derived_id(role, filled, seed, apart),
            text=filled,
            role=role,
            subject=(subject or filled).replace(FILL, owner.target),
            label=label and label.replace(FILL, owner.label or owner.name),
            seed=seed,
            guidance_scale=self._number(row, "guidance_scale", least=0, most=MOST_GUIDANCE),
            height=self._whole(row, "height", least=8, most=4096),
            width=self._whole(row, "width", least=8, most=4096),
            tags=(*source.tags, *self._tags(row)),
            images_per_prompt=self._whole(row, "images_per_prompt", least=1, most=10_000)
            or (source.images_of_others if other else None)
            or source.images_per_prompt,
        )

    def _own_id(self, row: Row, *apart: str | None) -> str | None:
        own, start = self._cell(row, "id"), self.source.id
        if own is None and start is None:
            return None
        name = f"{row.number:04d}" if own is None else own.zfill(4) if own.isdigit() and start else own
        # One row is another prompt for another concept, with an id of its own.
        return "/".join(part for part in (start, name, *apart) if part)

    def _text(self, row: Row) -> str:
        text = row.cells.get(self.column[PROMPT] or PROMPT, "")
        if not text.strip():
            if self.source.empty is None:
                raise BenchError(f"{row.where}: prompt: is empty")
            text = self.source.empty
        for old, new in self.source.replace.items():
            text = text.replace(old, new)
        return self._filled(
            row, text if self.source.template is None else self.source.template.replace(FILL, text)
        )

    def _shown(self, row: Row, text: str) -> tuple[str | None, str | None]:
        """The prompt's subject and label, where something says them."""
        if self.named:
            name = next((name for name in self.named if _stands_in(name, text)), None)
            if name is None:
                raise BenchError(f"{row.where}: prompt: names nothing of named: {text[:60]!r}")
            return name, name
        subject = self._cell(row, "subject") or self.source.subject
        label = self._cell(row, "label") or self.source.label
        return subject and self._filled(row, subject), label and self._filled(row, label)

    def _filled(self, row: Row, text: str) -> str:
        for name in self.source.fill:
            text = text.replace(f"{{{name}}}", row.cells[name])
        return text

    def _owners(self, row: Row, text: str) -> tuple[Concept, ...] | None:
        """The concepts that the row is of; None for all."""
        if self.source.concept is not None:
            return tuple(concept for concept in self.concepts if concept.name == self.source.concept)
        if self.source.concept_named_in_prompt:
            named = next((concept for phrase, concept in self.phrases if _stands_in(phrase, text)), None)
            if named is None:
                raise BenchError(f"{row.where}: prompt: names none of the concepts: {text[:60]!r}")
            return (named,)
        cell = self._cell(row, "concept")
        if cell is None:
            return None
        names = [name.strip() for name in cell.split(SEPARATOR) if name.strip()]
        for name in names:
            if _typed(name) not in self.by_name:
                known = [concept.name for concept in self.concepts]
                raise UnknownName("concept", name, known, row.where)
        return tuple(self.by_name[_typed(name)] for name in names)

    def _role(self, row: Row) -> Role:
        cell = self._cell(row, "role")
        if cell is None:
            return self.source.role
        for role in ROLES:
            if cell == role:
                return role
        raise UnknownName("role", cell, ROLES, row.where)

    def _cell(self, row: Row, column: Column) -> str | None:
        name = self.column[column]
        cell = row.cells.get(name, "").strip() if name else ""
        return cell or None

    def _tags(self, row: Row) -> tuple[str, ...]:
        cell = self._cell(row, "tags") or ""
        mark = SEPARATOR if SEPARATOR in cell or not self.source.upstream else ","
        return tuple(tag.strip() for tag in cell.split(mark) if tag.strip())

    def _seed(self, row: Row) -> int | None:
        cell = self._cell(row, "seed")
        if cell is None:
            return None
        if why := seed_trouble(cell):
            raise BenchError(f"{row.where}: seed: {why}")
        return int(cell)

    def _whole(self, row: Row, column: Column, *, least: int, most: int) -> int | None:
        cell = self._cell(row, column)
        if cell is None:
            return None
        if not (cell.isascii() and cell.isdigit()) or not least <= int(cell[:9]) <= most:
            raise BenchError(
                f"{row.where}: {column}: {cell[:40]!r} is no whole number from {least} to {most}"
            )
        return int(cell)

    def _number(self, row: Row, column: Column, *, least: float, most: float) -> float | None:
        cell = self._cell(row, column)
        if cell is None:
            return None
        try:
            number = math.nan if "_" in cell else float(cell)  # as Python writes 1_000
        except ValueError:
            number = math.nan
        if not least <= number <= most:
            raise BenchError(
                f"{row.where}: {column}: {cell[:40]!r} is no number from {least:g} to {most:,.0f}"
            )
        return number


def _stands_in(phrase: str, text: str) -> bool:
    """Whether the text has the phrase, as it is written, as whole words."""
    return phrase in text and any(text[at.start : at.end] == phrase for at in named_in(text, (phrase,)))


def _derived_id(role: Role, text: str, seed: int | None, apart: str | None) -> str:
    """An id that stays where rows are added or put in another order: pictures keep their noise."""
    said = "\n".join(str(part) for part in (text, seed, apart) if part is not None)
    return f"{role}/{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _typed(name: str) -> str:
    return name.strip().casefold().replace("_", " ").replace("-", " ")
