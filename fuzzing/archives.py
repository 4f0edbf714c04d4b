"""Packed runs that somebody sent, entries that lie in a bucket: tar archives."""

import gzip
import io
import shutil
import tarfile
from functools import cache
from unittest.mock import patch

from obstore import get, put
from obstore.store import MemoryStore

from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.sharing.archives import CHECKSUMS, checksums, read_archive
from erasure_bench.bench.storage.damage import silent
from erasure_bench.bench.storage.remote import Remote
from erasure_bench.bench.storage.store import Store
from erasure_bench.bench.storage.two_levels import TwoLevelStore
from erasure_bench.errors import BenchError
from fuzzing.harness import Harness
from fuzzing.places import folder, written

GZIP = b"\x1f\x8b"


def _parse(data: bytes) -> None:
    """The archive, or a tar that is packed first: with gzip's own checksum few changes would get so far."""
    packed = data if data.startswith(GZIP) else gzip.compress(data, 1, mtime=0)
    read_archive(written("run.tar.gz", packed))


TASK = "ab" * 32
"""An entry's id."""


@cache
def _entry() -> tuple[TwoLevelStore, bytes]:
    """A store with a bucket in this process' memory behind it, and an entry as it lies there."""
    remote = Remote("s3://bucket")
    remote._opened = MemoryStore()
    with Store(folder() / "sender") as store, store.writing("erase", TASK) as draft:
        (draft.folder / "edit.json").write_text("0.5", encoding="utf-8")
        draft.about = {"erase_seconds": 1}
    remote.send("erase", TASK, Store(folder() / "sender").folder("erase", TASK), folder())
    return TwoLevelStore(folder() / "receiver", remote, silent), bytes(get(remote._opened, OBJECT).bytes())


OBJECT = f"erase/{TASK[:2]}/{TASK}.tar"


def _fetched(data: bytes) -> None:
    """Into a store that lacks the entry: it is there and whole, or it is refused. No disk is waited for."""
    store, _ = _entry()
    put(store.remote._bucket, OBJECT, data)
    store._refused.clear()
    with patch("os.fsync"):
        there = store.obtain("erase", TASK)
    left = list(store.scratch().iterdir())
    assert not left, left
    if not there:
        raise BenchError("refused")
    assert store.entry("erase", TASK).read("edit.json") == b"0.5"
    shutil.rmtree(store.folder("erase", TASK))
    store._finished.clear()


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
    Harness(
        "remote-entry",
        "an entry in a bucket: tar",
        lambda: [_entry()[1]],
        _fetched,
    ),
)
