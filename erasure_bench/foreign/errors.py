"""Errors of code that is not ours: in one line, and never the end of the program."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from erasure_bench.errors import BenchError
from erasure_bench.foreign.time_limit import TimeIsUp, check_time


class TriedToExit(BenchError):
    """Someone's code called sys.exit, or raised what else would have ended the program."""

    exit_code = 1


@contextmanager
def contained(what: str, file: Path | str | None = None) -> Iterator[None]:
    """Keeps someone's code, `what`, from ending the program: raises TriedToExit, with the line of `file`.

    Ordinary exceptions pass, and KeyboardInterrupt does: whoever raises it, it is the user's wish to
    stop. What ends the process without an exception (os._exit, a crash in C code) cannot be held here.
    Where the work's time limit is over, TimeIsUp is raised even if that code has caught it.
    """
    try:
        yield
        check_time()
    except (Exception, KeyboardInterrupt, TimeIsUp):
        raise
    except BaseException as error:
        raise TriedToExit(f"{what} tried to end the program ({described(error, file)})") from error


@contextmanager
def in_one_line(what: str, file: Path | str | None = None) -> Iterator[None]:
    """Turns whatever someone's code raises into a BenchError that begins with `what`; see `contained`."""
    try:
        with contained(what, file):
            yield
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(f"{what}: {described(error, file)}") from error


def described(error: BaseException, file: Path | str | None) -> str:
    """An exception in one line: "line 7: ValueError: why", the line being the last of `file` on its way."""
    own_syntax = isinstance(error, SyntaxError) and error.filename == str(file)
    words = " ".join((error.msg if own_syntax else _text(error)).split())  # type: ignore[attr-defined]
    if isinstance(error, BenchError):
        return words
    kind = type(error).__name__
    line = _line(error, str(file))
    return f"{f'line {line}: ' if line else ''}{kind}{f': {words}' if words else ''}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception's own __str__ may be someone's code too
        return ""


def _line(error: BaseException, file: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == file:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return lines[-1] if lines else None
