"""What leaves the machine: `bench pack`, `unpack`, `submit`, `card`."""

import shlex
import sys
from pathlib import Path

from erasure_bench.bench.cli.output import FAILED, print_json, stderr_console, stdout_console, words
from erasure_bench.bench.comparing.finished import read_finished
from erasure_bench.bench.reporting.run_file import RUN
from erasure_bench.bench.sharing.archives import name_of
from erasure_bench.bench.sharing.archives import unpack as unpack_archive
from erasure_bench.bench.sharing.entry import read_entry, write_template
from erasure_bench.bench.sharing.finding import RUNS, find_own_run, find_run
from erasure_bench.bench.sharing.model_card import ErasedCard
from erasure_bench.bench.sharing.packing import pack
from erasure_bench.bench.sharing.submitting import NotFit, check_folder, submit


def pack_run(run: str, out: Path | None, *, as_json: bool) -> int:
    """Prints the archive's path, and the digest of its checksums."""
    path, digest = pack(find_run(run, RUN) if out else find_own_run(run, RUN), out)
    if as_json:
        print_json({"archive": str(path), "checksums_sha256": digest, "bytes": path.stat().st_size})
    else:
        stdout_console().print(str(path), soft_wrap=True)
        said = stderr_console()
        said.print(f"checksums sha256 {digest}", soft_wrap=True)
        said.print(f"To look at it anywhere: bench table {shlex.quote(path.name)}", soft_wrap=True)
    return 0


def unpack_run(archive: Path, out: Path | None) -> int:
    """Prints the folder."""
    folder = unpack_archive(archive, out or RUNS / name_of(archive))
    stdout_console().print(str(folder), soft_wrap=True)
    return 0


def template_for(run: str, path: Path) -> int:
    """Writes an entry to fill in for the run."""
    write_template(path, name_of(find_run(run, RUN)))
    stderr_console().print(
        f"{path}: fill it in, then bench submit {run} --entry {path} --to FOLDER", soft_wrap=True
    )
    return 0


def submit_run(run: str, entry: Path, to: Path, *, with_images: bool, as_json: bool) -> int:
    """Prints the pull request's text; every reason against it on stderr."""
    said = stderr_console()
    try:
        done = submit(find_run(run, RUN), read_entry(entry), to, with_images=with_images)
    except NotFit as error:
        for problem in error.problems[1:]:
            said.print(words(f"not fit: {problem}"), soft_wrap=True)
        raise
    if as_json:
        print_json({"entry": str(done.folder), "left_out": list(done.left_out), "pull_request": done.text})
    else:
        sys.stdout.write(f"{done.text}\n")
    for line in done.left_out:
        said.print(words(f"left out: {line}", "dim"), soft_wrap=True)
    said.print(
        f"The entry is {done.folder}: commit it, and open a pull request with this text.", soft_wrap=True
    )
    return 0


def check_entries(folder: Path, *, as_json: bool) -> int:
    """Prints what is wrong with the entries of a public folder."""
    found = check_folder(folder)
    if as_json:
        print_json(found)
    else:
        console = stdout_console()
        for place, problems in found.items():
            for problem in problems or ["good"]:
                console.print(words(f"{place}: {problem}"), soft_wrap=True)
    return FAILED if any(found.values()) else 0


def write_card(
    run: str,
    method: str,
    out: Path,
    concept: str | None,
    dataset: str | None,
    url: str | None,
    base: str | None,
) -> int:
    """Prints the files that were written."""
    card = ErasedCard(read_finished(find_run(run)), method, concept)
    for path in card.write(out, dataset, url, base):
        stdout_console().print(str(path), soft_wrap=True)
    return 0
