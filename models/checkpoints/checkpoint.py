"""Reads a user's weights: recognises the format by what the files hold, and fits them to the base model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

from torch import Tensor

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.models.checkpoints.class_models import TITLE as OWN_NAMES
from erasure_bench.models.checkpoints.class_models import read_own_names
from erasure_bench.models.checkpoints.compvis import COMPVIS
from erasure_bench.models.checkpoints.contents import Contents, Format, Source, Target, WeightsChoice, some
from erasure_bench.models.checkpoints.files import CheckpointFiles, checkpoint_files, digest_of
from erasure_bench.models.checkpoints.fitting import fitted, refuse_choice, refuse_foreign, refuse_scale
from erasure_bench.models.checkpoints.lora import LORA, refuse_adapter
from erasure_bench.models.checkpoints.names import extents
from erasure_bench.models.checkpoints.reading import SHAPES_ONLY, flat_names, read_files
from erasure_bench.models.checkpoints.state_dicts import DELTA, MODULES, STATE_DICT, read_part
from erasure_bench.models.json_files import read_json

FORMATS: tuple[Format, ...] = (DELTA, MODULES, LORA, COMPVIS, STATE_DICT)
"""Kinds of files; the first that matches is taken."""

FOLDER_FORMATS = {
    "pipeline": "diffusers pipeline folder",
    "unet": "diffusers UNet folder",
    "text_encoder": "CLIPTextModel folder",
    "class-model": "class model's folder",
}
KNOWN_FORMATS = (
    *FOLDER_FORMATS.values(),
    "PEFT adapter folder",
    *(known.title for known in FORMATS),
    OWN_NAMES,
)
OUTER_LEVELS = ("state_dict", "model_state_dict", "module", "model")
"""Levels that weights are kept in by Lightning (compvis deltas too), DeepSpeed and plain training scripts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Weights to put in the place of a base model's.

    `format` says what they were taken for, in words. `tensors` are full values, on the CPU and in
    the file's precision, by the names of `DiffusionModel.named_tensors`: all that the files hold,
    whether or not they differ from the base's. `notes` say what was ignored or assumed. `digest` is
    that of `checkpoint_digest`.
    """

    format: str
    tensors: Mapping[str, Tensor]
    digest: str
    notes: tuple[str, ...] = field(default=())


def read_checkpoint(
    path: Path,
    base: Mapping[str, Tensor],
    *,
    weights: WeightsChoice = "ema",
    scale: float = 1.0,
) -> Checkpoint:
    """The weights at `path`, a file or folder in any of `KNOWN_FORMATS`, for the model with tensors `base`.

    `weights` chooses between a compvis checkpoint's EMA and raw weights, `scale` is a LoRA's strength.
    Nothing is run that a file holds: only safetensors and weights-only pickles are read. Raises
    BenchError where the format is not known or not safe, where the weights belong to another kind
    of model or another base, and for a `scale` other than 1 of anything but a LoRA.
    """
    files, contents = _read(Path(path), Target(base=base, weights=weights, scale=scale))
    return Checkpoint(
        format=contents.format, tensors=contents.tensors, digest=digest_of(files), notes=contents.notes
    )


def check_checkpoint(
    path: Path, base: Mapping[str, Tensor], *, weights: WeightsChoice = "ema", scale: float = 1.0
) -> str:
    """What `read_checkpoint` would take the files for, from their headers alone: no tensor is read.

    Of `base`, the model's tensors by name, only the shapes count. Raises what `read_checkpoint` would.
    """
    shapes = {name: tensor.to(SHAPES_ONLY) for name, tensor in base.items()}
    return _read(path, Target(base=shapes, weights=weights, scale=scale, shapes_only=True)).contents.format


class _Reading(NamedTuple):
    files: CheckpointFiles
    contents: Contents


def _read(path: Path, target: Target) -> _Reading:
    if target.weights not in get_args(WeightsChoice):
        raise UnknownName(
            "choice of weights", target.weights, get_args(WeightsChoice), "--method-option NAME.weights=…"
        )
    files = checkpoint_files(path)
    contents = _contents(files, target)
    where = f"{files.path}, taken for a {contents.format}"
    return _Reading(files, contents._replace(tensors=fitted(where, contents, target.base)))


def _contents(files: CheckpointFiles, target: Target) -> Contents:
    match files.kind:
        case "file":
            return _recognised(_source(files, "", target), target)
        case "adapter":
            assert files.settings is not None
            return _recognised(_source(files, "", target, read_json(files.settings)), target)
        case "edit":
            raise BenchError(
                f"{files.path}: an edit's folder, which holds more than weights; for these alone name its "
                f"{', '.join(path.name for path in files.weights.get('', ())) or 'weights: it has none'}"
            )
        case _:
            return _parts(files, target)


def _source(
    files: CheckpointFiles, part: str, target: Target, adapter: Mapping[str, Any] | None = None
) -> Source:
    """What the files of one part hold, below the levels that training scripts put around it."""
    paths = files.weights[part]
    tree, metadata = read_files(paths, shapes_only=target.shapes_only)
    while level := next((name for name in OUTER_LEVELS if _holds_weights(tree.get(name))), None):
        tree = tree[level]
    path = paths[0] if len(paths) == 1 else files.path
    return Source(path=path, tree=tree, metadata=metadata, adapter=adapter or {})


def _holds_weights(level: Any) -> bool:
    """Whether a level of a file is a state dict, or levels of them."""
    return isinstance(level, Mapping) and bool(level)


def _recognised(source: Source, target: Target) -> Contents:
    names = flat_names(source.tree)
    refuse_foreign(source.path, names)
    refuse_adapter(source)
    for known in FORMATS:
        if known.matches(source.tree):
            if not known.has_scale:
                refuse_scale(source.path, target.scale, known.title)
            if not known.has_choice:
                refuse_choice(source.path, target.weights, known.title)
            return known.read(source, target)
    if own := read_own_names(source, target):
        refuse_scale(source.path, target.scale, OWN_NAMES)
        refuse_choice(source.path, target.weights, OWN_NAMES)
        return own
    held = f"its tensors are named {some(names, 4)}" if names else "it holds no tensors"
    raise BenchError(f"{source.path}: not a known format: {held}; known: {'; '.join(KNOWN_FORMATS)}")


def _parts(files: CheckpointFiles, target: Target) -> Contents:
    """A folder that says itself what its files are."""
    refuse_scale(files.path, target.scale, FOLDER_FORMATS[files.kind])
    refuse_choice(files.path, target.weights, FOLDER_FORMATS[files.kind])
    if files.kind == "class-model":
        return _class_model(files, target)
    tensors: dict[str, Tensor] = {}
    notes: tuple[str, ...] = ()
    for part in files.weights:
        source = _source(files, part, target)
        refuse_foreign(source.path, flat_names(source.tree))
        found = read_part(source, part)
        tensors |= found.tensors
        notes += found.notes
    if files.kind == "pipeline":
        notes += ("its autoencoder, tokenizer and scheduler are not used: the base model's are",)
    return Contents(
        f"{FOLDER_FORMATS[files.kind]}: {extents(tensors, target.base)}",
        tensors,
        notes,
        complete=tuple(files.weights),
    )


def _class_model(files: CheckpointFiles, target: Target) -> Contents:
    title = FOLDER_FORMATS[files.kind]
    found = read_own_names(_source(files, "", target), target, whole=True)
    if found is None:
        raise BenchError(f"{files.path}: a {title}, and the base model is none (--model)")
    return found._replace(format=f"{title}: {found.format}")
