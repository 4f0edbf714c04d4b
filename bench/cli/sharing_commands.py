"""`bench pack`, `unpack`, `submit`, `card`: runs that leave their machine."""

from pathlib import Path
from typing import Annotated

import typer

from erasure_bench.bench.cli.options import AsJson, expanded

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder, its name below runs/, or a packed run.")
]


def pack(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tar.gz", help="The archive (else NAME.tar.gz beside the run).", callback=expanded
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Pack a run's results into one file with checksums, without paths of this machine.

    bench table, compare, gate and others read it as it is. The same results give the same bytes.
    """
    from erasure_bench.bench.cli.commands.sharing import pack_run

    return pack_run(run, out, as_json=as_json)


def unpack(
    archive: Annotated[Path, typer.Argument(metavar="FILE.tar.gz", help="A packed run.", callback=expanded)],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where to (else runs/NAME); new or empty.", callback=expanded),
    ] = None,
) -> int:
    """Check a packed run against its checksums, and unpack it."""
    from erasure_bench.bench.cli.commands.sharing import unpack_run

    return unpack_run(archive, out)


def submit(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run's folder, its name below runs/, or a packed run."),
    ] = None,
    entry: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What it is (entry.yaml); see --template.", callback=expanded),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The public folder of results.", callback=expanded),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an entry to fill in instead.", callback=expanded),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Check all entries of a public folder instead (for its CI).",
            callback=expanded,
        ),
    ] = None,
    with_images: Annotated[
        bool,
        typer.Option(
            "--with-images", metavar="", help="Publish images.png too: only where no picture is flagged."
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Check a run as an entry, write it into a public folder of results, and print the pull request's text.

    Refused: flagged pictures, prompts whose licence does not allow it, paths of a machine, partial or failed
    runs. Exit code 1 where an entry is not fit.
    """
    from erasure_bench.bench.cli.commands.sharing import check_entries, submit_run, template_for
    from erasure_bench.errors import BenchError

    if check is not None and run is None:
        return check_entries(check, as_json=as_json)
    if check is not None or run is None:
        raise BenchError("give RUN (bench submit RUN --entry FILE --to FOLDER), or --check FOLDER alone")
    if template is not None:
        return template_for(run, template)
    if entry is None or to is None:
        raise BenchError(
            f"give --entry FILE and --to FOLDER (bench submit {run} --template entry.yaml writes an entry)"
        )
    return submit_run(run, entry, to, with_images=with_images, as_json=as_json)


def card(
    run: Run,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A row of its leaderboard.")],
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="The checkpoint's folder (bench export).", callback=expanded),
    ],
    concept: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which concept's model, where the run has several.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Also write .eval_results/*.yaml for this dataset of the Hugging Face hub, a benchmark.",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Where the run can be looked at, for .eval_results.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="The base model's id on the hub.")
    ] = None,
) -> int:
    """Write an erased checkpoint's model card (README.md) from the run that measured it."""
    from erasure_bench.bench.cli.commands.sharing import write_card

    return write_card(run, method, out, concept, dataset, url, base_model)
