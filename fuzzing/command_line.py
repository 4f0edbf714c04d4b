"""What is typed after `bench`: commands that read, in an empty folder, without network."""

import contextlib
import io
import os

from erasure_bench.bench.cli.app import run_command
from fuzzing.harness import Harness
from fuzzing.places import folder

READ = ("run", "list", "show", "prompts", "status", "table", "compare", "gate", "export", "unpack", "score")
"""Commands that make nothing where there is no run; `run` only plans."""
TYPED = (
    "run --suite microworld-styles --concepts sepia+noir,mosaic --methods uce,esd-x,own(a,b) --limit 4",
    "run --suite microworld-instances --methods none --method-option esd-x.eta=0.5 --seeds 0,1",
    "run --suite ./own.yaml --methods sld-medium --edit a=b.ckpt --evaluator-option clip.template={}",
    "run --suite i2p --suite-option mode=sa --transform misspelling:each=3 --task-timeout 3 -c r.yaml",
    "run --suite microworld-styles --concepts sepia>neon --attacks p4d:2 --attack-option p4d.steps=3",
    "run --suite microworld-styles --methods uce --remote s3://bucket/folder --workers 2 --devices cpu",
    "list methods --json",
    "list evaluators",
    "show esd-x --json",
    "prompts microworld-styles --concepts sepia",
    "table runs/a --format latex --columns target --rows uce --sort target --digits 3 --layout paper",
    "compare a b --methods uce,none --against all --format md --margin 0.1",
    "gate a b --policy policy.yaml --junit out.xml",
    "export a --method uce --format delta --out b",
    "score a --scores ratings.csv --name people --metric quality:higher:1:5",
    "status a --json",
    "unpack a.tar.gz --out b",
)


def _parse(data: bytes) -> None:
    """The words, apart by blanks, as the system hands them over: bytes that are no UTF-8 as surrogates."""
    first, *words = data.replace(b"\0", b"").decode("utf-8", "surrogateescape").split(" ") or [""]
    if first not in READ:
        return
    os.chdir(folder())
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = run_command([first, *(["--dry-run", "--offline"] if first == "run" else []), *words])
    assert code in (0, 1, 2, 3), code


HARNESSES = (
    Harness(
        "command-line",
        "the command line",
        lambda: [line.encode() for line in TYPED],
        _parse,
    ),
)
