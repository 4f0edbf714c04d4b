"""A suite's folder completed as `studies.microworld_leaderboards` does it, in this process."""

from pathlib import Path

from erasure_bench.bench.planning.config import RunConfig
from studies.microworld_leaderboards import KEEP
from studies.pieces import STORE, WHOLE, do, join, lacking, runs_of


def completed(config: RunConfig, out: Path, work: Path) -> list[str]:
    """Does what `out` lacks of the config; the names of those pieces."""
    pieces = lacking(config, runs_of(config, out, [work]), work / STORE)
    for piece in pieces:
        do(piece, work, work / STORE)
    join(runs_of(config, out, [work]), out, work / config.suite / WHOLE, work / STORE, KEEP)
    return [piece.name for piece in pieces]
