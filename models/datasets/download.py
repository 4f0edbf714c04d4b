"""`python -m erasure_bench.models.datasets.download NAME FOLDER`: the published files of a data set.

torchvision fetches them, checks their MD5 and unpacks them; FOLDER is then good for --data-dir.
"""

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

from erasure_bench.environment import why_offline
from erasure_bench.errors import BenchError, NotHere
from erasure_bench.models.datasets.registry import DATASETS, dataset_card
from erasure_bench.user_paths import user_path


def download(name: str, folder: Path) -> None:
    """Puts the files below `folder`; what is there already is kept.

    Raises BenchError for a data set that needs no download, and NotHere where its files cannot be had.
    """
    card = dataset_card(name)
    if card.torchvision is None:
        raise BenchError(f"data set {name!r} comes with a package and needs no download")
    if off := why_offline():
        raise NotHere(f"data set {name!r} cannot be fetched: {off}")
    from torchvision import datasets

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):
            getattr(datasets, card.torchvision)(str(folder), download=True)
    except Exception as error:  # whatever the network or a full disk ends in, the advice is the same
        why = " ".join(str(error).split())[:200]
        files = ", ".join(file.name for file in card.published)
        raise NotHere(
            f"data set {name!r} cannot be fetched into {folder}: {why}; get {files} by hand"
        ) from error


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m erasure_bench.models.datasets.download", description=__doc__
    )
    parser.add_argument("name", choices=tuple(DATASETS))
    parser.add_argument("folder", type=user_path)
    given = parser.parse_args(arguments)
    try:
        download(given.name, given.folder)
    except BenchError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
