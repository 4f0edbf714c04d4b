"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from erasure_bench.environment import go_offline
from erasure_bench.user_paths import user_path


def _stay_offline(asked: bool) -> bool:
    """Before the command's own modules are imported: the hub's client reads its variable only then."""
    if asked:
        go_offline()
    return asked


def expanded(path: Path | None) -> Path | None:
    """`~` and variables as a shell has them."""
    return user_path(path) if path else None


Store = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of finished tasks (else $BENCH_STORE, else .bench/store).",
        callback=expanded,
    ),
]
Remote = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="A bucket that machines without a common disk share, behind the store: s3://BUCKET/FOLDER (else "
        "$BENCH_REMOTE). What it has is fetched, what is finished is sent (docs/store.md).",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="Folder with upstream prompt files (else $BENCH_DATA).", callback=expanded
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        metavar="",
        help="Ask no network: what is not here is an error that says how to get it (or $BENCH_OFFLINE=1).",
        callback=_stay_offline,
    ),
]
OneRun = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name below runs/.")]
TrustCode = Annotated[
    bool,
    typer.Option("--trust-code", metavar="", help="Run the files of code (PATH.py:NAME) that the run names."),
]
RunsStore = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Store with the run's pictures and scores, where it is no longer where it was.",
        callback=expanded,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON on stdout.")]
Transform = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Also draw the prompts in other words, from the same noise (bench list transformations): "
        "misspelling, or misspelling:each=3. Repeatable.",
    ),
]
