"""Files that others may read: safetensors and tempfile make theirs private, whatever the umask says."""

import os
from pathlib import Path


def follow_umask(place: Path) -> None:
    """Gives a file, or every file of a folder, the mode that a plainly written one has."""
    mode = 0o666 & ~_umask()
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    for file in files:
        if file.stat().st_mode & 0o777 != mode:
            file.chmod(mode)


def _umask() -> int:
    """Read where Linux tells it: to ask the system, one has to change it for every thread."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))
    except (OSError, ValueError, StopIteration):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask
