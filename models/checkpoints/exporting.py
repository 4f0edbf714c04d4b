"""Writes an edit's weights so that other tools load them; what appears under the asked name is whole."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.models.checkpoints.contents import Contents
from erasure_bench.models.checkpoints.fitting import fitted
from erasure_bench.models.checkpoints.names import TEXT_LEVEL
from erasure_bench.models.checkpoints.reading import read_files
from erasure_bench.models.checkpoints.state_dicts import PARTS
from erasure_bench.models.json_files import read_json
from erasure_bench.models.pipeline_files import incomplete, missing_files
from erasure_bench.models.weight_files import WEIGHTS, WeightFiles, weight_files
from erasure_bench.permissions import follow_umask

ExportFormat = Literal["diffusers", "class-model", "safetensors", "delta"]
"""What is written:

- `diffusers`: the base's pipeline folder with the changed weights in it, for
  `StableDiffusionPipeline.from_pretrained`;
- `class-model`: the same of a model that is asked by a class (`models.conditional.exporting`);
- `safetensors`: one file with the whole UNet, for `unet.load_state_dict`, and the whole text encoder
  if that changed;
- `delta`: one file with the changed tensors only, for `unet.load_state_dict(…, strict=False)`.

In the two files the UNet's names are bare, as ESD and UCE publish theirs; the text encoder's begin
with `text_encoder.text_model.`.
"""

FORMATS: tuple[ExportFormat, ...] = ("diffusers", "safetensors", "delta")
"""Those of a pipeline; the first is what is written where nothing is said."""
ABOUT_FILE = "erasure_bench.json"


def export_weights(
    base: Path,
    tensors: Mapping[str, Tensor],
    out: Path,
    *,
    format: ExportFormat | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the base model with `tensors` in it to `out`, a folder for `diffusers`, else a file; returns it.

    `base` is the base model's pipeline folder, `tensors` are full values by the names of
    `DiffusionModel.named_tensors`. A part that changed is written in the widest precision found in
    it. `about` (JSON values) goes into the file's metadata, and into `json` of a
    folder. Raises BenchError where `out` exists or cannot be written, there is nothing to write, or the
    tensors are not the base's.
    """
    chosen = format or FORMATS[0]
    if chosen not in FORMATS:
        raise UnknownName("export format", chosen, FORMATS, "--format")
    if missing := missing_files(base):
        raise BenchError(incomplete(base, missing))
    check_export(tensors, out)
    parts = {part: _base_part(base, part) for part in PARTS}
    own = _named(parts)
    tensors = fitted("the edit", Contents("edit", dict(tensors)), own)
    note = metadata(about)
    with appearing(out) as temporary:
        if chosen == "diffusers":
            _write_pipeline(base, temporary, parts, tensors, note)
            write_about(temporary, about)
        else:
            kept = tensors if chosen == "delta" else _with_the_rest(tensors, parts)
            save_file({_published(name): tensor for name, tensor in ready(kept).items()}, temporary, note)
    return out


def metadata(about: Mapping[str, Any] | None) -> dict[str, str]:
    """What a weight file says of itself."""
    return {"format": "pt", "erasure_bench": json.dumps(dict(about or {}))}


def write_about(folder: Path, about: Mapping[str, Any] | None) -> None:
    """The same beside a whole model's files."""
    (folder / ABOUT_FILE).write_text(json.dumps(about or {}, indent=2) + "\n", encoding="ascii")


def check_export(tensors: Mapping[str, Tensor], out: Path) -> None:
    """Raises BenchError where there is nothing to write, or something at its place."""
    if not tensors:
        raise BenchError("nothing to export: the edit changes no weights")
    if out.exists():
        raise BenchError(f"{out} exists already; name another place (--out)")


def base_tensors(base: Path) -> dict[str, Tensor]:
    """The tensors of a pipeline folder by the names of `DiffusionModel.named_tensors`, buffers included."""
    if missing := missing_files(base):
        raise BenchError(incomplete(base, missing))
    return _named({part: _base_part(base, part) for part in PARTS})


def _named(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for part, held in parts.items() for name, tensor in held.items()}


def _base_part(base: Path, part: str) -> dict[str, Tensor]:
    """A part's tensors by their names below the part, buffers included."""
    tree = read_files(_weight_files(base, part).paths).tree
    return {name.removeprefix(TEXT_LEVEL) if part == "text_encoder" else name: tree[name] for name in tree}


def _weight_files(base: Path, part: str) -> WeightFiles:
    files = weight_files(base / part, part)
    assert files is not None, "checked by missing_files"
    return files


def _with_the_rest(
    tensors: Mapping[str, Tensor], parts: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """The whole UNet, and the whole text encoder where any of it changed."""
    whole: dict[str, Tensor] = {}
    for part, own in parts.items():
        changed = {name for name in tensors if name.startswith(f"{part}.")}
        if changed or part == "unet":
            merged = {f"{part}.{name}": tensors.get(f"{part}.{name}", value) for name, value in own.items()}
            whole |= in_one_dtype(merged)
    return whole


def in_one_dtype(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The floating-point ones in the widest dtype among them: readers take one for all."""
    floating = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    widest = floating[0]
    for dtype in floating:
        widest = torch.promote_types(widest, dtype)
    return {
        name: tensor.to(widest) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }


def ready(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As a file takes them."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _published(name: str) -> str:
    """A tensor's name in an exported file."""
    part, _, rest = name.partition(".")
    return rest if part == "unet" else f"{part}.{TEXT_LEVEL}{rest}"


def _write_pipeline(
    base: Path,
    out: Path,
    parts: Mapping[str, Mapping[str, Tensor]],
    tensors: Mapping[str, Tensor],
    note: dict[str, str],
) -> None:
    out.mkdir()
    index = read_json(base / "model_index.json")
    components = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    for component in components:
        if not (base / component).is_dir():
            # A partial download, as the bench's own, lacks what drawing does not need.
            index[component] = [None, None]
            if component == "safety_checker":
                index["requires_safety_checker"] = False
        elif component in WEIGHTS:
            changed = {
                name.removeprefix(f"{component}."): tensor
                for name, tensor in tensors.items()
                if name.startswith(f"{component}.")
            }
            _write_part(base, out, component, changed, parts.get(component, {}), note)
        else:
            shutil.copytree(base / component, out / component)
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _write_part(
    base: Path,
    out: Path,
    part: str,
    changed: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    note: dict[str, str],
) -> None:
    """A network's config and weights, the latter under the name that is looked for first."""
    (out / part).mkdir()
    shutil.copyfile(base / part / "config.json", out / part / "config.json")
    files = _weight_files(base, part)
    target = out / part / WEIGHTS[part][0]
    if changed:
        merged = {**own, **changed}
        level = TEXT_LEVEL if part == "text_encoder" else ""
        named = {level + name: tensor for name, tensor in in_one_dtype(merged).items()}
        save_file(ready(named), target, note)
    elif files.safetensors and files.index_file is None:
        shutil.copyfile(files.paths[0], target)
    else:
        save_file(ready(read_files(files.paths).tree), target, {"format": "pt"})


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A temporary place beside `out`, which takes its name if all goes well and else is removed.

    Raises BenchError where the disk is full or the place forbidden.
    """
    temporary = out.with_name(f".{out.name}.{secrets.token_hex(6)}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        follow_umask(temporary)
        os.replace(temporary, out)
    except (OSError, SafetensorError) as error:
        raise BenchError(f"{out}: cannot be written: {error}") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
