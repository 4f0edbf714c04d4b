"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is finished is kept, and one line says so."""

import signal
from types import FrameType

_received: list[int] = []


def end_as_by_ctrl_c() -> None:
    """From here on these signals raise KeyboardInterrupt; a second one ends the process at once.

    One that is ignored stays ignored: that is what nohup asks for.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def interrupted_code() -> int:
    """The exit code of an interrupted command, as a shell has it: 128 + the signal's number."""
    return 128 + (_received[0] if _received else signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    signal.signal(number, signal.SIG_DFL)
    raise KeyboardInterrupt
