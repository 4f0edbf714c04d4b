"""The names that GIPHY's celebrity detector knows, in the order of its output."""

import csv
import hashlib
import io
import os
import re

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.classifier_file import read_labels
from erasure_bench.prompt_suites.fetch import UpstreamFile, locate
from erasure_bench.prompt_suites.registry import DATA_FOLDER_VARIABLE
from erasure_bench.user_paths import user_path
from erasure_bench.users_text import decoded

LABELS = UpstreamFile(
    repository="Giphy/celeb-detection-oss",
    commit="1f28b24370f67e47e806cc57b3c38fbe42e302ab",
    path="examples/resources/face_recognition/labels.csv",
    sha256="f751a80150db7e51de1815bf4a7e0df212b357b8cca9954af42b303345c556cc",
    size=67_488,
    folder="giphy_celebrity_detector",
)


def celebrity_names(path: str | None) -> list[str]:
    """Upstream's list without its Freebase ids (`Brad_Pitt_[m.0c6qh]` is `Brad Pitt`), or that of a file.

    A file has one name a line, is a JSON list, or a CSV with upstream's columns `Labels,Index`. Raises
    `BenchError` where the list cannot be had or is none.
    """
    if path is not None:
        file = user_path(path)
        if not file.is_file():
            raise BenchError(f"labels {path!r} are not a file (--evaluator-option celebrity.labels=FILE)")
        text = decoded(file.read_bytes(), str(file))
        names = _rows(text, path) if text.startswith("Labels,Index") else read_labels(file)
    else:
        folder = os.environ.get(DATA_FOLDER_VARIABLE)
        found = locate(LABELS, data_dir=user_path(folder) if folder else None)
        names = _rows(found.content.decode("utf-8"), LABELS.name)
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise BenchError(
            f"labels {path or LABELS.name}: names must be distinct texts, and some must be there "
            f"(--evaluator-option celebrity.labels=FILE)"
        )
    return names


def are_upstreams(path: str | None) -> bool:
    """Whether `celebrity_names` reads upstream's own list, here under whatever name."""
    return path is None or hashlib.sha256(user_path(path).read_bytes()).hexdigest() == LABELS.sha256


def _rows(text: str, where: str) -> list[str]:
    try:
        rows = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: int(row["Index"]))
    except (TypeError, ValueError) as error:
        raise BenchError(f"labels {where}: an Index is no whole number: {error}") from error
    return [re.sub(r"_\[[^\]]*\]$", "", row["Labels"]).replace("_", " ") for row in rows]
