"""Low-rank changes of a UNet's cross-attention (LoRA, Hu et al. 2022), trained beside its weights."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from erasure_bench.methods.machinery.parameters import select
from erasure_bench.models.diffusion_model import DiffusionModel


class LowRank:
    """W + B A for every Linear of the cross-attention: A [rank, in] is small at first, B [out, rank] zero."""

    def __init__(self, model: DiffusionModel, rank: int, generator: Generator) -> None:
        weights = select(model.parts, "xattn")
        self._modules: dict[str, nn.Linear] = {
            name: module
            for name, module in model.unet.named_modules()
            if isinstance(module, nn.Linear) and f"unet.{name}.weight" in weights
        }
        self.parameters: dict[str, nn.Parameter] = {}
        for name, module in self._modules.items():
            down = torch.randn(rank, module.in_features, generator=generator) / rank
            self.parameters[f"{name}.down"] = nn.Parameter(down.to(model.device))
            up = torch.zeros(module.out_features, rank, device=model.device)
            self.parameters[f"{name}.up"] = nn.Parameter(up)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The UNet with the changes beside its weights; differentiable in them."""
        with ExitStack() as stack:
            for name, module in self._modules.items():
                stack.callback(module.register_forward_hook(self._beside(name)).remove)
            yield

    def _beside(self, name: str) -> Any:
        down, up = self.parameters[f"{name}.down"], self.parameters[f"{name}.up"]

        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + (inputs[0].to(down) @ down.T @ up.T).to(output)

        return add

    def merged(self, learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Full new values of the weights, by the names of `DiffusionModel.named_tensors`, on the CPU.

        `learned` are values of `parameters`, those that were never trained left out.
        """
        tensors = {}
        for name, module in self._modules.items():
            down, up = (
                learned.get(f"{name}.{side}", self.parameters[f"{name}.{side}"]) for side in ("down", "up")
            )
            weight = module.weight.detach()
            change = up.detach().to(weight.device) @ down.detach().to(weight.device)
            tensors[f"unet.{name}.weight"] = (weight + change.to(weight)).cpu()
        return tensors
