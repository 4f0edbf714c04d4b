"""Putting other weights into a model and taking them out again without a trace."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from erasure_bench.models.image_model import ImageModel


def snapshot(model: ImageModel) -> dict[str, Tensor]:
    """Copies of the model's named tensors as they are now, on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.named_tensors().items()}


def changed_tensors(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies, on the CPU, of the tensors of `after` that differ in any bit from `before`.

    Raises ValueError when the two do not hold the same names, shapes and dtypes.
    """
    if different := sorted(before.keys() ^ after.keys()):
        raise ValueError(f"tensors in only one of the two: {', '.join(different[:5])}")
    changed = {}
    for name, new in after.items():
        old = before[name]
        if old.shape != new.shape or old.dtype != new.dtype:
            raise ValueError(f"{name}: {old.dtype} {tuple(old.shape)} became {new.dtype} {tuple(new.shape)}")
        if not torch.equal(_bits(old), _bits(new)):
            changed[name] = new.detach().to("cpu", copy=True)
    return changed


@contextmanager
def swapped(model: ImageModel, tensors: Mapping[str, Tensor]) -> Iterator[ImageModel]:
    """The model with `tensors` in the place of its own; on leaving, the originals are back bit by bit.

    Names are those of `named_tensors`; values are cast to the model's dtype and device. Nothing is
    changed when a name is unknown or a shape wrong: ValueError. Uses may be nested.
    """
    own = model.named_tensors()
    for name, tensor in tensors.items():
        if name not in own:
            raise ValueError(f"the model {model.name} has no tensor {name!r}")
        if tensor.shape != own[name].shape:
            raise ValueError(f"{name}: shape {tuple(tensor.shape)}, the model's is {tuple(own[name].shape)}")
    originals = {name: own[name].detach().clone() for name in tensors}
    try:
        _put(own, tensors)
        yield model
    finally:
        _put(own, originals)


def _put(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
