"""`python -m studies.gate_microworld`: may the methods, as they are here, go out? The built-in world says so.

Erases two concepts of the built-in model by two methods, and holds that run to the one that
`results/gate` keeps, by `ci/microworld-gate.yaml`. The exit code is that of `bench gate --strict`:
0 good, 1 something got worse, 2 undecided. `--keep` keeps this run in the old one's place, after a change
that is meant or another edition of the model.

What follows `--` goes to `bench run`: `-- --method-option esd-x.eta=-1` breaks a method, and must be blocked.
Finished work is kept in `--work`: the same command again goes on. A few minutes on two cores.
"""

import argparse
import contextlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.reporting.record import portable, read_record, write_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import LEADERBOARD, RUN

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "results" / "gate"
POLICY = ROOT / "ci" / "microworld-gate.yaml"
WHAT = [
    *("--suite", "microworld-instances", "--concepts", "grumpy-cat,pirate-dog", "--methods", "esd-x,uce"),
    *("--evaluators", "classifier,coherence", "--offline"),
]
FILES = (f"{LEADERBOARD}.json", SCORES)
"""What a gate reads beside run.json, which is kept without what holds on one machine alone."""
WRONG_USAGE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the gate, or keeps a run for it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m studies.gate_microworld", description=__doc__)
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of the run to hold against")
    parser.add_argument("--keep", action="store_true", help="keep this run in its place")
    parser.add_argument("--work", type=Path, default=Path(".bench/gate-microworld"))
    parser.add_argument("--junit", type=Path, help="also as JUnit XML")
    parser.add_argument("--markdown", type=Path, help="also as Markdown")
    parser.add_argument("more", nargs="*", metavar="-- OPTION", help="further options of bench run")
    options = parser.parse_args(arguments)
    if not options.keep and not (options.kept / RUN).exists():
        print(f"error: {options.kept} keeps no run to hold against: --keep makes it", file=sys.stderr)
        return WRONG_USAGE
    run = options.work / "run"
    with contextlib.redirect_stdout(sys.stderr):
        places = ["--store", str(options.work / "store"), "--out", str(run)]
        if code := run_command(["run", *WHAT, *places, *options.more]):
            return code
    if options.keep:
        keep(run, options.kept)
        return 0
    files = [
        word
        for flag in ("junit", "markdown")
        if (path := getattr(options, flag)) is not None
        for word in (f"--{flag}", str(path))
    ]
    return run_command(["gate", str(options.kept), str(run), "--policy", str(POLICY), "--strict", *files])


def keep(run: Path, folder: Path) -> None:
    """Puts into the folder what a gate reads of the run."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(run / name, folder / name)
    write_record(folder, portable(read_record(run)))


if __name__ == "__main__":
    raise SystemExit(main())
