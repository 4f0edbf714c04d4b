"""Small files of torch.save that stand for more than a machine holds."""

import zipfile
from pathlib import Path

from erasure_bench.errors import BenchError

MOST_GROWN = 4
"""How many times larger than the file its parts may be: torch.save packs none of them."""
_SMALL = 1 << 20


def refuse_packed(path: Path) -> None:
    """Raises BenchError for a zip file whose parts are larger than it, as packed or overlapping ones are."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # no zip file, or one that torch has to refuse
    if unpacked > MOST_GROWN * path.stat().st_size + _SMALL:
        raise BenchError(
            f"{path}: its parts are {unpacked:,} bytes unpacked, which no file of weights is: refused"
        )
