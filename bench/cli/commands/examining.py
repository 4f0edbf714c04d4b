"""What works here: `bench check` and `doctor`."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from rich.padding import Padding
from rich.status import Status
from rich.text import Text

from erasure_bench.bench.cli.output import FAILED, print_json, stderr_console, stdout_console, words
from erasure_bench.bench.words.listing import listing

INDENT = 2
STYLES = {"ok": "green", "absent": "yellow", "broken": "bold red", "note": "cyan"}


def check_contract_of(
    name: str,
    model: str | None,
    method_options: Mapping[str, Mapping[str, str]],
    evaluator_options: Mapping[str, Mapping[str, str]],
    data_dir: Path | None,
    *,
    as_json: bool,
) -> int:
    """Prints what the contract's checks found, each as soon as it is done."""
    from erasure_bench.bench.cli.check import prepare_examination

    console = stdout_console()
    doing = Status("", console=stderr_console())

    def watch(made: int, total: int, unit: str) -> None:
        doing.update(words(f"{name}: {made} of {total} {unit}"))

    examination = prepare_examination(name, model, method_options, evaluator_options, data_dir, watch)
    if not as_json:
        console.print(words(examination.title))
    styles = {"ok": "green", "failed": "red", "skipped": "dim"}
    with doing:
        for check in examination.run():
            doing.stop()
            if not as_json:
                line = Text.assemble(
                    "  ", (f"{check.verdict:<7}", styles[check.verdict]), "  ", words(check.name)
                )
                if check.why:
                    line = Text.assemble(line, "  ", words(check.why, "dim"))
                console.print(line)
            doing.start()
    if as_json:
        print_json(examination.to_json())
    else:
        console.print(examination.summary)
    return FAILED if examination.failed else 0


def print_findings(store: Path | None, data_dir: Path | None, *, as_json: bool) -> int:
    """Prints what doctor found; the exit code is 1 where something is broken."""
    from erasure_bench.bench.cli.doctor import examine, is_broken, to_json

    findings = examine(data_dir, store)
    if as_json:
        print_json(to_json(findings))
        return FAILED if is_broken(findings) else 0
    console = stdout_console()
    for topic, found in groupby(findings, key=lambda finding: finding.topic):
        rows = [
            (words(finding.verdict, STYLES[finding.verdict]), words(finding.name), words(finding.detail))
            for finding in found
        ]
        console.print(words(topic, "cyan"))
        console.print(Padding(listing(rows, console.width - INDENT), (0, 0, 0, INDENT)))
    return FAILED if is_broken(findings) else 0
