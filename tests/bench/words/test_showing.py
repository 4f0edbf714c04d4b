"""What others wrote is shown and never obeyed: by a terminal, by Markdown, by a spreadsheet."""

import json
import os
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from erasure_bench.bench.words.showing import (
    ascii_json,
    in_csv,
    in_json,
    in_markdown,
    look_alike,
    one_line,
    shown,
)

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=40)
"""Control characters and lone surrogates, too."""
MARKED = st.text("abz019 \\`*_{}[]()<>#+-.!|~$&;:/='\"^\n\t", max_size=40)
RENDERER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("back\x08space\rreturn", "back\\x08space\\x0dreturn"),
        ("txt.\u202egpj", "txt.\\u202egpj"),
        (os.fsdecode(b"caf\xe9"), "caf\\xe9"),
        ("[red]x[/] 猫 👩\u200d🚀 η", "[red]x[/] 猫 👩\u200d🚀 η"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(text: str, expected: str) -> None:
    assert shown(text) == expected


@given(ANYTHING)
def test_any_text_is_shown_in_one_line_that_every_utf8_terminal_takes(text: str) -> None:
    line = one_line(text)
    line.encode()
    assert all(character.isprintable() or character in "\u200c\u200d" for character in line)
    assert one_line(line) == line


def words_of(html: str) -> str:
    """What a reader sees of rendered Markdown; fails where it holds more than paragraphs and cells."""
    tags = set(re.findall(r"</?(\w+)", html))
    assert tags <= {"p", "ul", "li", "h1", "table", "thead", "tbody", "tr", "th", "td"}, html
    text = re.sub(r"<[^>]*>", "", html)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text.strip()


@given(MARKED | ANYTHING)
@example("a | b")
@example("`code`, *strong*, _em_, ~~no~~, <b>bold</b>, &amp; and &#42;")
@example("[a](http://x) ![a](b) [a]: b")
@example("# heading #")
@example("1. one")
@example("- item\n- item")
def test_markdown_shows_the_very_words(text: str) -> None:
    line = in_markdown(text)
    if not line:
        return
    for document in (f"{line}\n", f"- {line}\n", f"# {line}\n"):
        assert words_of(RENDERER.render(document)) == one_line(text)
    table = RENDERER.render(f"| head | other |\n|---|---|\n| {line} | x |\n")
    assert re.findall(r"<td>(.*?)</td>", table, re.S)[1:] == ["x"], "one cell stays one cell"
    assert one_line(text) in words_of(table)


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "\r\n=cmd|' /C calc'!A0"]
)
def test_a_spreadsheet_takes_no_text_for_a_formula(formula: str) -> None:
    assert in_csv(formula).startswith("'")


def test_ordinary_names_stay_as_they_are() -> None:
    for name in ("sld-weak-diffusers", "esd_x 0.5", "Blue Cube", "ViT-B-32/openai", "猫"):
        assert name == one_line(name) == in_markdown(name) == in_csv(name)


@given(st.recursive(ANYTHING, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANYTHING, inner)))
def test_json_reads_back_whatever_it_holds(document: object) -> None:
    text = in_json(document)
    assert json.loads(text.encode()) == document
    assert all(character.isprintable() or character == "\n" for character in text)
    assert json.loads(ascii_json(text).encode("ascii")) == document


@given(st.characters(exclude_categories=()))
def test_every_character_has_a_stand_in_of_ascii(character: str) -> None:
    assert look_alike(character).isascii()


def test_the_tables_own_signs_read_alike_in_ascii() -> None:
    assert "".join(map(look_alike, "−–↓↑×éη…")) == "--v^xeeta..."
