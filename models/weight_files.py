"""Which files hold a network's weights: a single one, or shards with the index that names them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from erasure_bench.errors import BenchError
from erasure_bench.models.json_files import read_json

TRANSFORMERS_WEIGHTS = (
    "model.safetensors",
    "model.fp16.safetensors",
    "pytorch_model.bin",
    "pytorch_model.fp16.bin",
)
DIFFUSERS_WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
)
WEIGHTS: dict[str, tuple[str, ...]] = {
    "text_encoder": TRANSFORMERS_WEIGHTS,
    "unet": DIFFUSERS_WEIGHTS,
    "vae": DIFFUSERS_WEIGHTS,
}
"""Names of each part's weight file, the one preferred first."""

INDEX_SUFFIX = ".index.json"
VARIANT = "fp16"


class WeightFiles(NamedTuple):
    """A network's weight files and how diffusers and transformers are told to read them.

    `index_file` says which shards there are; None for a single file.
    """

    paths: tuple[Path, ...]
    index_file: Path | None
    safetensors: bool
    variant: str | None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file that decides what the weights are."""
        return self.paths if self.index_file is None else (*self.paths, self.index_file)


def weight_files(folder: Path, part: str) -> WeightFiles | None:
    """The files in `folder` that the libraries will read for `part`, or None where there are none.

    Shards that an index names are listed whether or not they are there. Raises BenchError for an
    index that cannot be read.
    """
    for name in WEIGHTS[part]:
        safetensors, variant = name.endswith(".safetensors"), VARIANT if f".{VARIANT}." in name else None
        single = WeightFiles((folder / name,), None, safetensors, variant)
        index = next((folder / each for each in index_names(name) if (folder / each).is_file()), None)
        # Where both are there, diffusers reads the shards and transformers the single file.
        if single.paths[0].is_file() and (index is None or part == "text_encoder"):
            return single
        if index is not None:
            return WeightFiles(shards(index), index, safetensors, variant)
    return None


def index_names(name: str) -> Iterator[str]:
    """The names that the index of a sharded weight file called `name` may have."""
    plain = name.replace(f".{VARIANT}.", ".")
    if plain == name:
        yield f"{name}{INDEX_SUFFIX}"
        return
    yield f"{plain}.index.{VARIANT}.json"
    yield f"{name}{INDEX_SUFFIX}"  # diffusers before 0.28


def is_index(path: Path) -> bool:
    """Whether the file's name is that of an index of shards."""
    return path.suffix == ".json" and ".index." in path.name


def shards(index: Path) -> tuple[Path, ...]:
    """The files that an index names, in its folder. Raises BenchError where it is no index."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise BenchError(f"{index}: no index of shards: it has no weight_map")
    names = sorted({str(name) for name in places.values()})
    if foreign := [name for name in names if Path(name).name != name]:
        raise BenchError(f"{index}: names the shard {foreign[0]!r}, which is no file beside it")
    return tuple(index.parent / name for name in names)


def shard_patterns(part: str) -> list[str]:
    """Globs of the index and the shards of a part's preferred weights, for a download."""
    name = WEIGHTS[part][0]
    stem, _, suffix = name.rpartition(".")
    return [f"{part}/{name}{INDEX_SUFFIX}", f"{part}/{stem}-*-of-*.{suffix}"]
