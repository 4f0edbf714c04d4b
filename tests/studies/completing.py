"""A suite's folder completed as `studies.microworld_leaderboards` does it, in this process."""

from pathlib import Path

from erasure_bench.bench.planning.config import RunConfig
from studies import microworld_leaderboards as study
from studies.pieces import STORE


def completed(config: RunConfig, out: Path, work: Path) -> list[str]:
    """Does what `out` lacks of the config; the names of those pieces."""
    pieces = study.lacking(config, study.runs_of(config, out, [work]), work / STORE)
    for piece in pieces:
        study.do(piece, work)
    study.join(config, study.runs_of(config, out, [work]), out, work)
    return [piece.name for piece in pieces]
