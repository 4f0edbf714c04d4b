"""`python -m studies.entrants`: entrants that destroy pictures beside methods that erase, on one leaderboard.

Writes `results/microworld/entrants.md`: who draws noise, for the concept or for everything, or has broken
weights (`tests/entrants/noise.py`), and who erases, on the named instances, seed 0. None of the former may
meet a bar or be a column's best. A few minutes on two cores; what `--store` holds is not done again.
"""

import argparse
import contextlib
import io
from pathlib import Path

from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.storage.atomic import write_text
from studies.running import bench_run

SUITE = "microworld-instances"
ERASING = ("esd-x", "ca-model", "sa", "uce")
FILE = Path("tests/entrants/noise.py")
ENTRANTS = ("RefusesWithNoise", "PredictsNothing", "BreaksWeights")
COLUMNS = "target,neighbour,retention"
HEAD = """# Entrants that must not win

Made by `python -m studies.entrants`. `RefusesWithNoise` draws noise where it is asked for the concept and
is the base model elsewhere; `PredictsNothing` draws noise for everything; `BreaksWeights` has random
weights ([entrants](../../tests/entrants/noise.py)). Each takes the concept away: without its mark (†) each
would meet the bar of the target. Copied and blurred pictures, which no edit of a model draws, are held to
the same in `tests/entrants/test_entrants.py`.

"""


def table(run: Path) -> str:
    """The run's leaderboard in Markdown, over all concepts."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run_command(["table", str(run), "--format", "md", "--columns", COLUMNS])
    if code:
        raise SystemExit(code)
    return printed.getvalue().replace("# ", "## ", 1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.entrants", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".bench/entrants"))
    parser.add_argument("--store", type=Path, help="by default in --work")
    parser.add_argument("--out", type=Path, default=Path("results/microworld/entrants.md"))
    given = parser.parse_args()
    run = given.work / "run"
    methods = ",".join([*ERASING, *(f"{FILE}:{name}" for name in ENTRANTS)])
    store = given.store or given.work / "store"
    bench_run("--suite", SUITE, "--methods", methods, "--store", str(store), "--out", str(run))
    write_text(given.out, HEAD + table(run))


if __name__ == "__main__":
    main()
