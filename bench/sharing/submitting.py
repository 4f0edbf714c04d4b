"""`bench submit`: a run becomes an entry of a public folder of results, and the text of a pull request."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.run_yaml import run_yaml
from erasure_bench.bench.reporting.board import Board
from erasure_bench.bench.reporting.markdown import markdown
from erasure_bench.bench.reporting.run_file import RUN, sealed_with
from erasure_bench.bench.sharing.archives import CHECKSUMS, checksums
from erasure_bench.bench.sharing.entry import ENTRY, Entry
from erasure_bench.bench.sharing.guard import PICTURES, PROMPTS, place_of, problems_of, prompts_are_closed
from erasure_bench.bench.sharing.packing import portable_files
from erasure_bench.bench.words.showing import in_json
from erasure_bench.errors import BenchError

_LONGEST = 60_000
"""Characters that the large hosts of code take as a pull request's text."""


class Submitted(NamedTuple):
    """Where the entry lies, what of the run was left out of it and why, and the pull request's text."""

    folder: Path
    left_out: tuple[str, ...]
    text: str


class NotFit(BenchError):
    """An entry that may not be in a public folder: all reasons, one a line."""

    exit_code = 1

    def __init__(self, where: str, problems: list[str]) -> None:
        self.problems = problems
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{where}: {problems[0]}{more}")


def submit(run: Path, entry: Entry, to: Path, *, with_images: bool = False) -> Submitted:
    """Writes the entry below the folder `to`; nothing is there where it is not fit.

    Raises NotFit with every reason, BenchError where the entry is there already or cannot be written.
    """
    finished = read_finished(run)
    target = to / place_of(entry, finished)
    if target.exists():
        raise BenchError(f"{target} is there already: give the entry another name, or remove it first")
    files, left_out = _fitting(run, finished, with_images)
    files[ENTRY] = entry.text().encode()
    sums = checksums(files)
    # Made beside its place under another name: what is not fit never lies there.
    draft = to / f".draft-{secrets.token_hex(6)}" / target.relative_to(to)
    try:
        draft.mkdir(parents=True)
        for name, data in {**files, CHECKSUMS: sums}.items():
            (draft / name).write_bytes(data)
        if problems := problems_of(draft):
            raise NotFit(
                f"{run} is no entry", [problem.replace(str(draft), str(target)) for problem in problems]
            )
        text = "\n".join(_text(entry, read_finished(draft), left_out, hashlib.sha256(sums).hexdigest()))
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(draft, target)
    except OSError as error:
        raise BenchError(f"--to {to}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(to / draft.relative_to(to).parts[0], ignore_errors=True)
    return Submitted(target, left_out, text)


def check_folder(folder: Path) -> dict[str, list[str]]:
    """The problems of each entry below a public folder, by its place; raises BenchError for no entry."""
    entries = sorted(path.parent for path in folder.rglob(RUN))
    if not entries:
        raise BenchError(f"{folder}: holds no entry ({RUN} with {ENTRY} beside it)")
    return {entry.relative_to(folder).as_posix(): problems_of(entry) for entry in entries}


def _fitting(run: Path, finished: FinishedRun, with_images: bool) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The files that an entry takes of a run, and what it leaves out."""
    files = portable_files(run)
    left_out = []
    closed = prompts_are_closed(str(finished.record["suite"]))
    for name in sorted(files):
        if name in PICTURES and not with_images:
            left_out.append(f"{name}: pictures are published by --with-images only")
        elif name in PROMPTS and closed:
            left_out.append(f"{name}: holds the suite's prompts, and {closed}")
        elif name.startswith("ratings-"):
            left_out.append(f"{name}: people's own ratings; their scores stay")
        else:
            continue
        del files[name]
    return _sealed_again(files), tuple(left_out)


def _sealed_again(files: dict[str, bytes]) -> dict[str, bytes]:
    record = json.loads(files[RUN])
    digests = {name: digest for name, digest in record["files"].items() if name in files}
    return {**files, RUN: in_json(sealed_with(record, digests)).encode()}


def _text(entry: Entry, run: FinishedRun, left_out: tuple[str, ...], digest: str) -> Iterator[str]:
    record = run.record
    yield f"# {entry.title}"
    yield ""
    yield entry.summary
    yield ""
    yield f"- Authors: {', '.join(entry.authors)}"
    for name, address in (("Paper", entry.paper), ("Code", entry.code)):
        if address:
            yield f"- {name}: {address}"
    yield f"- Suite {run.suite} on {record['model']} (`{str(record['model_digest'])[:12]}`)"
    yield f"- Licence of the results: {entry.licence}"
    drawn = [f"{name} {' and '.join(found)}" for name, found in record["drawn_with"].items()]
    yield f"- Drawn with {', '.join(drawn)}"
    yield f"- Checksums: `{digest}`"
    yield f"- Code that is no released version: {', '.join(_changed_code(record)) or 'none'}"
    for line in left_out:
        yield f"- Left out: {line}"
    yield ""
    yield "<details><summary>The run, to do it again: <code>bench run -c run.yaml</code></summary>"
    yield ""
    config = RunConfig.model_validate(record["config"])
    yield f"```yaml\n{run_yaml(config.model_dump())}```"
    yield ""
    yield "</details>"
    yield ""
    table = markdown(Board.from_json(run.document))
    yield (
        table if len(table) < _LONGEST else "The tables are too long for this text: leaderboard.md has them."
    )


def _changed_code(record: Mapping[str, Any]) -> Iterator[str]:
    """Methods and evaluators whose code has no accepted version: named by a digest, not by `NAME VERSION`."""
    for method in record["method_settings"]:
        if " " not in method["code"]:
            yield method["method"]
    for name, code in record["evaluator_code"].items():
        if " " not in code:
            yield name
    if (record.get("git") or {}).get("changed"):
        yield "the checkout had changes that were not committed"
