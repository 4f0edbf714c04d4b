"""In which precision a method trains, where that is not the model's own."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from erasure_bench.methods.machinery.parameters import ParameterGroup, select
from erasure_bench.models.image_model import ImageModel

Model = TypeVar("Model", bound=ImageModel)
TrainingPrecision = Literal["model", "float32", "bfloat16"]
"""The dtype of weights, gradients and the optimiser's moments in training: the model's own, or one by name.

Where it is the result. A bfloat16 has 8 bits of mantissa: a weight of 0.02 moves by no less than 6e-5,
and a smaller update of Adam's is rounded away.
"""


def dtype_of(model: ImageModel, precision: TrainingPrecision) -> torch.dtype:
    """The dtype that `precision` means for the model."""
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    return model.dtype if precision == "model" else named[precision]


def precision_of(model: ImageModel) -> Any:
    """The name of the model's dtype, as an edit records it: "float32"."""
    return str(model.dtype).removeprefix("torch.")


def in_precision(model: Model, precision: TrainingPrecision) -> Model:
    """The model to train: itself where it has that dtype, else a copy of it, which leaves it as it is."""
    dtype = dtype_of(model, precision)
    return model if dtype == model.dtype else model.frozen_copy(dtype)


def trained_tensors(
    model: ImageModel, trained: ImageModel, group: ParameterGroup, changed: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The group's new values for `model`, on the CPU, in the dtype that they were trained in.

    `changed` are those that training changed. In a narrower copy the others are the model's own values
    rounded, and belong to the result as much: that is what the official codes save.
    """
    if trained is model:
        return dict(changed)
    own = select(model.parts, group)
    values = {name: p.detach().cpu() for name, p in select(trained.parts, group).items()} | dict(changed)
    return {
        name: value
        for name, value in values.items()
        if not torch.equal(value.to(own[name].dtype), own[name].cpu())
    }
