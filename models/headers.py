"""Do a pipeline's weight files hold what its configs ask for? Known from the files' headers.

The libraries make up what a file lacks and only warn; a truncated file they find when they read it.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.names import TEXT_LEVEL
from erasure_bench.models.checkpoints.reading import SHAPES_ONLY, read_files
from erasure_bench.models.fitness import text_config
from erasure_bench.models.json_files import read_json
from erasure_bench.models.weight_files import WEIGHTS, weight_files

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""An autoencoder's attention as diffusers spelt it before version 0.18, which it still reads."""


def check_weights(directory: Path) -> None:
    """Raises BenchError where a weight file is cut short or lacks a tensor, or one has another shape."""
    for part in WEIGHTS:
        held, asked = held_shapes(directory, part), asked_shapes(directory, part)
        where = f"{directory / part}: the weights"
        if lacking := sorted(asked.keys() - held.keys()):
            raise BenchError(
                f"{where} lack {len(lacking)} of the {len(asked)} tensors that config.json asks for, such as "
                f"{', '.join(lacking[:3])}: the file is incomplete, or the config another model's"
            )
        for name, tensor in asked.items():
            if _squeezed(held[name]) != _squeezed(tensor):
                raise BenchError(
                    f"{where} have {name} in the shape {tuple(held[name].shape)}, config.json asks for "
                    f"{tuple(tensor.shape)}: the config is another model's"
                )
            if not held[name].is_floating_point():
                raise BenchError(
                    f"{where} hold {name} in {held[name].dtype}; quantised weights are not supported"
                )


def model_shapes(directory: Path) -> dict[str, Tensor]:
    """`DiffusionModel.named_tensors` of a pipeline as tensors without values (`SHAPES_ONLY`)."""
    return {
        f"{part}.{name}": tensor
        for part in ("unet", "text_encoder")
        for name, tensor in asked_shapes(directory, part).items()
    }


def held_shapes(directory: Path, part: str) -> dict[str, Tensor]:
    """What a part's weight files hold, by the names that `asked_shapes` has. Raises BenchError."""
    files = weight_files(directory / part, part)
    assert files is not None, "checked by check_pipeline"
    return {
        _bare(name, part): tensor for name, tensor in read_files(files.paths, shapes_only=True).tree.items()
    }


def asked_shapes(directory: Path, part: str) -> dict[str, Tensor]:
    """The parameters of the network that a part's config describes, without values. Raises BenchError."""
    config = read_json(directory / part / "config.json")
    build = _builder(part, config)
    try:
        with torch.device(SHAPES_ONLY):
            network = build()
    except Exception as error:  # a config that makes no sense can fail anywhere in the libraries
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise BenchError(
            f"{directory / part / 'config.json'}: no network can be built by it: {reason}"
        ) from error
    return {_bare(name, part): tensor for name, tensor in network.named_parameters()}


def _builder(part: str, config: dict[str, Any]) -> Callable[[], Any]:
    """Builds the part; the libraries are imported before, on no device but the usual one."""
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    if part == "text_encoder":
        return lambda: CLIPTextModel(CLIPTextConfig.from_dict(dict(text_config(config))))
    kind: Any = UNet2DConditionModel
    if part == "vae":
        kind = AutoencoderTiny if config["_class_name"] == "AutoencoderTiny" else AutoencoderKL
    known = inspect.signature(kind.__init__).parameters
    return lambda: kind.from_config({key: value for key, value in config.items() if key in known})


def _bare(name: str, part: str) -> str:
    """A parameter's name in the one spelling that every version of the libraries can be brought to."""
    if part == "text_encoder":
        return name.removeprefix(TEXT_LEVEL)
    if part == "vae" and ".attentions." in name:
        module, _, leaf = name.rpartition(".")
        stem, _, last = module.rpartition(".")
        return f"{stem}.{OLD_ATTENTION[last]}.{leaf}" if last in OLD_ATTENTION else name
    return name


def _squeezed(tensor: Tensor) -> tuple[int, ...]:
    """The shape, where it is a 1 × 1 convolution's that of the Linear it equals."""
    shape = tuple(tensor.shape)
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape
