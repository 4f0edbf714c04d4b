"""A class-conditional model in a folder: loaded, saved, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from erasure_bench.errors import BenchError
from erasure_bench.models.conditional.ddpm import PART as UNET
from erasure_bench.models.conditional.ddpm import ClassUNet, ConditionalDDPM, build_ddpm
from erasure_bench.models.conditional.description import (
    DESCRIPTION,
    WEIGHTS,
    Description,
    VAESizes,
    class_model_digest,
    read_description,
)
from erasure_bench.models.conditional.vae import PART as VAE
from erasure_bench.models.conditional.vae import ClassVAE, ConditionalVAE, build_vae
from erasure_bench.models.seeding import seeded
from erasure_bench.stand_ins import refuse_stand_in

ClassModel = ConditionalDDPM | ConditionalVAE


def build(description: Description, seed: int) -> ClassUNet | ClassVAE:
    """The network with the fresh weights that `seed` gives it; no global random state is left changed."""
    with seeded(seed):
        return build_vae(description) if isinstance(description.sizes, VAESizes) else build_ddpm(description)


def with_network(network: nn.Module, description: Description, **about: Any) -> ClassModel:
    """The model of a network; `about` is name, digest, device and dtype."""
    if isinstance(network, ClassVAE):
        return ConditionalVAE(network, description, **about)
    assert isinstance(network, ClassUNet)
    return ConditionalDDPM(network, description, **about)


def load_class_model(
    directory: Path,
    *,
    name: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ClassModel:
    """Raises BenchError where files are missing, cannot be read or do not fit one another."""
    check_class_model(directory)
    description = read_description(directory)
    network = build(description, 0)
    network.load_state_dict(load_file(directory / WEIGHTS))
    return with_network(
        network, description, name=name, digest=class_model_digest(directory), device=device, dtype=dtype
    )


def save_class_model(directory: Path, description: Description, state: Mapping[str, Tensor]) -> None:
    """Writes the weights, and the description last."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(tensors, directory / WEIGHTS)
    (directory / WEIGHTS).chmod(0o644)  # the library leaves it to its owner alone
    (directory / DESCRIPTION).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")


def check_class_model(directory: Path) -> None:
    """Raises BenchError where the weight file is damaged or does not hold what the description asks for."""
    path = directory / WEIGHTS
    asked = {name: tuple(tensor.shape) for name, tensor in _shapes(read_description(directory)).items()}
    refuse_stand_in(path)
    try:
        with safe_open(path, framework="pt") as file:
            held = {name: tuple(file.get_slice(name).get_shape()) for name in list(file.keys())}
    except (OSError, SafetensorError) as error:
        raise BenchError(f"{path}: cannot be read: {error}") from error
    if wrong := sorted(name for name in asked.keys() | held.keys() if asked.get(name) != held.get(name)):
        raise BenchError(
            f"{path}: {len(wrong)} tensors are not as {DESCRIPTION} asks for, such as {wrong[0]} "
            f"({held.get(wrong[0], 'missing')} instead of {asked.get(wrong[0], 'none')})"
        )


def class_model_shapes(directory: Path) -> dict[str, Tensor]:
    """`named_tensors` of the folder's model as tensors without values. Raises BenchError."""
    part = class_model_part(directory)
    return {f"{part}.{name}": tensor for name, tensor in _shapes(read_description(directory)).items()}


def class_model_part(directory: Path) -> str:
    """The name of the folder's one network in `ImageModel.parts`. Raises BenchError."""
    return VAE if isinstance(read_description(directory).sizes, VAESizes) else UNET


def _shapes(description: Description) -> dict[str, Tensor]:
    try:
        with torch.device("meta"):
            network = (
                build_vae(description) if isinstance(description.sizes, VAESizes) else build_ddpm(description)
            )
    except Exception as error:  # sizes that make no sense can fail anywhere in the library
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise BenchError(f"{DESCRIPTION}: no network can be built by it: {reason}") from error
    return dict(network.state_dict())
