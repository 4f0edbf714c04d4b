"""The one error that a user's mistake raises, in every room."""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Something the user can mend: the message says what, where, the valid choices and the flag.

    The command line prints the message as one line and exits with `exit_code`; no traceback.
    """

    exit_code = 3


class NotHere(BenchError):
    """What is needed can be got, and is not here: the message says how. A run goes on without what needs it,
    and says so, unless the user asked for just that."""


LONGEST_SAID = 200
"""Characters of what a user has written that a message says back."""


def said(text: str) -> str:
    """A name or a value as the user wrote it, its end left out where it is long."""
    return text if len(text) <= LONGEST_SAID else f"{text[:LONGEST_SAID]}…"


class UnknownName(BenchError):
    """A name that is in no table; the message suggests the nearest ones that are."""

    def __init__(self, what: str, name: str, known: Iterable[str], flag: str | None = None) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        where = f" ({flag})" if flag else ""
        super().__init__(f"unknown {what} {said(name)!r}{where}: {hint}valid: {', '.join(names)}")
