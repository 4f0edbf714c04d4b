"""How large a packed file may become: of a run's own files much less, of a bomb any number of times more."""

_MOST_BYTES = 4 * 2**30
_MOST_GROWN = 200
"""How many times larger than packed it may be, beside `_SMALL`: tables of text reach some 30."""
_SMALL = 64 << 20


def most_unpacked(size: int) -> int:
    """How many bytes a packed file of `size` bytes may become."""
    return min(_MOST_BYTES, _MOST_GROWN * size + _SMALL)
