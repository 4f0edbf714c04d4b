"""Numbers as text."""

from collections.abc import Iterable

ARROWS = {"lower": "↓", "higher": "↑", "neither": ""}
"""Which numbers of a metric are better."""
_SCIENTIFIC = 1e7
"""From here on a number is written with an exponent: no column gets wider than a narrow terminal."""


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """A number with so many decimals; a whole number stays whole where one decimal is asked for.

    The minus is U+2212; a zero has no minus.
    """
    whole = decimals == 1 and float(value).is_integer()
    text = f"{value:.3e}" if abs(value) >= _SCIENTIFIC else f"{value:,.{0 if whole else decimals}f}"
    negative = text.startswith("-") and any(digit in "123456789" for digit in text)
    text = text.lstrip("-").replace("e-", "e−")
    return f"−{text}" if negative else f"+{text}" if signed else text


def p_value(p: float, decimals: int) -> str:
    """A p value with so many decimals; one that would show as nothing as "<0.001"."""
    least = 10.0**-decimals
    return f"<{number(least, decimals)}" if p < least else number(p, decimals)


def decimals_for(numbers: Iterable[float]) -> int:
    """How many decimals a column of such numbers needs: 1 from 10 on, else 3, more where all are tiny."""
    largest = max((abs(value) for value in numbers), default=0.0)
    if largest >= 10:
        return 1
    decimals = 3
    while 0 < largest < 10.0 ** (1 - decimals) and decimals < 8:
        decimals += 1
    return decimals


def seconds(value: float | None) -> str:
    """Seconds with about two digits that mean something; – where unknown."""
    if value is None:
        return "–"
    return (
        "0"
        if value == 0
        else f"{value:.3f}"
        if value < 1
        else f"{value:.1f}"
        if value < 100
        else f"{value:,.0f}"
    )
