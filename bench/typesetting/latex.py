"""Tables in LaTeX with booktabs: floats to paste or to \\input, each with caption and label."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from textwrap import wrap
from typing import Any, NamedTuple

from erasure_bench.bench.reporting.board import Cell, Numbers
from erasure_bench.bench.typesetting.arranged import DETECTABLE, Arranged, Panel, legend
from erasure_bench.bench.words.showing import one_line

DOCUMENT = """\\documentclass{article}
\\usepackage[margin=2cm]{geometry}
\\usepackage{amssymb,booktabs,graphicx}
\\begin{document}
%s\\end{document}
"""
"""A whole document around the tables."""
WIDEST = 110
"""A panel of more characters a line than this is split: in one piece it would be shrunk beyond reading."""
_SMALL = 0.7
"""How wide a character of an interval is beside one of a number."""
_LONGEST_WORD = 12
"""A heading is broken into lines of about as many characters."""
_NO_LETTER = re.compile(r"[^a-z0-9]+")


class _Written(NamedTuple):
    """A panel's parts as LaTeX: what `table.tex.j2` puts together."""

    caption: str
    label: str
    columns: int
    groups: str
    rules: str
    heads: str
    lines: list[str]
    base: int | None
    detectable: str
    below: list[str]


def latex(what: Arranged, label: str) -> str:
    """The panels, a float each; those too wide for a page in several. Notes stand below the last.

    `label` is what their labels begin with.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("erasure_bench.bench.typesetting", "."),
        block_start_string="((%",
        block_end_string="%))",
        variable_start_string="(((",
        variable_end_string=")))",
        comment_start_string="((#",
        comment_end_string="#))",
        trim_blocks=True,
        autoescape=False,  # every word goes through `escaped`
        undefined=StrictUndefined,
    )
    panels = list(_panels(what, label))
    if panels:
        failed = (f"Failed: {line}" for line in what.failures)
        below = [escaped(line) for line in (*failed, *what.lacking, *what.notes)]
        panels[-1] = panels[-1]._replace(below=below)
    comments = [one_line(line) for line in what.provenance]
    return environment.get_template("table.tex.j2").render(
        title=one_line(what.title), panels=panels, comments=comments
    )


def escaped(text: object) -> str:
    """One line that LaTeX sets as it stands; a character that no font of it has becomes its code."""
    return str(_encoder().unicode_to_latex(one_line(text))).replace("--", "-{}-")


def _after_a_lines_end(words: str) -> str:
    """There an asterisk or a bracket would be the line end's own argument."""
    return f"{{}}{words}" if words.startswith(("[", "*")) else words


@lru_cache(maxsize=1)
def _encoder() -> Any:
    from pylatexenc.latexencode import RULE_DICT, UnicodeToLatexConversionRule, UnicodeToLatexEncoder

    own = {
        ord("|"): r"{\textbar}",
        ord("<"): r"{\textless}",
        ord(">"): r"{\textgreater}",
        ord("◆"): r"\ensuremath{\blacklozenge}",
        ord("▸"): r"\ensuremath{\blacktriangleright}",
        ord("▹"): r"\ensuremath{\triangleright}",
        ord("†"): r"\ensuremath{^{\dagger}}",
        ord("↓"): r"\ensuremath{\downarrow}",
        ord("↑"): r"\ensuremath{\uparrow}",
    }
    return UnicodeToLatexEncoder(
        conversion_rules=[UnicodeToLatexConversionRule(RULE_DICT, own), "defaults"],
        unknown_char_policy=lambda character: f"[U+{ord(character):04X}]",
        unknown_char_warning=False,
    )


def _panels(what: Arranged, label: str) -> Iterator[_Written]:
    labels: set[str] = set()
    for panel in what.panels:
        parts = list(_split(panel))
        for place, part in enumerate(parts):
            heading = f"{panel.heading}, part {place + 1}" if len(parts) > 1 else panel.heading
            caption = f"{what.title}{': ' if heading else ''}{heading}. {' '.join(legend([part]))}"
            yield _written(part, escaped(caption), _label(f"{label} {what.name} {heading}", labels))


def _label(named: str, taken: set[str]) -> str:
    """Letters, digits and dashes, once in the document."""
    words = _NO_LETTER.sub("-", named.lower()).strip("-") or "table"
    label, number = words, 1
    while label in taken:
        number += 1
        label = f"{words}-{number}"
    taken.add(label)
    return label


def _split(panel: Panel) -> Iterator[Panel]:
    """In as few panels as hold no more than `WIDEST` characters a line, alike in width."""
    left = max((len(name) for name in (*panel.names, DETECTABLE)), default=0)
    widths = [_width(column) for column in panel.columns]
    groups = [places for _, places in panel.groups]
    parts = _packed(groups, widths, WIDEST - left)
    for room in range(WIDEST - left, 0, -1):
        narrower = _packed(groups, widths, room)
        if len(narrower) > len(parts):
            break
        parts = narrower
    for part in parts:
        yield panel._replace(
            columns=tuple(panel.columns[place] for place in part),
            detectable=tuple(panel.detectable[place] for place in part) if panel.detectable else (),
        )


def _packed(groups: Sequence[Sequence[int]], widths: Sequence[float], room: float) -> list[list[int]]:
    """Neighbouring places as far as `room` holds their widths; groups stay together where they fit in one."""
    parts: list[list[int]] = []
    used = room
    for group in groups:
        whole = sum(widths[place] for place in group)
        units = [list(group)] if whole <= room else [[place] for place in group]
        for unit in units:
            wide = sum(widths[place] for place in unit)
            if not parts or used + wide > room:
                parts.append([])
                used = 0.0
            parts[-1] += unit
            used += wide
    return parts


def _width(column: Numbers) -> float:
    cells = [len(cell.value) + _SMALL * len(cell.interval) + 3 for cell in column.cells]
    return max([max(map(len, _lines(column))) + 2, *cells])


def _lines(column: Numbers) -> list[str]:
    """The heading in short lines; the arrow stands behind the last word."""
    title = one_line(column.title)
    lines = wrap(title, _LONGEST_WORD, break_long_words=False, break_on_hyphens=False) or [""]
    return [*lines[:-1], f"{lines[-1]} {column.arrow}".rstrip()]


def _heading(column: Numbers) -> str:
    lines = [_after_a_lines_end(escaped(line)) for line in _lines(column)]
    broken = r"\\".join(lines)
    return broken if len(lines) == 1 else f"\\shortstack[r]{{{broken}}}"


def _written(panel: Panel, caption: str, label: str) -> _Written:
    groups, rules = [], []
    for name, places in panel.groups:
        groups.append(f"\\multicolumn{{{len(places)}}}{{c}}{{{escaped(name)}}}")
        if name:
            rules.append(f"\\cmidrule(lr){{{places[0] + 2}-{places[-1] + 2}}}")
    named = bool(rules)
    return _Written(
        caption=caption,
        label=label,
        columns=len(panel.columns),
        groups=" & ".join(groups) if named else "",
        rules=" ".join(rules),
        heads=" & ".join(_heading(column) for column in panel.columns),
        lines=[
            " & ".join(
                [_after_a_lines_end(escaped(name)), *(_cell(column.cells[index]) for column in panel.columns)]
            )
            for index, name in enumerate(panel.names)
        ],
        base=panel.base,
        detectable=" & ".join([f"\\textit{{{DETECTABLE}}}", *map(escaped, panel.detectable)])
        if panel.detectable
        else "",
        below=[],
    )


def _cell(cell: Cell) -> str:
    value = escaped(cell.value)
    if cell.best:
        value = f"\\textbf{{{value}}}"
    elif cell.second:
        value = f"\\underline{{{value}}}"
    return f"{value} {{\\scriptsize {escaped(cell.interval)}}}" if cell.interval else value
