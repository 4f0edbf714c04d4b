"""`bench suite new` and `check`, and `bench fetch`: a user's own suite, and the data of upstream's."""

from pathlib import Path
from typing import Annotated

import typer

from erasure_bench.bench.cli.options import AsJson, DataDir, Offline, expanded

suite_app = typer.Typer(name="suite", help="Make a suite of your own, and check one.", no_args_is_help=True)


@suite_app.command(no_args_is_help=True)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The suite's name, such as my-concept.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to write it (else here).", callback=expanded)
    ] = Path("."),
) -> int:
    """Write NAME.yaml and NAME.csv to begin with: a suite that runs at once on the built-in model."""
    from erasure_bench.bench.cli.commands.suites import make_suite

    return make_suite(name, out)


@suite_app.command(no_args_is_help=True)
def check(
    suite: Annotated[
        str, typer.Argument(metavar="SUITE", help="PATH.yaml of your own, or a registered one.")
    ],
    suite_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="KEY=VALUE. Repeatable.")
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> int:
    """Read all of a suite and say what it holds: prompts by role, what is left out, what is cut.

    What is wrong is one line with file, line and key, and exit code 3.
    """
    from erasure_bench.bench.cli.commands.suites import check_suite
    from erasure_bench.bench.planning.config import options

    return check_suite(suite, options(suite_option or [], "--suite-option"), data_dir, as_json=as_json)


def fetch(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite (bench list suites), or PATH.yaml.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Get the prompt files of a suite from upstream, by commit and sha256, into the user's cache.

    What is in --data-dir or $BENCH_DATA already is checked and not fetched.
    """
    from erasure_bench.bench.cli.commands.suites import fetch_suite

    return fetch_suite(suite, data_dir, as_json=as_json)
