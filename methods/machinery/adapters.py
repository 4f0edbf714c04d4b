"""Adapters: small residual networks that stay in the UNet, for every prompt or for those near a concept.

h ← h + γ s up(act(down(z))), where z is the module's input (`beside`: LoRA, SPM) or its output (`after`:
Receler).
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from erasure_bench.errors import BenchError
from erasure_bench.methods.machinery.hooks import output_changed
from erasure_bench.models.asking import Asked, asked
from erasure_bench.models.diffusion_model import DiffusionModel

Place = Literal["beside", "after"]
Activation = Literal["none", "gelu"]
DOWN, UP, BIASES = "down", "up", ("down_bias", "up_bias")


@dataclass(frozen=True)
class PromptGate:
    """How near a picture's prompt is to a concept: what its adapters are scaled by, from 0 to 1.

        γ = max over `phrases` of max(cos(c, p), share of the phrase's tokens that the prompt has, 0)

    c and p are the text embeddings of phrase and prompt, flattened from [tokens, width]. Where a prompt is
    known by its embeddings alone, as an attack's, there is no share of tokens. All rows of a picture have
    its prompt's γ, the unconditional ones as well.
    """

    phrases: tuple[str, ...]


@dataclass(frozen=True)
class SquaredGate:
    """γ² of a `gate`: what adapters are scaled by whose up and down are each multiplied by γ."""

    gate: PromptGate


Gate = PromptGate | SquaredGate


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapters:
    """One adapter for each of some modules of the UNet; `tensors` are named MODULE.down and MODULE.up.

    Of a Linear down is [rank, in] and up [out, rank], of a Conv2d down [rank, in, height, width], moved as
    the convolution itself is, and up [out, rank, 1, 1]; `after` a module they fit its output's last
    dimension. MODULE.down_bias and MODULE.up_bias may be there as well. `scale` is s; without a `gate` γ
    is 1.
    """

    tensors: Mapping[str, Tensor]
    place: Place = "beside"
    activation: Activation = "none"
    scale: float = 1.0
    gate: Gate | None = None

    @contextmanager
    def attached(self, model: DiffusionModel) -> Iterator[None]:
        """The adapters at work; raises BenchError where the UNet lacks a module or a shape is wrong."""
        own = {name: tensor.to(model.device, model.dtype) for name, tensor in self.tensors.items()}
        gate = None if self.gate is None else opened(self.gate, model)
        with adapted(model, own, place=self.place, activation=self.activation, scale=self.scale, gate=gate):
            yield

    def as_weights(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """W + s up down, where that is what the adapters do: without gate and activation, beside a module."""
        if self.gate is not None:
            raise BenchError("its adapters are scaled by how near each prompt is to the concept")
        if self.activation != "none" or self.place == "after" or _biases(self.tensors):
            raise BenchError("its adapters are networks of their own, which plain diffusers cannot hold")
        merged = {}
        for module, adapter in by_module(self.tensors).items():
            own = weights[f"unet.{module}.weight"]
            down, up = (adapter[name].double() for name in (DOWN, UP))
            product = up.flatten(1) @ down.flatten(1)
            merged[f"unet.{module}.weight"] = (own.double() + self.scale * product.reshape(own.shape)).to(own)
        return merged


@contextmanager
def adapted(
    model: DiffusionModel,
    tensors: Mapping[str, Tensor],
    *,
    place: Place,
    activation: Activation = "none",
    scale: float = 1.0,
    gate: Callable[[], Tensor] | None = None,
) -> Iterator[None]:
    """The UNet with the adapters of `tensors` as they are, with their gradients: what trains them, too.

    Everything else as in `Adapters`; `gate` gives γ [rows] of the present call.
    """
    modules = dict(model.unet.named_modules())
    with ExitStack() as stack:
        for name, adapter in by_module(tensors).items():
            if name not in modules:
                raise BenchError(f"the UNet of {model.name} has no module {name!r} for an adapter")
            change = _Residual(modules[name], adapter, place, activation, scale, gate)
            stack.enter_context(output_changed(modules[name], change))
        yield


def new_adapter(
    weight: Tensor, rank: int, generator: Generator, spread: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Down and up, fp32 on the CPU, for a Linear's or Conv2d's weight: at first they do nothing.

    Down is uniform in ±√(spread / inputs), with 1 as torch draws a Linear, and up is 0.
    """
    out, *inputs = weight.shape
    bound = math.sqrt(spread / math.prod(inputs))
    down = (2 * torch.rand(rank, *inputs, generator=generator) - 1) * bound
    return down, torch.zeros(out, rank, *[1] * (len(inputs) - 1))


def by_module(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each adapter by their own names; raises BenchError where one lacks down or up."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        if part not in (DOWN, UP, *BIASES):
            raise BenchError(
                f"{name!r} is no tensor of an adapter: valid ends: {DOWN}, {UP}, {', '.join(BIASES)}"
            )
        found.setdefault(module, {})[part] = tensor
    for module, adapter in found.items():
        if missing := {DOWN, UP} - adapter.keys():
            raise BenchError(f"the adapter of {module} lacks {missing.pop()}")
    return found


def _biases(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.rpartition(".")[2] in BIASES for name in tensors)


@dataclass
class _Residual:
    """What is added to a module's output."""

    module: nn.Module
    adapter: Mapping[str, Tensor]
    place: Place
    activation: Activation
    scale: float
    gate: Callable[[], Tensor] | None

    def __call__(self, given: Tensor, output: Tensor) -> Tensor:
        hidden = self._down(given if self.place == "beside" else output)
        if self.activation == "gelu":
            hidden = functional.gelu(hidden)
        added = self.scale * self._up(hidden)
        if self.gate is None:
            return output + added
        gate = self.gate().to(output)
        # A module may see more rows than the call has, as where attention folds its heads into them.
        rows = gate.repeat_interleave(len(output) // len(gate))
        return output + rows.reshape(-1, *[1] * (output.ndim - 1)) * added

    def _down(self, given: Tensor) -> Tensor:
        weight, bias = self.adapter[DOWN], self.adapter.get("down_bias")
        if isinstance(self.module, nn.Conv2d) and self.place == "beside":
            moved = self.module
            return functional.conv2d(given, weight, bias, moved.stride, moved.padding, moved.dilation)
        return functional.linear(given, weight, bias)

    def _up(self, hidden: Tensor) -> Tensor:
        weight, bias = self.adapter[UP], self.adapter.get("up_bias")
        if weight.ndim == 4:
            return functional.conv2d(hidden, weight, bias)
        return functional.linear(hidden, weight, bias)


def opened(gate: Gate, model: DiffusionModel) -> Callable[[], Tensor]:
    """γ [rows] of the present call, for `adapted`; computed once a call, however many modules ask."""
    if isinstance(gate, SquaredGate):
        once = opened(gate.gate, model)
        return lambda: once().square()
    with torch.inference_mode(False), torch.no_grad():
        concept = model.encode_prompts(gate.phrases).float().flatten(1)
    phrases = [_tokens(model, phrase) for phrase in gate.phrases]

    @functools.cache
    def share(text: str) -> float:
        own = _tokens(model, text)
        return max(len(own & phrase) / max(len(phrase), 1) for phrase in phrases)

    def openings(call: Asked) -> Tensor:
        prompts = call.block("conditional")
        near = functional.cosine_similarity(
            call.embeddings[prompts].float().flatten(1)[:, None], concept[None], dim=-1
        )
        if call.layout.texts is not None:
            shares = [share(text) for text in call.layout.texts[prompts]]
            near = torch.cat([near, torch.tensor(shares, device=near.device)[:, None]], 1)
        return near.amax(1).clamp(min=0).repeat(len(call.layout.roles))

    last: list[tuple[Asked, Tensor]] = []

    def of_present_call() -> Tensor:
        call = asked()
        if not last or last[0][0] is not call:
            last[:] = [(call, openings(call))]
        return last[0][1]

    return of_present_call


def _tokens(model: DiffusionModel, text: str) -> frozenset[int]:
    """The text's own tokens: without the start, the end and the padding."""
    tokenizer = model.tokenizer
    return frozenset(tokenizer(text, truncation=True).input_ids) - frozenset(tokenizer.all_special_ids)
