"""What is typed after `bench`: commands that read, in a folder with a finished run, without network."""

import contextlib
import io
import os
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from unittest.mock import patch

from erasure_bench.bench import planning
from erasure_bench.bench.cli import commands
from erasure_bench.bench.cli.app import run_command
from erasure_bench.bench.running import settled
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.scaffold import YAML
from fuzzing.harness import LONGEST_MESSAGE, Harness
from fuzzing.once import once
from fuzzing.places import folder
from fuzzing.results import POLICY
from fuzzing.small_run import small_run

for _package in (commands, planning):  # a command imports them when it runs: too late to see their branches
    for _module in iter_modules(_package.__path__, f"{_package.__name__}."):
        import_module(_module.name)

READ = ("run", "list", "show", "prompts", "status", "table", "compare", "gate", "export", "unpack", "score")
"""Commands that make nothing where there is no run; `run` only plans."""
TYPED = (
    "run --suite microworld-styles --concepts sepia+neon,mosaic --methods uce,esd-x --limit 1 --preset auto",
    "run --suite microworld-instances --methods esd-x --method-option esd-x.eta=0.5 --seeds 0,1 --limit 1",
    "run --suite ./own.yaml --methods sld-medium --evaluators clip --evaluator-option clip.template={}",
    "run --suite digits-vae --suite-option forget=first --methods sa --limit 1 --dtype float32",
    "run -c run.yaml --transform misspelling:each=1 --seeds 0,3 --task-timeout 3 --json",
    "run --suite microworld-styles --concepts sepia>neon --methods esd-x --attacks p4d:2 --limit 1",
    "run --suite own.yaml --methods none --attacks random-prefix:3 --attack-option random-prefix.tokens=3",
    "run --suite own.yaml --methods uce --remote s3://bucket/folder --workers 2 --devices cpu --slurm a=b",
    "run --suite i2p --suite-option mode=sa --edit a=b.ckpt --reference c --batch-size auto --compile off",
    "list methods --json",
    "list evaluators",
    "show esd-x --json",
    "prompts microworld-styles --concepts sepia",
    "table runs/made --format latex --columns target --rows dim --sort target --digits 3",
    "table runs/made --format html --columns target,retention --total",
    "compare runs/made made --methods dim,none --format md --margin 0.1 --concepts all",
    "compare runs/made --against all --format json --methods dim,none",
    "gate runs/made runs/made --policy policy.yaml",
    "gate a b --policy policy.yaml --junit out.xml",
    "export a --method uce --format delta --out b",
    "export a uce --format delta --out b --seed 0 --concept c",
    "score a --scores ratings.csv --name people --metric quality:higher:1:5",
    "score a --evaluators clip@official --evaluator-option clip.template={} --redraw",
    "status runs/made --json",
    "unpack a.tar.gz --out b",
)
FILES = {
    "own.yaml": YAML.replace("file: NAME.csv", "{texts: ['a photo of {}'], role: target}").replace(
        "NAME", "own"
    ),
    "run.yaml": "suite: ./own.yaml\nmethods: [uce, esd-x]\nmethod_options: {esd-x: {eta: 0.5}}\nlimit: 1\n",
    "ratings.csv": "picture,metric,rater,value\nabc/0,quality,ann,4\n",
    "policy.yaml": POLICY,
}
"""What some of these words name, beside a finished run in `runs/made`."""
MOST_OF_A_BYTE = 20
"""Characters that a message may have besides for each byte typed: it may name a word twice, escaped."""


def _parse(data: bytes) -> None:
    """The words, apart by blanks, as the system hands them over: bytes that are no UTF-8 as surrogates."""
    first, *words = data.replace(b"\0", b"").decode("utf-8", "surrogateescape").split(" ") or [""]
    if first not in READ:
        raise BenchError("no command that reads")
    os.chdir(_place())
    told = io.StringIO()
    with once(), patch.object(settled, "_why_not", _is_here), _heard(told):
        code = run_command([first, *(["--dry-run", "--offline"] if first == "run" else []), *words])
    assert code in (0, 1, 2, 3), code
    longest = LONGEST_MESSAGE + MOST_OF_A_BYTE * len(data)
    assert len(told.getvalue()) <= longest, f"{len(told.getvalue()):,} characters: {told.getvalue()[:200]}"
    if code:
        raise BenchError(f"exit code {code}")


@contextlib.contextmanager
def _heard(told: io.StringIO) -> Iterator[None]:
    """What goes to stderr goes to `told`, what goes to stdout nowhere."""
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        yield


def _is_here(chosen: object, device: str) -> None:
    """In the place of loading an evaluator's weights to see whether it can be: no parser has a part in it."""


@cache
def _place() -> Path:
    """A folder that has what the words name."""
    place = folder() / "typed"
    place.mkdir()
    for name, text in FILES.items():
        (place / name).write_text(text, encoding="utf-8")
    small_run(folder() / "store", place / "runs" / "made")
    return place


@cache
def _seeds() -> list[bytes]:
    """Each is run once: the time that its imports take, and what is remembered, is none of an input's."""
    lines = [line.encode() for line in TYPED]
    for line in lines:
        with contextlib.suppress(BenchError):
            _parse(line)
    return lines


HARNESSES = (
    Harness(
        "command-line",
        "the command line",
        _seeds,
        _parse,
    ),
)
