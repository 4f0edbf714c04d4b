"""What must not be in a user's texts: what looks like one thing and is another, or runs elsewhere."""

import unicodedata

from erasure_bench.prompt_suites.suite import MAX_SEED

LONGEST = 10_000
"""Characters of one text; a text encoder is given some 300 at most."""
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The last four are as wide as an ideograph: spreadsheets of East Asian locales take them for the others."""
_JOINERS = "\u200c\u200d"  # within emoji and in some scripts
_NEWLINES = "\n\r\u2028\u2029\x85\v\f"
_NOT_TEXT = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def trouble(text: str) -> str | None:
    """Why the text cannot stand in a suite, with the way to mend it; None for plain text."""
    if len(text) > LONGEST:
        return f"{len(text):,} characters are too many: at most {LONGEST:,}"
    if (begun := text.lstrip()).startswith(FORMULA_STARTS):  # what is read loses its spaces
        return f"starts with {begun[0]!r}: a spreadsheet would run it as a formula; begin it with a word"
    for character in text:
        if character in _NEWLINES:
            return "holds a line break: write it in one line"
        if unicodedata.category(character) in _NOT_TEXT and character not in _JOINERS:
            return f"holds the invisible character U+{ord(character):04X}: take it out"
    return None


def seed_trouble(text: str) -> str | None:
    """Why the text is no seed; None where it is one."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > MAX_SEED:
        return f"{text[:40]!r} is no seed: a whole number from 0 to {MAX_SEED}"
    return None
