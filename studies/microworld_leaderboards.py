"""`python -m studies.microworld_leaderboards`: every method on every suite of the built-in model, 3 seeds.

Writes `results/microworld/<suite>/` `leaderboard.{md,csv.gz}`, `scores.parquet`, `prompts.parquet` and
`run.json`, and one summary over the suites that are there, `results/microworld/LEADERBOARD.md`. What those
folders hold already, of the same code and settings, is not done again, nor what is in the store of
`--work`. What is lacking is done in pieces, one method of one suite each, `--jobs` at a time, and can be
spread over several calls (`--suites`, `--methods`, `--seeds`, `--minutes`) and machines: `--parts` names a
folder of another's `--work`, whose finished pieces are taken. The methods that are whole are put into the
folders. All of it takes two cores about 20 hours as `--jobs 2` (`prompt_suites/microworld/building.py` says
what takes how long). Suites with the same concepts share their edits in the store. `--` hands the rest to
`bench run`, such as `-- --device cuda`.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from erasure_bench.bench.reporting.reading import EARLIER, PACKED, read_document
from erasure_bench.bench.reporting.run_file import LEADERBOARD, RUN
from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.errors import BenchError
from erasure_bench.methods.registry import METHODS
from erasure_bench.prompt_suites.registry import suite_card, suite_names
from studies.leaderboard_summary import summary
from studies.pieces import add_options, complete, configs_of

MODEL = "microworld"
SUMMARY = "LEADERBOARD.md"
KEEP = (f"{LEADERBOARD}.md", PACKED)


def reported_suites() -> list[str]:
    """The suites made for the built-in model that tables report on."""
    cards = [suite_card(name) for name in suite_names()]
    return [card.name for card in cards if card.model == MODEL and card.reported]


def documents(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The results of the suites that have any in `folder`."""
    return {
        suite: read_document(folder / suite) for suite in reported_suites() if (folder / suite / RUN).exists()
    }


def page(folder: Path) -> str:
    """The summary of the suites in `folder`; tables of earlier versions are left out, and it is said so."""
    found = documents(folder)
    now = {suite: document for suite, document in found.items() if EARLIER not in document["notes"]}
    if earlier := found.keys() - now.keys():
        names = ", ".join(sorted(earlier))
        print(f"{SUMMARY} leaves out what an earlier version made: {names}", file=sys.stderr)
    return summary(now)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.microworld_leaderboards", description=__doc__)
    parser.add_argument("--suites", help="comma list; all reported ones by default")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--limit", type=int)
    add_options(parser, ".bench/study")
    given = parser.parse_args()
    suites = given.suites.split(",") if given.suites else reported_suites()
    try:
        for _ in complete(configs_of(suites, given), given.out, KEEP, given):
            write_text(given.out / SUMMARY, page(given.out))
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
