"""Small pickles that stand for more than a machine holds, found before it is made."""

import pickletools

_MEMO = {"PUT", "BINPUT", "LONG_BINPUT"}
"""They name a place in the reader's list of values, which is made as long as that."""


class BombError(ValueError):
    """It would take memory that no file of its size needs."""


def refuse_bombs(content: bytes) -> None:
    """Raises BombError for a pickle whose reader's list would be long; ValueError for a damaged one."""
    for operation, argument, _ in pickletools.genops(content):
        if operation.name in _MEMO and int(argument) > len(content):  # type: ignore[arg-type]
            raise BombError(f"it numbers a value {argument}, and has {len(content)} bytes")


class Budget:
    """How many values a file of `size` bytes may stand for: lists that refer to one another multiply."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, values: int = 1) -> None:
        """So many more; raises BombError where there are more than bytes."""
        self._left -= values
        if self._left < 0:
            raise BombError("it stands for more values than it has bytes")
