"""Studies made of runs in pieces, one method of a suite each, for several processes and machines to share.

A suite's folder is itself a run, of several methods and seeds: what it holds is not done again, and the
pieces that it lacks are merged into it. So a study goes on where only its committed results are at hand.
"""

import argparse
import gzip
import math
import shutil
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig, parse_config, seeds
from erasure_bench.bench.planning.prepare import prepare
from erasure_bench.bench.reporting.merging import differing, flag_of, found_cells, read_part
from erasure_bench.bench.reporting.prompt_list import PROMPTS
from erasure_bench.bench.reporting.record import portable, read_record, write_record
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.errors import BenchError
from studies.parallel import one_by_one_or_together
from studies.running import bench_merge, bench_run

STORE, PARTS, WHOLE = "store", "parts", "whole"
"""Below a folder of work: what is finished, and a suite's pieces and what they make together."""
KEPT = (SCORES, PROMPTS)
"""What a suite's folder keeps of a run in any case, beside run.json."""


class Piece(NamedTuple):
    """What one run is to do: one method of a suite, with the seeds that are lacking."""

    suite: str
    method: str
    seeds: tuple[int, ...]
    limit: int | None
    further: tuple[str, ...] = ()
    """Words of `bench run` that say what else is asked for."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return "-".join([self.method, *map(str, self.seeds)])


def lacking(config: RunConfig, folders: Sequence[Path], store: Path) -> list[Piece]:
    """What none of the folders' runs has of the config, as its code and settings are now."""
    plan = prepare(config, store).plan
    found = found_cells(plan, [read_part(folder) for folder in folders])
    seeds_of: dict[str, dict[int, None]] = {}
    for cell in plan.cells:
        if (cell.method.name, cell.case.name, cell.seed) not in found:
            seeds_of.setdefault(cell.method.name, {})[cell.seed] = None
    asked = further(config)
    return [Piece(config.suite, method, tuple(of), config.limit, asked) for method, of in seeds_of.items()]


def further(config: RunConfig) -> tuple[str, ...]:
    """The config's concepts, attacks and evaluators as words of `bench run`, those that it names."""
    lists = {"--attacks": config.attacks, "--evaluators": config.evaluators, "--concepts": config.concepts}
    return tuple(word for flag, names in lists.items() if names for word in (flag, ",".join(names)))


def do(piece: Piece, work: Path, store: Path, options: Sequence[str] = ()) -> None:
    """Runs a piece into a folder of its own below `work`."""
    bench_run(
        *("--suite", piece.suite, "--methods", piece.method),
        *("--seeds", ",".join(map(str, piece.seeds))),
        *(("--limit", str(piece.limit)) if piece.limit else ()),
        *piece.further,
        *("--store", str(store), "--out", str(work / piece.suite / PARTS / piece.name)),
        *options,
    )


def parts_of(config: RunConfig, works: Sequence[Path]) -> list[Path]:
    """The folders of finished pieces that are of what the config asks for, in the order of its methods."""
    found = []
    for work in works:
        for run in (work / config.suite / PARTS).glob(f"*/{RUN}"):
            asked = read_part(run.parent).config
            named = set(asked.methods) - {BASELINE}
            within = named <= set(config.methods) and set(asked.seeds) <= set(config.seeds)
            if within and not differing(asked, config):
                place = min((config.methods.index(name) for name in named), default=0)
                found.append((place, run.parent))
    return [folder for _, folder in sorted(found)]


def runs_of(config: RunConfig, out: Path, works: Sequence[Path]) -> list[Path]:
    """The folders of runs that have any of it: what `out` has already comes first."""
    earlier = [out] if (out / RUN).exists() else []
    return [*earlier, *parts_of(config, works)]


def join(runs: Sequence[Path], out: Path, whole: Path, store: Path, keep: Iterable[str]) -> dict[str, Any]:
    """Merges the runs in `whole` and makes a run of `out` with `KEPT` and what else is to be kept.

    A name with .gz is packed from the file without. What is of this machine alone stays out. Gives back the
    leaderboard's document.
    """
    document = bench_merge(*map(str, runs), "--out", str(whole), "--store", str(store))
    out.mkdir(parents=True, exist_ok=True)
    for name in (*KEPT, *keep):
        if name.endswith(_PACKED):
            data = (whole / name.removesuffix(_PACKED)).read_bytes()
            (out / name).write_bytes(gzip.compress(data, mtime=0))
        else:
            shutil.copyfile(whole / name, out / name)
    record = {key: value for key, value in read_record(whole).items() if key != "merged"}
    write_record(out, portable(record))
    return document


_PACKED = ".gz"


def held_by(out: Path, config: RunConfig) -> RunConfig:
    """The config with the methods and seeds that a suite's folder holds, none where it holds no run.

    Raises BenchError where the folder's run was asked for something else.
    """
    if not (out / RUN).exists():
        return config.model_copy(update={"methods": (), "seeds": ()})
    held = read_part(out).config
    if other := differing(held, config):
        flags = ", ".join(f"{flag_of(name)} {_word(getattr(held, name))}" for name in other)
        raise BenchError(f"{out} holds a run of {flags}: ask for the same, or give another --out")
    return held


def _word(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) and value else str(value or "(none given)")


def both(held: RunConfig, config: RunConfig) -> RunConfig:
    """The config with what is held besides."""
    methods = dict.fromkeys((*held.methods, *config.methods))
    every = sorted({*held.seeds, *config.seeds})
    return config.model_copy(update={"methods": tuple(methods), "seeds": tuple(every)})


def done_whole(config: RunConfig, left: Iterable[Piece], held: Collection[str]) -> RunConfig | None:
    """The config with those methods of which nothing is left; None where any of the others is `held`."""
    lack = {piece.method for piece in left}
    methods = tuple(method for method in config.methods if method not in lack)
    if not methods or lack & {BASELINE, *held}:
        return None
    return config.model_copy(update={"methods": methods})


def complete(
    configs: Sequence[RunConfig],
    place: Path,
    keep: Iterable[str],
    given: argparse.Namespace,
    options: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Does what the suites' folders in `place` lack, and puts the methods that are whole into them.

    `given` is of `add_options`; `options` go to each `bench run`. A folder keeps what it holds besides, so
    that all of its methods have the same seeds in the end: where one that it holds already lacks some,
    nothing is put there. What is left to do is said. Yields the leaderboard's document of each suite that is
    put together. Raises BenchError.
    """
    for config in configs:
        held_by(place / config.suite, config)  # before anything is done in vain
    until = time.monotonic() + 60 * given.minutes
    store, works = given.store or given.work / STORE, [given.work, *given.parts]
    pieces = [
        piece
        for config in configs
        for piece in lacking(config, runs_of(config, place / config.suite, works), store)
    ]
    work = partial(do, work=given.work, store=store, options=[*options, *given.more])
    for piece, _ in one_by_one_or_together(work, pieces, given.jobs, until, given.work / "logs"):
        print(f"done: {piece.suite} {piece.name}", file=sys.stderr)
    for config in configs:
        out = place / config.suite
        held = held_by(out, config)
        wanted = both(held, config)
        if left := lacking(wanted, runs_of(wanted, out, works), store):
            names = ", ".join(piece.name for piece in left)
            print(f"{config.suite}: left to do: {names}", file=sys.stderr)
        if (whole := done_whole(wanted, left, held.methods)) is not None:
            runs = runs_of(whole, out, works)
            yield join(runs, out, given.work / config.suite / WHOLE, store, keep)


def configs_of(suites: Iterable[str], given: argparse.Namespace, **more: Any) -> list[RunConfig]:
    """What a study asks for of each suite, by its flags --methods, --seeds and --limit; `more` are fields."""
    asked = {"methods": tuple(given.methods.split(",")), "seeds": seeds(given.seeds), "limit": given.limit}
    return [parse_config({"suite": suite} | asked | more) for suite in suites]


def add_options(parser: argparse.ArgumentParser, work: str) -> None:
    """How many pieces at a time and until when, where, and what `bench run` is told besides."""
    parser.add_argument("--jobs", type=int, default=1, help="pieces at a time, each in a process of its own")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no piece is begun after these")
    parser.add_argument("--parts", type=Path, nargs="*", default=[], help="--work of other machines")
    parser.add_argument("--work", type=Path, default=Path(work))
    parser.add_argument("--store", type=Path, help=f"another than WORK/{STORE}, of whose pictures it goes on")
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    parser.add_argument("more", nargs="*", metavar="-- OPTION", help="further options of bench run")
