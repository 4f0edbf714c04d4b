"""Named lists of general prompts: all kinds of pictures that a base model should go on drawing.

Methods that protect what must stay are given one of them: Selective Amnesia replays its pictures
and takes the Fisher information from them.
"""

from collections.abc import Callable
from pathlib import Path

from erasure_bench.errors import UnknownName
from erasure_bench.prompt_suites.fetch import UpstreamFile, locate
from erasure_bench.prompt_suites.microworld import general as microworld
from erasure_bench.prompt_suites.registry import data_folder

SELECTIVE_AMNESIA = UpstreamFile(
    repository="clear-nus/selective-amnesia",
    commit="b736571c2a4d75c5c9a1fdbbf94ba6c9d0faa7b7",
    path="sd/fim_prompts.txt",
    sha256="4522438847be2f70903063093d48f38f53a1eab64ebff01f00cecd85618a190a",
    size=875_285,
    folder="selective_amnesia",
)
"""5,000 prompts that Heng and Soh had a language model write (NeurIPS 2023, section 5.2), one a line."""

LISTS: dict[str, Callable[[Path | None], tuple[str, ...]]] = {
    "selective-amnesia": lambda data_dir: _lines(SELECTIVE_AMNESIA, data_dir),
    "microworld": lambda data_dir: microworld.general_prompts(),
}


def general_prompts(name: str, data_dir: Path | None = None) -> tuple[str, ...]:
    """The prompts of the list `name`, in a fixed order; a few may be in it more than once.

    `data_dir` is a folder with upstream data; without it $BENCH_DATA counts, and what is in
    neither is fetched from upstream. Raises UnknownName, and BenchError for data that cannot be
    had or are not the pinned ones.
    """
    if name not in LISTS:
        raise UnknownName("list of general prompts", name, LISTS)
    return LISTS[name](data_folder(data_dir))


def _lines(file: UpstreamFile, data_dir: Path | None) -> tuple[str, ...]:
    return tuple(locate(file, data_dir=data_dir).content.decode("utf-8").splitlines())
