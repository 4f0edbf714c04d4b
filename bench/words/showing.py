"""What others wrote, made safe to show: names, prompts, reasons, paths, tensor names, exceptions.

Anything of these may hold terminal escapes, bytes that are no UTF-8, or what Markdown, a spreadsheet or
JSON take for their own. Results keep it as it was; it is changed where it is shown.
"""

import json
import re
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian and many emoji are spelt."""
_FORMULA = tuple("=+-@\t\r")
_MARKDOWN = re.compile(
    r"[\\`*<|~$]"  # escapes, code, emphasis, HTML and links, cells, struck out, formulas
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; within a word an underscore is one
    r"|\](?=[(\[:])"  # links, pictures and their definitions
    r"|&(?=#?\w+;)"  # entities
    r"|^[#>+=-]"  # headings, quotes, lists, rules
    r"|(?<= )#(?=#*$)"  # what ends a heading
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?= |$)")


def shown(text: object) -> str:
    """The text with what a terminal would obey, or no encoding holds, as escapes: `\\x1b`, `\\u202e`.

    Lines stay lines. A byte of a path that is no UTF-8 is shown as that byte.
    """
    words = str(text)
    return words if words.isprintable() else "".join(map(_shown, words))


def one_line(text: object) -> str:
    """`shown`, in one line: all white space is single spaces."""
    return shown(" ".join(str(text).split()))


def in_markdown(text: object) -> str:
    """One line that Markdown shows as `one_line` does, in a paragraph, list or table cell."""
    words = _MARKDOWN.sub(lambda found: f"\\{found[0]}", one_line(text))
    return _NUMBERED.sub(r"\1\\\2", words)


def in_csv(text: object) -> str:
    """One line that no spreadsheet takes for a formula: what looks like one gets an apostrophe in front."""
    words = one_line(text)
    return f"'{words}" if words.startswith(_FORMULA) else words


def in_json(document: Any) -> str:
    """Readable JSON, keys in their given order, that reads back as `document` and is UTF-8 whatever it holds.

    Refuses NaN, which JSON has not.
    """
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    lines = (line if line.isprintable() else "".join(map(_json_escaped, line)) for line in text.split("\n"))
    return "\n".join(lines) + "\n"


def _json_escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


def ascii_json(text: str) -> str:
    """The same JSON in ASCII alone."""
    return "".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text)


def look_alike(character: str) -> str:
    """ASCII that reads like the character and is, where that can be, as wide on a terminal."""
    if (known := _LOOK_ALIKES.get(character)) is not None:
        return known
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    if len(plain) == 1 and plain.isprintable():
        return plain
    if not character.isprintable():
        return _shown(character)
    return "??" if unicodedata.east_asian_width(character) in "WF" else "?"


_LOOK_ALIKES = {
    "−": "-",
    "–": "-",
    "—": "-",
    "·": "-",
    "•": "*",
    "…": "...",
    "×": "x",
    "→": ">",
    "▸": "#",
    "▹": "'",
    "↓": "v",
    "↑": "^",
    "≤": "<=",
    "≥": ">=",
    "◆": "*",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "─": "-",
    "━": "-",
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "ε": "eps",
    "η": "eta",
    "θ": "theta",
    "λ": "lambda",
    "μ": "mu",
    "σ": "sigma",
}


def _shown(character: str) -> str:
    code = ord(character)
    if character.isprintable() or character in _JOINERS or character == "\n":
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte that os.fsdecode could not read
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
