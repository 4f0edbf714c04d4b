"""`bench report`: the whole site, written beside its place and then put there at once."""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.results import SCORES
from erasure_bench.bench.reporting.run_file import LEADERBOARD
from erasure_bench.bench.running.versions import this_version
from erasure_bench.bench.site.numbers import numbers
from erasure_bench.bench.site.pages import STATIC, Download, RunPage, overview_page, run_page
from erasure_bench.bench.site.picture_files import PictureFiles
from erasure_bench.bench.site.pictures import Counted, write_pictures
from erasure_bench.bench.site.reading import ReportedRun, slugs
from erasure_bench.bench.site.scripts import write_call
from erasure_bench.bench.site.training import training
from erasure_bench.bench.typesetting.arranged import arranged
from erasure_bench.bench.typesetting.latex import latex
from erasure_bench.bench.typesetting.layout import LEADERBOARD as LAYOUT
from erasure_bench.bench.typesetting.layout import layout
from erasure_bench.errors import BenchError
from erasure_bench.permissions import follow_umask

MARK = "report.json"
"""Says that a folder is a report: only such a one, or an empty one, is ever replaced."""
FORMAT = "erasure-bench report 1"
_TITLES = {
    f"{LEADERBOARD}.csv": "CSV",
    f"{LEADERBOARD}.csv.gz": "CSV (gzip)",
    f"{LEADERBOARD}.md": "Markdown",
    f"{LEADERBOARD}.json": "JSON",
    SCORES: "scores of every picture (Parquet)",
}


class Written(NamedTuple):
    """Where the report is, and its pictures."""

    page: Path
    pictures: Counted


def write_site(
    runs: Sequence[ReportedRun],
    out: Path,
    *,
    flagged: bool = True,
    step: Callable[[], None] = lambda: None,
) -> Written:
    """Writes the report of the runs to `out`, in place of an earlier one; without `flagged` leaves flagged
    pictures out. `step` is called after each picture.

    Raises BenchError where `out` holds something else, OSError where it cannot be written.
    """
    check_place(out, runs)
    out = Path(os.path.abspath(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.parent / f".{out.name}.{secrets.token_hex(6)}"
    draft.mkdir()
    try:
        counted = _write(runs, draft, flagged=flagged, step=step)
        follow_umask(draft)
        _put(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Written(out / "index.html", counted)


def check_place(out: Path, runs: Sequence[ReportedRun]) -> None:
    """Raises BenchError where the report would take the place of what is none."""
    place = Path(os.path.realpath(out))
    for run in runs:
        store = [Path(os.path.realpath(run.record["store"]))] if run.record["store"] else []
        for folder in (Path(os.path.realpath(run.folder)), *store):
            if folder.is_relative_to(place):
                raise BenchError(f"--out {out} is or holds {folder}, which the report is made from")
        if store and place.is_relative_to(store[0]):
            raise BenchError(
                f"--out {out} lies in the store {store[0]}, which holds tasks alone: name another"
            )
    if out.exists() and not is_report(out) and not (out.is_dir() and not any(out.iterdir())):
        raise BenchError(f"--out {out}: there is something that is no report; give it another place")


def is_report(folder: Path) -> bool:
    """Whether `bench report` wrote the folder."""
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and str(found.get("format", "")).startswith("erasure-bench report ")


def _put(draft: Path, out: Path) -> None:
    old = draft.with_name(f"{draft.name}.old")
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(draft, out)
    except OSError:
        if old.exists():
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write(runs: Sequence[ReportedRun], folder: Path, *, flagged: bool, step: Callable[[], None]) -> Counted:
    _copy_static(folder / "assets")
    names = slugs(str(run.document["suite"]) for run in runs)
    pages = []
    for run, slug in zip(runs, names, strict=True):
        data = folder / "data" / slug
        data.mkdir(parents=True)
        write_call(data / "numbers.js", "erasureReport.numbers", numbers(run))
        write_call(data / "training.js", "erasureReport.training", training(run))
        files = PictureFiles(run, folder / "pictures" / slug, step)
        counted = write_pictures(run, files, data, flagged=flagged)
        file = "index.html" if len(runs) == 1 else f"{slug}.html"
        downloads = _downloads(run, folder, slug)
        pages.append(RunPage(run=run, slug=slug, file=file, pictures=counted, downloads=downloads))
    version = this_version()
    for page in pages:
        (folder / page.file).write_text(run_page(page, pages, version), encoding="utf-8")
    if len(pages) > 1:
        (folder / "index.html").write_text(overview_page(pages, version), encoding="utf-8")
    mark = {"format": FORMAT, "version": version, "runs": [page.run.document["plan"] for page in pages]}
    (folder / MARK).write_text(json.dumps(mark) + "\n", encoding="utf-8")
    return Counted(*(sum(counts) for counts in zip(*(page.pictures for page in pages), strict=True)))


def _copy_static(assets: Path) -> None:
    (assets / "vendor").mkdir(parents=True)
    for place, folder in ((STATIC, assets), (STATIC / "vendor", assets / "vendor")):
        for file in place.iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())


def _downloads(run: ReportedRun, folder: Path, slug: str) -> list[Download]:
    target = folder / "downloads" / slug
    target.mkdir(parents=True)
    found = []
    for name, title in _TITLES.items():
        if name in run.record["files"]:
            shutil.copyfile(run.folder / name, target / name)
            found.append(Download(f"downloads/{slug}/{name}", title))
    table = arranged(Board.from_json(run.document), layout(LAYOUT))
    (target / f"{LEADERBOARD}.tex").write_text(latex(table, slug), encoding="utf-8")
    found.insert(1, Download(f"downloads/{slug}/{LEADERBOARD}.tex", "LaTeX"))
    return found
