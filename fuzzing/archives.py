"""Packed runs: tar archives that somebody sent."""

import gzip
import io
import tarfile

from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.sharing.archives import CHECKSUMS, checksums, read_archive
from fuzzing.harness import Harness
from fuzzing.places import written

GZIP = b"\x1f\x8b"


def _parse(data: bytes) -> None:
    """The archive, or a tar that is packed first: with gzip's own checksum few changes would get so far."""
    packed = data if data.startswith(GZIP) else gzip.compress(data, 1, mtime=0)
    read_archive(written("run.tar.gz", packed))


def _tar(layout: int) -> bytes:
    files = {RUN: b"{}", "leaderboard.md": b"| a |\n"}
    out = io.BytesIO()
    with tarfile.open(mode="w", fileobj=out, format=layout) as archive:
        for name, data in {**files, CHECKSUMS: checksums(files)}.items():
            about = tarfile.TarInfo(
                f"{'a' * 90}/é{name}"[-100:] if layout == tarfile.GNU_FORMAT else f"run/{name}"
            )
            about.size, about.pax_headers = len(data), {"comment": "x"}
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


def _seeds() -> list[bytes]:
    tars = [_tar(layout) for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)]
    return [*tars, gzip.compress(tars[0], mtime=0)]


HARNESSES = (
    Harness(
        "packed-run",
        "a packed run: tar.gz",
        _seeds,
        _parse,
    ),
)
