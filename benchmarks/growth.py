"""`python -m benchmarks.growth`: how time and memory grow with pictures, concepts and methods.

A made-up run (`benchmarks.made_up`, `benchmarks.cached_run`) whose store has everything: planned, looked up,
gathered to a leaderboard and written. One of its sizes is doubled again and again while the others stay: the
prompts of each role, the concepts, the methods. And pictures drawn by a tiny model, one batch after the
other. Each size is a process of its own: seconds on a core, and the peak of its memory above what it had
before. `exponent` is the slope in logarithms from the second size to the last: 1 is linear growth, the limit;
what does not grow at all has 0. Of a run's pictures memory grows with the scores, a row for each, and with no
pixels. Writes `results/performance/growth.json` and, with matplotlib at hand, growth.png.
"""

import argparse
import importlib.util
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.cached_run import run
from benchmarks.made_up import PROMPTS, made
from benchmarks.recording import MEMORY, record
from erasure_bench.bench.planning.plan import IMAGES_PER_TASK

CONCEPTS, METHODS = 2, 4
"""Of the run whose other sizes grow."""
BATCH, STEPS = 8, 2
LINEAR = 1.0
ROUNDING = 0.1
"""An exponent so far above 1 is what timing alone can make of linear growth."""


class Used(NamedTuple):
    """Seconds on a core, and MiB of memory above what was there before."""

    seconds: float
    mib: float


def of_run(concepts: int = CONCEPTS, methods: int = METHODS, prompts: int = PROMPTS) -> Used:
    """A run of which the store has everything."""
    made_from = made(concepts, methods, prompts)
    memory = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, tempfile.TemporaryDirectory(dir=memory) as out:
        again = [sys.executable, "-m", "benchmarks.growth", "--fill", folder, "--out", out]
        again += ["--sizes", f"{concepts},{methods},{prompts}"]
        subprocess.run(again, check=True, capture_output=True)
        run(made(1, 2, 1), Path(folder) / "small", Path(out) / "small")  # what is loaded once
        return used(lambda: run(made_from, Path(folder), Path(out)))


def of_drawing(pictures: int) -> Used:
    """Pictures of a tiny model with random weights, written as PNG files; as many together as in a task."""
    import torch

    from benchmarks.sampling import Drawing
    from benchmarks.shapes import text_model_of

    model = text_model_of("tiny", "cpu", torch.float32)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        Drawing(model, BATCH, STEPS, Path(folder)).ours(BATCH)
        drawing = Drawing(model, min(pictures, IMAGES_PER_TASK), STEPS, Path(folder))

        def draw() -> None:
            for _ in range(max(1, pictures // IMAGES_PER_TASK)):
                drawing.ours(BATCH)

        return used(draw)


def used(do: Callable[[], object]) -> Used:
    """What it takes, once."""
    before, started = _peak_mib(), time.process_time()
    do()
    return Used(time.process_time() - started, _peak_mib() - before)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


GROWING: Mapping[str, Callable[[int], Used]] = {
    "prompts": lambda size: of_run(prompts=size),
    "concepts": lambda size: of_run(concepts=size),
    "methods": lambda size: of_run(methods=size),
    "drawn pictures": of_drawing,
}
SMALLEST = {"prompts": 10, "concepts": 2, "methods": 4, "drawn pictures": 32}


def exponent(sizes: Sequence[int], amounts: Sequence[float]) -> float | None:
    """The slope of the logarithms past the first size, if more than two; None where nothing is used."""
    first = min(1, len(sizes) - 2)
    if min(amounts[first], amounts[-1]) <= 0:
        return None
    return round(math.log(amounts[-1] / amounts[first]) / math.log(sizes[-1] / sizes[first]), 2)


def measure(what: str, sizes: Sequence[int]) -> dict[str, Any]:
    """The figures of one thing that grows, each size in a process of its own."""
    found = []
    for size in sizes:
        words = [sys.executable, "-m", "benchmarks.growth", "--one", what, "--sizes", str(size)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        found.append(Used(*json.loads(done.stdout.splitlines()[-1])))
    seconds, mib = ([round(amount, 3) for amount in column] for column in zip(*found, strict=True))
    slope = exponent(sizes, seconds)
    of_memory = exponent(sizes, mib)
    return {
        "sizes": list(sizes),
        "seconds_on_a_core": seconds,
        "peak_mib": mib,
        "exponent_of_time": slope,
        "exponent_of_memory": of_memory,
        "limit": LINEAR,
        "linear_or_better": all(one is None or one <= LINEAR + ROUNDING for one in (slope, of_memory)),
    }


def plot(figures: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    """Time and memory against size, logarithmic, beside a line of linear growth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    size = (3 * len(figures), 5.5)
    sheet, axes = pyplot.subplots(2, len(figures), figsize=size, squeeze=False, layout="constrained")
    for column, (what, found) in enumerate(figures.items()):
        for row, (name, label) in enumerate((("seconds_on_a_core", "s on a core"), ("peak_mib", "MiB"))):
            axis = axes[row][column]
            axis.loglog(found["sizes"], found[name], "o-", base=2)
            line = [found[name][0] * size / found["sizes"][0] for size in found["sizes"]]
            axis.loglog(found["sizes"], line, ":", color="grey", base=2)
            axis.set_xlabel(what)
            axis.set_ylabel(label)
    sheet.suptitle("Growth of time and memory; dotted: linear from the first size")
    sheet.savefig(out, dpi=100)
    pyplot.close(sheet)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--doublings", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("results/performance/growth.json"))
    parser.add_argument("--one", choices=list(GROWING), help=argparse.SUPPRESS)
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.fill is not None:
        run(made(*map(int, asked.sizes.split(","))), asked.fill, asked.out)
        return
    if asked.one is not None:
        print(json.dumps(GROWING[asked.one](int(asked.sizes))))
        return
    figures = {
        what: measure(what, [first * 2**doubling for doubling in range(asked.doublings + 1)])
        for what, first in SMALLEST.items()
    }
    record({"batch": BATCH, "growing": figures}, asked.out)
    if importlib.util.find_spec("matplotlib"):
        plot(figures, asked.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
