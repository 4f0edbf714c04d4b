"""Two finished runs beside each other: `bench compare` and `bench gate`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from erasure_bench.bench.cli.output import (
    FAILED,
    PlainConsole,
    RunFailed,
    make_folder,
    print_json,
    stderr_console,
    stdout_console,
    words,
)
from erasure_bench.bench.cli.paths import find_run
from erasure_bench.bench.planning.config import names
from erasure_bench.errors import BenchError

if TYPE_CHECKING:
    from erasure_bench.bench.comparing.changes import Comparison
    from erasure_bench.bench.comparing.flips import Flip
    from erasure_bench.bench.comparing.gate import Gate

UNDECIDED = 2
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""Where a GitHub job keeps the Markdown that it shows."""
STYLES = {
    "BLOCK": "bold red",
    "MISSING": "bold red",
    "INCONCLUSIVE": "yellow",
    "WARN": "yellow",
    "PASS": "green",
}
FLIPS_SHOWN = 40


def compare_runs(
    before: str,
    after: str | None,
    methods: str | None,
    concepts: str | None,
    *,
    against: str | None,
    margin: float,
    show_flips: bool,
    sheet: Path | None,
    form: str,
) -> int:
    """Prints what changed from one run to the other, or how rows of one run differ."""
    from erasure_bench.bench.comparing.changes import compare, pairs_of, pairs_within
    from erasure_bench.bench.comparing.finished import read_finished
    from erasure_bench.bench.comparing.flips import flips
    from erasure_bench.bench.comparing.telling import comparison_json, comparison_markdown, is_shown

    if (after is None) == (against is None):
        raise BenchError("give a second run to compare with, or --against METHOD for rows of one run")
    if not 0 < margin < 1:
        raise BenchError(f"--margin {margin:g}: a share of a metric's range, above 0 and below 1")
    old = read_finished(find_run(before))
    new = old if after is None else read_finished(find_run(after))
    asked = names(methods, "--methods")
    pairs = pairs_of(old, new, asked) if after else pairs_within(old, names(against, "--against"), asked)
    known = tuple(new.document["concepts"])
    wanted = names(concepts, "--concepts")
    wanted = known if wanted == ("all",) else wanted
    if unknown := [name for name in wanted if name not in known]:
        raise BenchError(f"--concepts {unknown[0]}: valid: {', '.join(known)}, all")
    comparison = compare(old, new, pairs, asked=lambda row: is_shown(row, wanted), margin=margin)
    turned = flips(old, new, pairs) if show_flips or sheet else []
    if sheet is not None:
        from erasure_bench.bench.comparing.flip_sheet import write_flip_sheet

        count = write_flip_sheet(turned, sheet)
        stderr_console().print(f"{count} of {len(turned)} flips are on {sheet}", soft_wrap=True)
    if form == "json":
        print_json(comparison_json(comparison, turned))
    elif form == "md":
        print(comparison_markdown(comparison, wanted, turned, str(old.folder), str(new.folder)), end="")
    else:
        _print_comparison(comparison, wanted, turned if show_flips else None, within=after is None)
    return 0


def _print_comparison(
    comparison: Comparison, concepts: Sequence[str], turned: Sequence[Flip] | None, *, within: bool
) -> None:
    from rich.text import Text

    from erasure_bench.bench.comparing.telling import HEADS, cells_of, flip_cells, read_as, shown_changes
    from erasure_bench.bench.words.grid import Column, grids

    console = stdout_console()
    rows = [cells_of(change) for change in shown_changes(comparison.changes, concepts)]
    columns = [
        Column(Text(head), tuple(words(row[place]) for row in rows), justify="left" if place < 4 else "right")
        for place, head in enumerate(HEADS)
        if place and any(row[place] for row in rows)
    ]
    for table in grids(HEADS[0], [words(row[0]) for row in rows], columns, console.width):
        console.print(table)
    for line in (*comparison.left_out, *read_as(comparison, within=within)):
        console.print(words(line, "dim"), soft_wrap=True)
    if turned is None:
        return
    console.print(
        words(f"{len(turned)} pictures have turned round:" if turned else "no picture turned round")
    )
    for flip in turned[:FLIPS_SHOWN]:
        console.print(words(" · ".join(flip_cells(flip))), soft_wrap=True)
        files = [str(file) if file else "no longer in the store" for file in flip.pictures]
        for file in files:
            console.print(Text("    ").append_text(words(file, "dim")), soft_wrap=True)
    if len(turned) > FLIPS_SHOWN:
        console.print(words(f"… and {len(turned) - FLIPS_SHOWN} more (--format json)", "dim"))


def gate_runs(
    before: str,
    after: str,
    policy: Path,
    *,
    strict: bool,
    as_json: bool,
    markdown: Path | None,
    junit: Path | None,
) -> int:
    """Holds a run against another by a policy; prints the findings, writes the files that are asked for."""
    from erasure_bench.bench.comparing.finished import read_finished
    from erasure_bench.bench.comparing.gate import exit_code, hold, in_json
    from erasure_bench.bench.comparing.policy import read_policy
    from erasure_bench.bench.comparing.telling import gate_junit, gate_markdown

    rules = read_policy(policy)
    old, new = read_finished(find_run(before)), read_finished(find_run(after))
    gate = hold(old, new, rules)
    text = gate_markdown(gate, str(old.folder), str(new.folder))
    for flag, file, content in (
        ("--markdown", markdown, text),
        ("--junit", junit, gate_junit(gate, f"bench gate {policy.name}")),
    ):
        if file is not None:
            _write(flag, file, content)
    if summary := os.environ.get(SUMMARY_VARIABLE):
        _append(Path(summary), text)
    if as_json:
        print_json(in_json(gate))
    else:
        _print_gate(gate, stdout_console())
    return exit_code(gate, strict=strict, blocked=FAILED, undecided=UNDECIDED)


def write_policy(run: str, out: Path | None) -> int:
    """Writes a policy to start from, made of a run's headline metrics."""
    from erasure_bench.bench.comparing.finished import read_finished
    from erasure_bench.bench.comparing.policy import first_policy

    text = first_policy(read_finished(find_run(run)))
    if out is None:
        print(text, end="")
        return 0
    if out.exists():
        raise BenchError(f"--out {out}: is there already; give another name, or remove it")
    _write("--out", out, text)
    stderr_console().print(f"{out}: read it, and set what may get worse by how much", soft_wrap=True)
    return 0


def _print_gate(gate: Gate, console: PlainConsole) -> None:
    from rich.text import Text

    from erasure_bench.bench.comparing.gate import by_verdict
    from erasure_bench.bench.comparing.telling import with_needed

    for verdict, findings in by_verdict(gate).items():
        for one in findings:
            where = one.method if one.concept == "overall" else f"{one.method} · {one.concept}"
            line = Text(f"{verdict:12} ", STYLES[verdict])
            line.append_text(words(f"{one.rule} ({where}): {one.demand}; {with_needed(one)}"))
            console.print(line, soft_wrap=True)
    for note in gate.notes:
        console.print(words(note, "dim"), soft_wrap=True)
    console.print(words(gate.verdict, STYLES[gate.verdict]))


def _write(flag: str, file: Path, text: str) -> None:
    from erasure_bench.bench.storage.atomic import write_text

    make_folder(file.parent, flag)
    try:
        write_text(file, text)
    except OSError as error:
        raise RunFailed(f"{flag} {file}: {error.strerror or error}") from error


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")
    except OSError as error:
        stderr_console().print(f"{SUMMARY_VARIABLE} {file}: {error.strerror or error}", soft_wrap=True)
