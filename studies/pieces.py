"""What studies have in common that are made in pieces, which several processes and machines can share."""

import argparse
import math
from pathlib import Path

STORE, PARTS, WHOLE = "store", "parts", "whole"
"""Below a folder of work: what is finished, and a suite's pieces and what they make together."""


def add_options(parser: argparse.ArgumentParser, work: str) -> None:
    """How many pieces at a time and until when, where, and what `bench run` is told besides."""
    parser.add_argument("--jobs", type=int, default=1, help="pieces at a time, each in a process of its own")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no piece is begun after these")
    parser.add_argument("--parts", type=Path, nargs="*", default=[], help="--work of other machines")
    parser.add_argument("--work", type=Path, default=Path(work))
    parser.add_argument("--out", type=Path, default=Path("results/microworld"))
    parser.add_argument("more", nargs="*", metavar="-- OPTION", help="further options of bench run")
