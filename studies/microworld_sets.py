"""`python -m studies.microworld_sets`: what the leaderboards' evaluators do not say, of the same pictures.

KID, FID, precision, recall and CMMD in the built-in classifier's features, of the pictures of people also
what a face recogniser says. Writes `results/microworld/sets/<suite>/`, of the same files as
`studies.microworld_leaderboards`, and goes on in pieces as that one does; with the `--store` in which that
one's pictures lie none is drawn again.
"""

import argparse
from collections.abc import Sequence

from erasure_bench.errors import BenchError
from erasure_bench.methods.registry import METHODS
from studies.microworld_leaderboards import KEEP
from studies.pieces import add_options, complete, configs_of

OF_SETS = ("fidelity@microworld", "cmmd@microworld", "classifier")
"""With the classifier, which marks what has collapsed: no distance is a good one then."""
SUITES = {
    "microworld-styles": OF_SETS,
    "microworld-identities": (*OF_SETS, "celebrity@microworld"),
}
"""Each with its evaluators."""
SEEDS = "1,2"
FOLDER = "sets"


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores what is asked for and puts it into the folders."""
    parser = argparse.ArgumentParser(prog="python -m studies.microworld_sets", description=__doc__)
    parser.add_argument("--suites", default=",".join(SUITES), help=f"comma list of {', '.join(SUITES)}")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default=SEEDS)
    parser.add_argument("--limit", type=int)
    add_options(parser, ".bench/study")
    given = parser.parse_args(arguments)
    suites = given.suites.split(",")
    if unknown := [suite for suite in suites if suite not in SUITES]:
        parser.error(f"--suites {','.join(unknown)}: valid: {', '.join(SUITES)}")
    try:
        configs = [
            config for suite in suites for config in configs_of([suite], given, evaluators=SUITES[suite])
        ]
        for _ in complete(configs, given.out / FOLDER, KEEP, given, ["--offline"]):
            pass
    except BenchError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
