"""What is made of finished runs: `bench table`, `merge`, `export`."""

import sys
from pathlib import Path
from typing import Any

from rich.text import Text

from erasure_bench.bench.cli.output import (
    FAILED,
    RunFailed,
    make_folder,
    print_json,
    say_where,
    stderr_console,
    stdout_console,
    words,
    write_json,
)
from erasure_bench.bench.cli.paths import find_run, store_folder
from erasure_bench.bench.planning.config import names
from erasure_bench.errors import BenchError, UnknownName


def print_table(run: str, form: str, concepts_asked: str | None) -> int:
    """Prints a finished run's leaderboard."""
    from erasure_bench.bench.reporting.board import Board
    from erasure_bench.bench.reporting.results import LEADERBOARD, read_document, read_result
    from erasure_bench.bench.reporting.tables import print_summary, print_whole

    folder = find_run(run)
    if form in ("md", "csv", "json"):
        text = read_result(folder, f"{LEADERBOARD}.{form}").decode(errors="replace")
        write_json(text) if form == "json" else sys.stdout.write(text)
        return 0
    board = Board.from_json(read_document(folder))
    wanted = names(concepts_asked, "--concepts")
    if wanted == ("all",):
        wanted = board.concepts
    for name in wanted:
        if name not in board.concepts:
            raise UnknownName("concept", name, board.concepts, "--concepts")
    if form == "summary":
        print_summary(board, stdout_console())
    else:
        print_whole(board, stdout_console(), wanted)
    return 0


def print_published(run: str, form: str) -> int:
    """Prints what papers report beside a finished run's numbers, in the form of `print_table`."""
    from erasure_bench.bench.reporting.beside import compare
    from erasure_bench.bench.reporting.published import published
    from erasure_bench.bench.reporting.published_table import (
        published_csv,
        published_json,
        published_markdown,
        published_table,
    )
    from erasure_bench.bench.reporting.results import read_document

    compared = compare(read_document(find_run(run)), published())
    if form == "json":
        print_json(published_json(compared))
    elif form == "csv":
        sys.stdout.write(published_csv(compared))
    elif form == "md":
        sys.stdout.write(f"\n{published_markdown(compared)}")
    else:
        console = stdout_console()
        console.print(Text(""))
        console.print(published_table(compared, console.width))
    return 0


def merge_runs(
    runs: list[str],
    out: Path,
    store_asked: Path | None,
    data_dir: Path | None,
    *,
    trust_code: bool,
    as_json: bool,
) -> int:
    """Writes and prints the leaderboard of several runs' cells."""
    from erasure_bench.bench.planning.prepare import prepare
    from erasure_bench.bench.reporting.board import Board
    from erasure_bench.bench.reporting.merging import foreign_code, merged, read_part, whole_config
    from erasure_bench.bench.reporting.results import gather, write_results
    from erasure_bench.bench.reporting.run_file import RUN
    from erasure_bench.bench.reporting.tables import print_summary

    parts = [read_part(find_run(run, RUN)) for run in runs]
    _check_apart(out, [part.folder for part in parts])
    for part in parts:
        for name in part.record.get("ratings", ()):
            stderr_console().print(
                words(
                    f"left out: the ratings {name} of {part.folder} (bench score {out} --scores FILE)", "dim"
                )
            )
    if not trust_code and (code := foreign_code(parts)):
        name, folder = next(iter(code.items()))
        raise BenchError(
            f"{folder} names code of its own, {name}, and merging would run it: read it first, then add "
            "--trust-code"
        )
    plan = prepare(whole_config(parts, data_dir), store_folder(store_asked)).plan
    results = gather(plan, merged(plan, parts))
    make_folder(out)
    try:
        write_results(out, plan, results, {"merged": [str(part.folder) for part in parts]})
    except OSError as error:
        raise RunFailed(f"--out {out}: {error.strerror or error}") from error
    if as_json:
        print_json(results.document)
    else:
        print_summary(Board.from_json(results.document), stdout_console())
    say_where(stderr_console(), out)
    return FAILED if results.evidence.failures else 0


def _check_apart(out: Path, inputs: list[Path]) -> None:
    """Raises BenchError where the results would be written into a run that they are made from."""
    place = out.resolve()
    for folder in inputs:
        other = folder.resolve()
        if place == other or place in other.parents or other in place.parents:
            raise BenchError(
                f"--out {out} is, holds or lies in {folder}, a run to merge: give it another place"
            )


def export_edit_of(
    run: str,
    method: str,
    form: Any,
    out: Path,
    concept: str | None,
    seed: int | None,
    model: str | None,
) -> int:
    """Writes one edit of a finished run as weights, and prints where."""
    from erasure_bench.bench.cli.export import find_edit
    from erasure_bench.bench.running.libraries import quiet_libraries
    from erasure_bench.methods.edit import Edit
    from erasure_bench.methods.machinery.exporting import export_edit
    from erasure_bench.models.zoo import resolve_model

    found = find_edit(find_run(run), method, concept, seed)
    quiet_libraries()
    base = resolve_model(model or found.model)
    written = export_edit(Edit.load(found.entry.checked()), base.path, form, out, found.origin)
    stdout_console().print(str(written), soft_wrap=True)
    return 0
