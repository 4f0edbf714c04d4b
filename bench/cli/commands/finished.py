"""What is made of finished runs: `bench table`, `merge`, `export`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from erasure_bench.bench.cli.paths import check_out, find_run, store_folder
from erasure_bench.bench.planning.config import names
from erasure_bench.errors import BenchError

if TYPE_CHECKING:
    from erasure_bench.bench.reporting.board import Board
    from erasure_bench.bench.typesetting.layout import Layout


class Wanted(NamedTuple):
    """How a table is wanted: the options of `bench table` by their names."""

    layout: str
    rows: str | None = None
    columns: str | None = None
    sort: str | None = None
    digits: int | None = None
    concepts: str | None = None
    total: bool = False

    @property
    def plain(self) -> bool:
        """Whether it is the leaderboard as the run wrote it."""
        return self == Wanted(self.layout)


def print_table(run: str, form: str, wanted: Wanted) -> int:
    """Prints a finished run's leaderboard, or a part of it, in a layout."""
    from erasure_bench.bench.reporting.board import Board
    from erasure_bench.bench.reporting.markdown import markdown
    from erasure_bench.bench.reporting.reading import has_text, leaderboard_text, read_document
    from erasure_bench.bench.reporting.tables import print_summary, print_whole
    from erasure_bench.bench.typesetting.layout import ROBUSTNESS, layout
    from erasure_bench.bench.typesetting.selection import Selection, selected

    folder = find_run(run)
    if wanted.layout == ROBUSTNESS:
        return _print_robustness(folder, form, wanted)
    chosen = layout(wanted.layout)
    as_written = form in ("md", "csv", "json") and not chosen.columns and wanted.plain
    if as_written and has_text(folder, form):
        text = leaderboard_text(folder, form)
        write_json(text) if form == "json" else sys.stdout.write(text)
        return 0
    concepts = names(wanted.concepts, "--concepts")
    asked = Selection(
        rows=names(wanted.rows, "--rows"),
        columns=names(wanted.columns, "--columns"),
        sort=wanted.sort,
        digits=wanted.digits,
        concepts=concepts,
    )
    board = selected(Board.from_json(read_document(folder)), asked)
    if form == "summary":
        if chosen.columns or wanted.total:
            raise BenchError("--format summary is of the leaderboard, without --layout and --total")
        print_summary(board, stdout_console())
    elif not chosen.columns and not wanted.total and form in ("rich", "md"):
        if form == "md":
            sys.stdout.write(markdown(board, board.concepts if concepts else ()))
        else:
            print_whole(board, stdout_console(), board.concepts if concepts else ())
    else:
        _print_arranged(board, chosen, form, wanted, folder.name)
    return 0


def _print_robustness(folder: Path, form: str, wanted: Wanted) -> int:
    """The table of attacks, as it was written or on the terminal; raises BenchError for another form."""
    from erasure_bench.bench.reporting.reading import read_result, read_robustness
    from erasure_bench.bench.reporting.robustness_table import on_terminal
    from erasure_bench.bench.reporting.run_file import ROBUSTNESS

    table = read_robustness(folder)
    if not wanted.plain:
        raise BenchError(
            f"--layout {wanted.layout} shows all of it: leave out --rows, --columns and the like"
        )
    if form in ("md", "csv", "json"):
        text = read_result(folder, f"{ROBUSTNESS}.{form}").decode(errors="replace")
        write_json(text) if form == "json" else sys.stdout.write(text)
    elif form in ("rich", "summary"):
        console = stdout_console()
        console.print(on_terminal(table, console.width, brief=form == "summary"))
    else:
        raise BenchError(f"--layout {wanted.layout} is not there as {form}: rich, summary, md, csv, json")
    return 0


def _print_arranged(board: "Board", chosen: "Layout", form: str, wanted: Wanted, run: str) -> None:
    from erasure_bench.bench.typesetting.arranged import arranged

    what = arranged(board, chosen, board.concepts if wanted.concepts else (), total=wanted.total)
    match form:
        case "latex":
            from erasure_bench.bench.typesetting.latex import latex

            sys.stdout.write(latex(what, run))
        case "html":
            from erasure_bench.bench.typesetting.html import html

            sys.stdout.write(html(what))
        case "md":
            from erasure_bench.bench.typesetting.plain import markdown

            sys.stdout.write(markdown(what))
        case "csv":
            from erasure_bench.bench.typesetting.data import csv

            sys.stdout.write(csv(what))
        case "json":
            from erasure_bench.bench.typesetting.data import document

            print_json(document(what))
        case _:
            from erasure_bench.bench.typesetting.plain import on_terminal

            console = stdout_console()
            console.print(on_terminal(what, console.width))


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
    from erasure_bench.bench.reporting.reading import read_document
    from erasure_bench.bench.reporting.record import read_record
    from erasure_bench.bench.reporting.run_file import RUN

    folder = find_run(run)
    settings = read_record(folder).get("method_settings", ()) if (folder / RUN).exists() else ()
    compared = compare(read_document(folder), published(), settings)
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
    from erasure_bench.bench.reporting.robustness_table import on_terminal
    from erasure_bench.bench.reporting.run_file import RUN
    from erasure_bench.bench.reporting.started import check_started_here
    from erasure_bench.bench.reporting.tables import print_summary

    parts = [read_part(folder) for folder in _each_once(find_run(run, RUN) for run in runs)]
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
    for part in parts:
        check_started_here(part.folder, part.record)
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
        console = stdout_console()
        print_summary(Board.from_json(results.document), console)
        if results.robustness is not None:
            console.print("")
            console.print(on_terminal(results.robustness, console.width, brief=True))
    say_where(stderr_console(), out)
    return FAILED if results.evidence.failures else 0


def _each_once(folders: Iterable[Path]) -> list[Path]:
    """Raises BenchError for a run that is named twice: where it is by mistake, another one is missing."""
    found: dict[Path, Path] = {}
    for folder in folders:
        if (earlier := found.setdefault(folder.resolve(), folder)) is not folder:
            raise BenchError(f"{earlier} is given twice: name each run to merge once")
    return list(found.values())


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

    check_out(out.parent)
    found = find_edit(find_run(run), method, concept, seed)
    quiet_libraries()
    base = resolve_model(model or found.model)
    written = export_edit(Edit.load(found.entry.checked()), base.path, form, out, found.origin)
    stdout_console().print(str(written), soft_wrap=True)
    return 0
