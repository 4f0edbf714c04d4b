"""Low-rank changes of a UNet's cross-attention (LoRA, Hu et al. 2022), trained beside its weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from erasure_bench.methods.machinery.parameters import select
from erasure_bench.models.diffusion_model import DiffusionModel


class LowRank:
    """W + B A for every Linear of the parameter `group`, cross-attention or all attention: A [rank, in] is
    small at first, B [out, rank] zero."""

    def __init__(
        self,
        model: DiffusionModel,
        rank: int,
        generator: Generator,
        group: Literal["xattn", "attn"] = "xattn",
    ) -> None:
        weights = select(model.parts, group)
        self._unet = model.unet
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
        """The UNet with the changed weights in every pass; differentiable in them.

        In the weights' own place, as `merged` puts them there: hooks of an edit see what they do in drawing.
        """
        own = {name: module.weight for name, module in self._modules.items()}

        def have(weights: Mapping[str, Tensor]) -> None:
            for name, module in self._modules.items():
                places: dict[str, Any] = module._parameters
                places["weight"] = weights[name]

        def put(*_: Any) -> None:
            have({name: self._changed(name, weight) for name, weight in own.items()})

        def put_back(*_: Any) -> None:
            have(own)

        hooks = [self._unet.register_forward_pre_hook(put), self._unet.register_forward_hook(put_back)]
        try:
            yield
        finally:
            put_back()
            for hook in hooks:
                hook.remove()

    def _changed(self, name: str, weight: Tensor) -> Tensor:
        up, down = self.parameters[f"{name}.up"], self.parameters[f"{name}.down"]
        return weight + (up @ down).to(weight)

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
