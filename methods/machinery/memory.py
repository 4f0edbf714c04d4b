"""How much GPU memory a fine-tuning needs: an estimate from the shapes of the tensors alone.

Weights, gradients and what the optimiser keeps are counted exactly. What one forward and backward
pass needs on top is the most that lives at any moment of a pass run on torch's meta device, where
every tensor has a size and none has memory. Attention is counted as the fused kernels do it, which
never hold its matrix. Not counted are the CUDA context, the libraries' work space, what the
allocator loses to fragmentation, and whatever a method does between its steps, as sampling.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from erasure_bench.methods.machinery.parameters import ParameterGroup, select

META = torch.device("meta")


@dataclass(frozen=True, kw_only=True)
class TrainingMemory:
    """Bytes on the GPU. `model` is everything loaded, `others` any further tensors of the trained weights."""

    model: int
    frozen_copy: int
    gradients: int
    optimiser: int
    average: int
    others: int
    activations: int

    @property
    def total(self) -> int:
        """All of it: the peak."""
        return self.model + self.frozen_copy + self.training + self.activations

    @property
    def training(self) -> int:
        """What there is for each trained weight besides the weight itself."""
        return self.gradients + self.optimiser + self.average + self.others


def training_memory(
    parts: Mapping[str, nn.Module],
    group: ParameterGroup,
    *,
    latent_shape: tuple[int, int, int],
    tokens: int = 77,
    micro_batch: int = 1,
    gradient_checkpointing: bool = False,
    frozen_copy: bool = False,
    average: bool = False,
    other_tensors: int = 0,
) -> TrainingMemory:
    """What `FineTune` of a parameter group needs with Adam or AdamW, in the dtype that the parts have.

    `parts` is a model's `parts`, which may themselves be on the meta device; nothing is changed.
    `latent_shape` is (channels, height, width), `tokens` the length of a prompt. `frozen_copy` is a
    second UNet and text encoder (`DiffusionModel.frozen_copy`), `average` FineTune's `ema_decay` with
    the averages on the GPU, `other_tensors` the number of further tensors that a method keeps for each
    trained one.
    For the group `embedding` the pass through the text encoder itself is left out; it is small.
    """
    trained = list(select(parts, group).values())
    size = _bytes(trained)
    return TrainingMemory(
        model=sum(map(_module_bytes, parts.values())),
        frozen_copy=_module_bytes(parts["unet"]) + _module_bytes(parts["text_encoder"]) if frozen_copy else 0,
        gradients=size,
        optimiser=2 * size + 4 * len(trained),  # two moments, and an fp32 count of steps for each tensor
        average=sum(p.numel() * max(p.element_size(), 4) for p in trained) if average else 0,
        others=other_tensors * size,
        activations=_pass_bytes(
            parts["unet"], group, latent_shape, tokens, micro_batch, gradient_checkpointing
        ),
    )


def peak_allocation(run: Callable[[], object], existing: Iterable[Tensor] = ()) -> int:
    """The most bytes that tensors made by `run` hold at any moment; those of `existing` do not count.

    Exact for tensors on the meta device; elsewhere an operation's own temporary memory is not seen.
    """
    allocations = _Allocations(existing)
    with allocations:
        run()
    return allocations.peak


def _pass_bytes(
    unet: nn.Module,
    group: ParameterGroup,
    latent_shape: tuple[int, int, int],
    tokens: int,
    micro_batch: int,
    gradient_checkpointing: bool,
) -> int:
    """Peak of one forward and backward pass, given that the gradients are there already."""
    twin: Any = _meta_twin(unet)
    context = torch.empty(
        (micro_batch, tokens, twin.config.cross_attention_dim), device=META, dtype=twin.dtype
    )
    if group == "embedding":
        context.requires_grad_(True)
        trained = [context]
    else:
        trained = list(select({"unet": twin}, group).values())
    for tensor in trained:
        tensor.requires_grad_(True)
        tensor.grad = torch.empty_like(tensor)
    if gradient_checkpointing:
        twin.enable_gradient_checkpointing()
    latents = torch.empty((micro_batch, *latent_shape), device=META, dtype=twin.dtype)
    timesteps = torch.empty(micro_batch, device=META, dtype=torch.int64)

    def one_pass() -> None:
        predicted = twin(latents, timesteps, encoder_hidden_states=context, return_dict=False)[0]
        predicted.square().mean().backward()

    existing = [*twin.parameters(), *twin.buffers(), context, latents, timesteps]
    existing += [tensor.grad for tensor in trained if tensor.grad is not None]
    return peak_allocation(one_pass, existing)


def _meta_twin(unet: Any) -> Any:
    """The same UNet without memory, in eval mode, with no gradients asked for and fused attention."""
    with META:
        twin = type(unet).from_config(unet.config)
    nn.Module.to(twin, unet.dtype)  # diffusers' own warns about nothing
    twin.set_attn_processor(_FusedAttentionProcessor())
    return twin.eval().requires_grad_(False)


class _Allocations(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, from their making to their end."""

    def __init__(self, existing: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self.known = WeakIdKeyDictionary()
        for tensor in existing:
            self.known[tensor.untyped_storage()] = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self.known:
            return
        self.known[storage] = True
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.now -= size


class _FusedAttentionProcessor:
    """A transformer block's attention in sizes: on the meta device PyTorch would make its whole matrix."""

    def __call__(
        self, attention: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: object
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            projected.unflatten(2, (attention.heads, -1)).transpose(1, 2)
            for projected in (attention.to_q(hidden_states), attention.to_k(context), attention.to_v(context))
        )
        attended = _FusedAttention.apply(query, key, value).transpose(1, 2).flatten(2)
        return attention.to_out[1](attention.to_out[0](attended))


class _FusedAttention(torch.autograd.Function):
    """Makes and keeps what the fused kernels do: the output and one fp32 number for each query.

    Query, key, value and output are [batch, heads, tokens, width].
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        log_sums = torch.empty(query.shape[:-1], device=query.device, dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, log_sums)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _module_bytes(module: nn.Module) -> int:
    return _bytes(module.parameters()) + _bytes(module.buffers())
