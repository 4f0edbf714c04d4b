"""`bench train BASE`: trains a class-conditional base model, as its recipe says."""

from pathlib import Path
from typing import Annotated

import typer

from erasure_bench.bench.cli.options import AsJson, Offline, Store, expanded
from erasure_bench.errors import BenchError, UnknownName


def train(
    base: Annotated[str, typer.Argument(metavar="BASE", help="digits-vae, mnist-vae, cifar10-ddpm …")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="What to write (else $BENCH_MODELS/BASE, else the user's data folder: both are where it is "
            "looked for).",
            callback=expanded,
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Else the recipe's.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Pictures a step; else the recipe's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Else the recipe's.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda and so on.")] = "auto",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder with the data set's files (else $BENCH_DATA).", callback=expanded
        ),
    ] = None,
    store: Store = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> int:
    """Train a base model that is asked by classes' names, and the classifier that judges its pictures.

    A training that was stopped goes on where it was: the same command again.
    """
    from erasure_bench.bench.cli.commands.train import train_named
    from erasure_bench.models.conditional.recipes import BASES

    if base not in BASES:
        raise UnknownName("base to train", base, BASES)
    if out is not None and out.is_file():
        raise BenchError(f"--out {out}: that is a file; give a folder")
    given = {"steps": steps, "batch_size": batch_size, "seed": seed}
    said = {key: value for key, value in given.items() if value is not None}
    return train_named(base, out, said, device, data_dir, store, as_json=as_json)
