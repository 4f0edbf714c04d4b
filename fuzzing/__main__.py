"""`python -m fuzzing [PARSER …] --seconds 60`: every parser attacked, `--jobs` at once.

Writes `results/reliability/fuzzing.md` and `fuzzing.json`, the parsers that are named beside what is there of
the others, and the inputs of faults to `--found`. Ends with 1 where a parser ended in anything but a
BenchError, hung or grew.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copyfile
from typing import Any

from erasure_bench.bench.running.versions import this_version
from erasure_bench.bench.storage.atomic import write_text
from fuzzing.registry import PARSERS
from fuzzing.search import LARGEST, LONGEST_SECONDS, MOST_MEMORY, RECORD
from studies.soaking import report

RELIABILITY = Path(__file__).resolve().parents[1] / "results" / "reliability"
STARTING = 900
"""Seconds a search may take beside its own: imports and examples."""


def searched(name: str, seconds: float, found: Path) -> dict[str, Any]:
    """The record of one search; a process that was ended is a fault of its own."""
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as work:
        words = [sys.executable, "-m", "fuzzing.search", name, str(seconds), work]
        try:
            ended = subprocess.run(
                words, capture_output=True, text=True, errors="replace", timeout=seconds + STARTING
            )
        except subprocess.TimeoutExpired as error:
            ended = subprocess.CompletedProcess(words, -1, "", f"{error}")
        record_file = Path(work) / RECORD
        record: dict[str, Any] = {"parser": name, "inputs": 0, "faults": {}}
        if record_file.is_file():
            record = json.loads(record_file.read_text(encoding="utf-8"))
        record["version"] = this_version()
        if ended.returncode:
            record["faults"][f"ended with {ended.returncode}"] = ended.stderr[-2000:]
        if edges := re.findall(r"cov: (\d+)", ended.stderr):
            record["edges"] = int(edges[-1])
        for file in Path(work).glob("*-*"):
            found.mkdir(parents=True, exist_ok=True)
            copyfile(file, found / f"{name}-{file.name}")
        print(f"{name}: {record['inputs']:,} inputs, {len(record['faults'])} faults", file=sys.stderr)
        for what, why in record["faults"].items():
            print(f"  {what}: {why}", file=sys.stderr, flush=True)
        return record


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("parsers", nargs="*", choices=[*PARSERS, []], metavar="PARSER")
    parser.add_argument("--seconds", type=float, default=60, help="for each parser")
    parser.add_argument("--jobs", type=int, default=1, help="parsers attacked at once")
    parser.add_argument("--found", type=Path, default=Path("found"), help="folder for the inputs of faults")
    parser.add_argument("--out", type=Path, default=RELIABILITY)
    asked = parser.parse_args()
    with ThreadPoolExecutor(max(1, asked.jobs)) as jobs:
        names = asked.parsers or list(PARSERS)
        records = list(jobs.map(lambda name: searched(name, asked.seconds, asked.found), names))
    kept = _with_earlier(records, asked.out / "fuzzing.json")
    write_text(asked.out / "fuzzing.json", json.dumps(kept, indent=1) + "\n")
    _write_page(asked.out / "fuzzing.md", kept)
    return 1 if any(record["faults"] for record in records) else 0


def _with_earlier(records: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """Of every parser the newest record; those that were not attacked now keep the earlier one."""
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    newest = {record["parser"]: record for record in (*earlier, *records)}
    return [newest[name] for name in PARSERS if name in newest]


def _write_page(path: Path, records: list[dict[str, Any]]) -> None:
    faults = sum(len(record["faults"]) for record in records)
    table = [
        ("parser", "reads", "inputs", "taken", "branches", "slowest, CPU s", "memory, MiB more", "faults"),
        *(
            (
                record["parser"],
                record.get("reads", ""),
                f"{record['inputs']:,}",
                f"{record.get('taken', 0):,}",
                record.get("edges", "–"),
                record.get("slowest_cpu_seconds", "–"),
                record.get("memory_grown_mib", "–"),
                len(record["faults"]),
            )
            for record in records
        ),
    ]
    spent = [record.get("seconds", 0.0) for record in records]
    others = Counter(record.get("version", "an earlier version") for record in records)
    del others[this_version()]
    how = (
        "libFuzzer (atheris) guides" if any(record.get("guided") for record in records) else "Nothing guides"
    )
    facts = [
        f"{sum(record['inputs'] for record in records):,} inputs of up to {LARGEST >> 10} KiB in "
        f"{len(records)} parsers, {min(spent):.0f} s to {max(spent):.0f} s each: {faults} faults.",
        "A fault is anything but a result or a BenchError: another exception, a message of more than 20,000 "
        f"characters, an input that takes longer than {LONGEST_SECONDS} s, a process that grows beyond "
        f"{MOST_MEMORY:,} MiB.",
        f"{how} the search; inputs are examples with values, lines or bytes changed.",
        "Inputs taken are those with which the parser found nothing wrong. Memory is what the whole search "
        "added to the process. Branches are those that were reached in the project's own modules.",
        "Faults that earlier searches found are mended, and held by `tests/fuzzing`.",
        *(f"{count} of the parsers were attacked with {version}." for version, count in others.items()),
    ]
    report(path, "Parsers attacked", "python -m fuzzing", facts, table)


if __name__ == "__main__":
    sys.exit(main())
