"""`bench pack`: a run's results as they may leave the machine: whole, bound by digests, without its paths."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from erasure_bench.bench.reporting.reading import unpacked
from erasure_bench.bench.reporting.record import portable, read_record
from erasure_bench.bench.reporting.run_file import RUN, bound, sealed_with
from erasure_bench.bench.sharing.archives import SUFFIX, name_of, write_archive
from erasure_bench.bench.sharing.machine_paths import Scrubber, paths_in
from erasure_bench.bench.words.showing import in_json
from erasure_bench.errors import BenchError

_OF_THIS_MACHINE = {"data_dir": None}
"""What a config says of the machine, and what changes no result."""


def pack(folder: Path, out: Path | None = None) -> tuple[Path, str]:
    """Writes the archive of the run in the folder; its path, and the sha256 of its checksums.

    Raises BenchError where the folder is no run, was changed, or the archive cannot be written.
    """
    name = name_of(folder)
    path = out or (folder if folder.name else folder.resolve()).parent / f"{name}{SUFFIX}"
    if not path.name.endswith(SUFFIX) or path.name == SUFFIX:
        raise BenchError(f"--out {path}: call it NAME{SUFFIX}, so that bench table and others know it")
    files = portable_files(folder)
    try:
        return path, write_archive(path, name_of(path), files)
    except OSError as error:
        raise BenchError(f"--out {path}: {error.strerror or error}") from error


def portable_files(folder: Path) -> dict[str, bytes]:
    """The run's files by name, run.json among them, as they are packed; raises BenchError."""
    record = read_record(folder)
    scrub = Scrubber(paths_in(record))
    config = {**record["config"], **_OF_THIS_MACHINE}
    clean: dict[str, Any] = scrub.values(portable(record) | {"config": config})
    files = {name: _clean(name, bound(folder, record, name), scrub) for name in sorted(record["files"])}
    rated = clean.get("ratings", {})
    for about in rated.values():
        data = _rated(folder, about)
        files[about["file"]] = data
        about["sha256"] = hashlib.sha256(data).hexdigest()
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in record["files"]}
    files[RUN] = in_json(sealed_with(clean, digests)).encode()
    return files


def _rated(folder: Path, about: Mapping[str, Any]) -> bytes:
    path = folder / about["file"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise BenchError(f"{path} is not what was joined to the run (its sha256 is not that in {RUN})")
    return data


def _clean(name: str, data: bytes, scrub: Scrubber) -> bytes:
    """The file without the machine's paths; the same bytes where it has none."""
    if name.endswith(".json"):
        document = json.loads(data)
        cleaned = scrub.values(document)
        return data if cleaned == document else in_json(cleaned).encode()
    if name.endswith((".md", ".csv")):
        text = data.decode("utf-8")
        return scrub.text(text).encode()
    if name.endswith(".gz"):
        packed = unpacked(data, Path(name))
        scrubbed = scrub.text(packed.decode("utf-8")).encode()
        return data if scrubbed == packed else gzip.compress(scrubbed, mtime=0)
    return _clean_table(data, scrub) if name.endswith(".parquet") else data


def _clean_table(data: bytes, scrub: Scrubber) -> bytes:
    table = pq.read_table(pa.BufferReader(data), use_threads=False)
    changed = False
    for place, column in enumerate(table.schema):
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        words = table.column(place).to_pylist()
        known = {word: scrub.text(word) for word in set(words) if word}
        if any(word != clean for word, clean in known.items()):
            fresh = pa.array([known.get(word, word) for word in words], type=column.type)
            table, changed = table.set_column(place, column, fresh), True
    if not changed:
        return data
    out = pa.BufferOutputStream()
    pq.write_table(table, out)
    return bytes(out.getvalue().to_pybytes())
