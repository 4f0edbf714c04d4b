"""The fixed inputs of fingerprints: a tiny model, concepts, prompts, and noise."""

import functools
import hashlib
import tempfile
from pathlib import Path

import torch
from torch import Generator, Tensor

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.tiny import save_tiny_pipeline
from erasure_bench.prompt_suites.concepts import Concept

CONCEPTS = (
    Concept(
        name="grumpy cat",
        kind="instance",
        targets=("grumpy cat", "a grumpy cat"),
        anchor="cat",
        neighbours=("tabby cat", "dog"),
        label="cat",
        anchor_prompts=("a cat on a mat", "a cat in a tree", "the cat"),
    ),
    Concept(
        name="mosaic",
        kind="style",
        targets=("mosaic",),
        anchor="painting",
        neighbours=("neon",),
        anchor_prompts=("a boat", "a tree", "a cat"),
        additions=("{} in mosaic style", "a mosaic of {}"),
    ),
    Concept(
        name="a title",
        kind="memorised",
        targets=("a title", "the title"),
        anchor="a painting",
        anchor_prompts=("a red painting", "a blue painting"),
    ),
    Concept(
        name="fire",
        kind="unsafe",
        targets=("fire", "flames"),
        anchor="smoke",
        surrogate="grey smoke",
        negative="fire, flames",
        anchor_prompts=("a house", "a dark house"),
        evoked_by=("burning",),
    ),
)
"""One of each kind that a method may treat in its own way."""

GENERAL_PROMPTS = ("a tree", "a grumpy cat", "a red boat", "a house at night", "a dog in the rain")


@functools.cache
def tiny_model(dtype: str, prediction: str = "epsilon") -> DiffusionModel:
    """The tiny pipeline, with weights that follow from their names and shapes; who uses it restores it."""
    with tempfile.TemporaryDirectory() as folder:
        path = save_tiny_pipeline(Path(folder) / "tiny", prediction=prediction)
        model = DiffusionModel.from_directory(path, name="tiny", dtype=getattr(torch, dtype))
    with torch.no_grad():
        for name, tensor in model.named_tensors().items():
            if tensor.is_floating_point():
                tensor.copy_(_weight(name, tensor))
    return model


def _weight(name: str, like: Tensor) -> Tensor:
    """Normal: a matrix by the square root of its inputs, a norm's factors around 1, a bias small."""
    drawn = noise(name, tuple(like.shape))
    if like.ndim > 1:
        width = like[0].numel()
        text_matters = "attn2.to_v" in name or "attn2.to_out" in name or "token_embedding" in name
        return drawn * (3.0 if text_matters else 1.0) / width**0.5
    return 1.0 + 0.1 * drawn if name.endswith("weight") else 0.1 * drawn


def noise(name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal fp32 numbers that depend on the name and the shape."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
    return torch.randn(shape, generator=Generator().manual_seed(seed))
