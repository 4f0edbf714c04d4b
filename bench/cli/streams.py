"""stdout and stderr as a command line needs them: writing to them never raises.

What the stream's encoding lacks is replaced by ASCII that reads like it. A reader that has left (`| head`)
or a full disk loses what is said, never what is done: `lost` tells it afterwards.
"""

import codecs
import errno
import io
import os
import sys
from typing import Any

from erasure_bench.bench.words.showing import look_alike

LOOK_ALIKE = "look-alike"
"""The name of the error handler, as in `open(…, errors=LOOK_ALIKE)`."""


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(look_alike, error.object[error.start : error.end])), error.end


codecs.register_error(LOOK_ALIKE, _replaced)


class _Sink(io.FileIO):
    """A file descriptor that takes everything; `lost` is why the first byte of it went nowhere."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = error
        return memoryview(data).nbytes


def guard_streams() -> None:
    """Puts such streams in the places of `sys.stdout` and `sys.stderr`; one that is closed goes nowhere."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number: else the next file that is opened would be taken for stdout.
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def stdout_trouble() -> str | None:
    """Why results did not get out, where that is a trouble: nobody reads on after `head`."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _Sink) else None
    return None if lost is None or lost.errno == errno.EPIPE else str(lost.strerror)


def _guarded(stream: Any, descriptor: int) -> io.TextIOWrapper:
    if stream is not None:
        stream.flush()
    live = os.isatty(descriptor)
    return io.TextIOWrapper(
        io.BufferedWriter(_Sink(descriptor, "w", closefd=False)),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors=LOOK_ALIKE,
        line_buffering=live or descriptor == 2,
    )
