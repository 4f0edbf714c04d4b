"""Finished runs to look at: `bench report` and `bench view`."""

import sys
import tempfile
from pathlib import Path

from erasure_bench.bench.cli.output import (
    RunFailed,
    make_folder,
    print_json,
    stderr_console,
    stdout_console,
    words,
)
from erasure_bench.bench.cli.paths import RUNS, find_run
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.running.bars import Bars
from erasure_bench.bench.sharing.finding import is_passing
from erasure_bench.bench.site.reading import ReportedRun, read_reported, run_folders
from erasure_bench.bench.site.serving import serving
from erasure_bench.bench.site.site import Written, check_place, is_report, write_site
from erasure_bench.environment import go_offline
from erasure_bench.errors import BenchError

REPORT = "report"


def report_runs(names: list[str], out: Path | None, *, flagged: bool, as_json: bool) -> int:
    """Writes the report of finished runs, and prints where it is."""
    runs = _read(names)
    written = _write(runs, out or _place(runs), flagged=flagged)
    if as_json:
        print_json({"index": str(written.page), "runs": len(runs), **written.pictures._asdict()})
    else:
        stdout_console().print(words(written.page), soft_wrap=True)
    return 0


def _read(names: list[str]) -> list[ReportedRun]:
    go_offline()  # a suite's prompts may be read, but are never fetched
    folders = [folder for name in names for folder in _folders(name)]
    return [read_reported(folder) for folder in dict.fromkeys(folders)]


def _folders(name: str) -> list[Path]:
    """A run, or the runs in a folder of runs."""
    for place in (Path(name), RUNS / name):
        if place.is_dir() and (found := run_folders(place)):
            return found
    return [find_run(name, RUN)]


def _place(runs: list[ReportedRun]) -> Path:
    alone = len(runs) == 1 and not is_passing(runs[0].folder)
    return runs[0].folder / REPORT if alone else Path(REPORT)


def _write(runs: list[ReportedRun], out: Path, *, flagged: bool) -> Written:
    check_place(out, runs)
    make_folder(out.parent)
    said = stderr_console()
    with Bars(said, disable=not said.is_terminal) as bars:
        task = bars.add_task("copying pictures", total=None, unit="pictures", note="")
        try:
            written = write_site(runs, out, flagged=flagged, step=lambda: bars.advance(task))
        except OSError as error:
            raise RunFailed(f"--out {out}: {error.strerror or error}") from error
    if gone := written.pictures.gone:
        line = (
            f"{gone} of {gone + written.pictures.shown} pictures are not in the runs' stores (merged or "
            "received runs have none): the report shows their scores alone"
        )
        said.print(words(line), soft_wrap=True)
    return written


def view_runs(names: list[str], port: int, *, flagged: bool) -> int:
    """Serves a report, or one that is made of runs and goes again, until Ctrl-C."""
    reports = [Path(name) for name in names if is_report(Path(name))]
    if reports and len(names) > 1:
        raise BenchError(f"{reports[0]} is a report: view it alone, or name the runs")
    with tempfile.TemporaryDirectory(prefix="bench-view-") as folder:
        place = reports[0] if reports else Path(folder) / REPORT
        if not reports:
            _write(_read(names), place, flagged=flagged)
        try:
            with serving(place, port) as served:
                stdout_console().print(words(served.address), soft_wrap=True)
                sys.stdout.flush()
                stderr_console().print(words("Ctrl-C ends it", "dim"))
                served.forever()
        except OSError as error:
            raise BenchError(
                f"--port {port}: {error.strerror or error}; name another, or 0 for any that is free"
            ) from error
        except KeyboardInterrupt:
            stderr_console().print(words("ended", "dim"))
    return 0
