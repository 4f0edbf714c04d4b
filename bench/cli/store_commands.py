"""`bench store verify`, `size`, `prune`: looks after the folder of finished tasks."""

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from erasure_bench.bench.cli.options import AsJson, Remote, Store
from erasure_bench.errors import BenchError

FAILED = 1
DryRun = Annotated[
    bool, typer.Option("--dry-run", metavar="", help="Say what would be done, and do nothing.")
]
TITLES = {
    "erase": "edits",
    "generate": "pictures",
    "score": "scores",
    "features": "features of pictures",
    "cache": "shared by edits",
    "damaged": "damaged, moved aside",
    "progress": "unfinished edits",
    "settings": "remembered settings",
    "paces": "remembered paces",
    "batch-sizes": "remembered batch sizes",
    "compiling": "remembered costs of compiling",
    "statistics": "remembered statistics of sets",
    "tmp": "being written",
}

store_app = typer.Typer(
    name="store", help="Look after the folder of finished tasks: verify, size, prune.", no_args_is_help=True
)


@store_app.command()
def verify(store: Store = None, dry_run: DryRun = False, as_json: AsJson = False) -> int:
    """Read all of the store and compare it with what was written. Exit code 1 if anything is damaged.

    What is damaged is moved aside, so that the next run makes it anew, or fetches it from --remote. A bucket
    itself is not read: what comes from it is checked when it comes.
    """
    from rich.progress import Progress

    from erasure_bench.bench.cli.output import stderr_console
    from erasure_bench.bench.storage.upkeep import places
    from erasure_bench.bench.storage.upkeep import verify as verify_all

    root = _existing(store)
    console = stderr_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("verifying", total=sum(1 for _ in places(root)))
        count, damaged = verify_all(root, move=not dry_run, each=lambda place: progress.advance(bar))
    if as_json:
        _print_json({"store": str(root), "checked": count, "damaged": [found._asdict() for found in damaged]})
        return FAILED if damaged else 0
    if damaged:
        _print_table(("damaged", "id", "why"), [(found.kind, found.id[:16], found.why) for found in damaged])
    became = "" if not damaged or dry_run else "; moved aside: the next run makes them anew"
    _print(f"{count} entries read, {len(damaged)} damaged{became}")
    return FAILED if damaged else 0


@store_app.command()
def size(store: Store = None, remote: Remote = None, as_json: AsJson = False) -> int:
    """How many entries of each kind there are, and their room; with --remote those in the bucket as well."""
    from erasure_bench.bench.cli.paths import remote_url
    from erasure_bench.bench.storage.upkeep import sizes

    root, url = _existing(store), remote_url(remote)
    far = None if url is None else _of_bucket(url)
    near = sizes(root)
    if as_json:
        document = _sizes_document(root, near)
        _print_json(document if far is None else document | {"remote": _sizes_document(url, far)})
        return 0
    _print_sizes(near)
    if far is not None:
        _print(f"\nin {url}")
        _print_sizes(far)
    return 0


def _of_bucket(url: str) -> list[Any]:
    from erasure_bench.bench.storage.remote import Remote, RemoteAway

    try:
        return Remote(url).sizes()
    except RemoteAway as why:
        raise BenchError(f"--remote {url}: {why}") from why


@store_app.command()
def prune(
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="A run's folder, or its name below runs/, whose edits, pictures and scores stay, its "
            "attacks' too, and what edits of its base models share: all others go, also what other runs "
            "have begun. Repeatable.",
        ),
    ] = None,
    store: Store = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Remove damaged entries and what killed runs left half-written, but for checkpoints to go on from.

    With --keep, remove all else too that no kept run needs, checkpoints included. Nothing is removed from a
    bucket (--remote of bench run): a later run fetches from there what it needs again.
    """
    from erasure_bench.bench.storage.upkeep import prune as prune_all

    root = _existing(store)
    gone = prune_all(root, _kept(root, keep) if keep else None, dry_run=dry_run)
    if not gone and not as_json:
        _print("nothing to remove")
        return 0
    if as_json:
        _print_json(_sizes_document(root, gone))
    else:
        _print_sizes(gone)
    if dry_run:
        print("would be removed; nothing was done (--dry-run)", file=sys.stderr)
    return 0


def _kept(root: Path, runs: list[str]) -> Any:
    """Raises BenchError for a run that another store holds, of which nothing would be kept.

    And for one that does not say all that it needs.
    """
    from erasure_bench.bench.cli.paths import find_run
    from erasure_bench.bench.reporting.record import read_record
    from erasure_bench.bench.reporting.run_file import RUN
    from erasure_bench.bench.reporting.tries import TRIES
    from erasure_bench.bench.storage.upkeep import Kept

    edits: set[str] = set()
    pictures: set[str] = set()
    bases: set[str] = set()
    for run in runs:
        folder = find_run(run, RUN)
        record = read_record(folder)
        if record["store"] is None or Path(record["store"]).resolve() != root.resolve():
            whose = record["store"] or "no store: it was merged, so keep the runs that it was merged from"
            raise BenchError(f"--keep {run}: its pictures are not in {root} but in {whose}")
        in_turn = any(case.get("in_turn") for case in record["concept_definitions"].values())
        for cell in record["cells"]:
            if "besides" not in cell and (in_turn or (folder / TRIES).exists()):
                raise BenchError(
                    f"--keep {run}: an earlier version wrote it, which does not say what its attacks and its "
                    "erasures in turn need; give the same bench run again, which finds all of it there"
                )
            entries = [cell["edit"], *chain.from_iterable(cell["images"].values()), *cell.get("besides", ())]
            for entry in entries:
                (edits if entry.startswith("erase/") else pictures).add(entry.rpartition("/")[2])
        bases |= {record["model_digest"], *(method["base"] for method in record["method_settings"])}
    return Kept(edits, pictures, bases | edits)  # attacks, and what is erased in turn, learn from edits


def _existing(asked: Path | None) -> Path:
    from erasure_bench.bench.cli.paths import store_folder

    root = store_folder(asked)
    if not root.is_dir():
        raise BenchError(f"there is no store {root}: name one that is there (--store or $BENCH_STORE)")
    return root


def _print_sizes(found: list[Any]) -> None:
    total = sum(part.bytes for part in found)
    rows = [(TITLES.get(part.part, part.part), f"{part.entries:,}", _room(part.bytes)) for part in found]
    _print_table(("", "entries", "size"), [*rows, ("together", "", _room(total))], numbers=True)


def _sizes_document(where: Path | str | None, found: list[Any]) -> dict[str, Any]:
    total = sum(part.bytes for part in found)
    return {"store": str(where), "parts": [part._asdict() for part in found], "bytes": total}


def _room(count: int) -> str:
    """Bytes in the unit that keeps them short."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"


def _print_table(titles: tuple[str, ...], rows: list[tuple[str, ...]], *, numbers: bool = False) -> None:
    from rich.table import Table

    from erasure_bench.bench.cli.output import stdout_console, words

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place, title in enumerate(titles):
        table.add_column(title, justify="right" if numbers and place else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(words, row))
    stdout_console().print(table)


def _print(text: str) -> None:
    from erasure_bench.bench.cli.output import stdout_console

    stdout_console().print(text, soft_wrap=True)


def _print_json(document: Any) -> None:
    from erasure_bench.bench.cli.output import print_json

    print_json(document)
