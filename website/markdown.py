"""The code's own words as Markdown, as Python-Markdown reads it (with `pymdownx.escapeall`)."""

import posixpath
import re
from collections.abc import Sequence

from erasure_bench.bench.words.showing import in_markdown

_KEPT = re.compile(r"(`[^`]+`|\bdocs/[\w-]+\.md\b|(?<![\w-])--[a-z][a-z-]*\b)")
"""Code, which stays so; a document's name, which becomes a link to it; an option, which becomes code."""
_SUBSCRIPT = re.compile(r"(?<=[\w*])_([a-z]{1,5}|[A-Z]|[θ∅])(?![\w])")


def prose(text: str, page: str) -> str:
    """One line of words on the page of that name; nothing but code and documents' names is marked up."""
    return "".join(_part(part, page) for part in _KEPT.split(re.sub(r"\s+", " ", text)))


def paragraphs(text: str, page: str) -> list[str]:
    """Each paragraph as `prose`, with an empty line after it."""
    return [line for each in re.split(r"\n\s*\n", text.strip()) for line in (prose(each, page), "")]


def formula(text: str, page: str) -> str:
    """As `prose`, with `x_t` set as x and a subscript."""
    parts = _SUBSCRIPT.split(text)  # text, subscript, text, …
    set_ = (f"<sub>{part}</sub>" if i % 2 else prose(part, page) for i, part in enumerate(parts))
    return "".join(set_)


def code(text: str) -> str:
    """The text as code, also in a table's cell; nothing for nothing."""
    quote = "``" if "`" in text else "`"
    return f"{quote}{text}{quote}" if text else ""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of cells that are Markdown already, with an empty line after it."""
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def link(text: str, target: str, page: str) -> str:
    """A link on `page` to another page of the site."""
    return f"[{text}]({posixpath.relpath(target, posixpath.dirname(page) or '.')})"


def _part(part: str, page: str) -> str:
    if not _KEPT.fullmatch(part):
        words = in_markdown(part)
        before, after = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
        return f"{before}{words}{after}" if words else part
    if part.startswith("`"):
        return part
    if part.startswith("--"):
        return code(part)
    name = posixpath.basename(part)
    return link(name.removesuffix(".md").replace("-", " "), name, page)
