"""The report's HTML, from templates that escape whatever they are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from erasure_bench.bench.reporting.board import Board, judgements
from erasure_bench.bench.reporting.collapsed import DAGGER
from erasure_bench.bench.site.pictures import Counted
from erasure_bench.bench.site.reading import ReportedRun
from erasure_bench.bench.words.showing import one_line

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
"""The pages' content security policy: nothing inline is run or obeyed, and nothing comes from elsewhere."""
STATIC = files("erasure_bench.bench.site") / "static"
SCRIPTS = ("core.js", "table.js", "plots.js", "viewer.js", "pictures.js")
VERDICT_MARKS = {"met": "✓", "missed": "✗", "undecided": "?"}


class Download(NamedTuple):
    """A file to download: its address and what it is."""

    address: str
    title: str


@dataclass(frozen=True, kw_only=True)
class RunPage:
    """A run in the report: its page's file, the folder of its data, and what can be downloaded."""

    run: ReportedRun
    slug: str
    file: str
    pictures: Counted
    downloads: Sequence[Download]

    @property
    def title(self) -> str:
        return one_line(self.run.document["title"])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("erasure_bench.bench.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["line"] = one_line
    environment.filters["facts"] = _facts
    return environment


def run_page(page: RunPage, pages: Sequence[RunPage], version: str) -> str:
    """The HTML of one run."""
    document = page.run.document
    provenance = set(document.get("provenance", ()))
    collapsed = document.get("collapsed") or {}  # named one by one: the note on them goes to the others
    cautions = [
        caution for caution in document.get("cautions", ()) if not (collapsed and caution.startswith(DAGGER))
    ]
    notes = [note for note in document["notes"] if note not in provenance and note not in cautions]
    return (
        _environment()
        .get_template("run.html")
        .render(
            policy=POLICY,
            version=version,
            page=page,
            several=len(pages) > 1,
            document=document,
            record=page.run.record,
            cautions=cautions,
            notes=notes,
            provenance=sorted(provenance),
            scripts=SCRIPTS,
            collapsed=collapsed,
            has_concepts=len(document["concepts"]) > 1,
        )
    )


def overview_page(pages: Sequence[RunPage], version: str) -> str:
    """The HTML that leads to several runs: which bars each method meets in each of them.

    A run is called as its suite, runs of one suite also by their folders.
    """
    suites = [str(page.run.document["suite"]) for page in pages]
    names = [
        suite if suites.count(suite) == 1 else f"{suite}: {page.run.name}"
        for suite, page in zip(suites, pages, strict=True)
    ]
    methods = list(dict.fromkeys(method for page in pages for method in page.run.document["methods"]))
    verdicts = [_verdicts(page.run, methods) for page in pages]
    return (
        _environment()
        .get_template("overview.html")
        .render(
            policy=POLICY,
            version=version,
            pages=pages,
            names=names,
            methods=methods,
            verdicts=verdicts,
            judged=any(verdicts),
            marks=VERDICT_MARKS,
        )
    )


class RoleVerdicts(NamedTuple):
    """What is said of each method in one role of one run: its verdict and the interval that says so."""

    role: str
    title: str
    bar: str
    cells: Sequence[tuple[str, str]]


def _verdicts(run: ReportedRun, methods: Sequence[str]) -> list[RoleVerdicts]:
    board = Board.from_json(run.document)
    found = []
    for judgement in judgements(board):
        if not judgement.bar:
            continue
        by_method = dict(zip(board.methods, judgement.cells, strict=True))
        cells = [
            (by_method[method].verdict or "", by_method[method].interval) if method in by_method else ("", "")
            for method in methods
        ]
        found.append(RoleVerdicts(judgement.role, judgement.title, judgement.bar, cells))
    return found


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A mapping as lines: names, and values in one line each."""
    lines = []
    for name, value in found.items():
        words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        lines.append((one_line(name), "–" if value is None else one_line(words)))
    return lines
