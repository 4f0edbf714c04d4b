"""A model's UNet compiled by torch's inductor, and when that pays.

Compiling takes a minute or several, changes no picture but in rounding, and makes each pass quicker. The
weights are arguments of what is compiled: an edit put into the model's own tensors is drawn with as it is,
without compiling anew.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor

from erasure_bench.errors import BenchError
from erasure_bench.models.batches import is_out_of_memory

UNet = Callable[..., tuple[Tensor, ...]]
"""Called as a diffusers `UNet2DConditionModel` with `return_dict=False`."""

MARGIN = 2.0
"""What compiling is to save at least, as a multiple of what it costs: the pace of a machine changes."""


class CompileCost(NamedTuple):
    """What compiling takes, in seconds, and the share of a pass's time that it saves: may be negative."""

    seconds: float
    saves: float


USUAL = CompileCost(seconds=90.0, saves=0.25)
"""Before anything was measured: rather too dear than too cheap."""


def pays(seconds_left: float, cost: CompileCost = USUAL) -> bool:
    """Whether compiling is worth it where all that is left takes so long without."""
    return seconds_left * cost.saves > MARGIN * cost.seconds


class CompiledUNet:
    """Passes of pictures of one size go through the compiled network, those of other sizes as always.

    So does every pass while an edit's hooks are in the network: what is compiled knows none of them.
    It is compiled at the first pass, and anew, if it must be, for a batch that is larger than all before: a
    smaller one for which it would have to be goes through the network as it is. `compile_seconds` is the
    time of these passes. Where compiling fails, as on a machine without a C++ compiler, `failed` says so and
    the network is asked as it is.
    """

    def __init__(self, unet: Any, say: Callable[[str], None] | None = None, **options: Any) -> None:
        """`say` is told why it cannot be compiled; without it that is an error.

        `options` are `torch.compile`'s.
        """
        self.unet = unet
        self.failed = False
        self.compile_seconds = 0.0
        self._say = say
        self._modules = tuple(unet.modules())
        self._compiled: UNet = torch.compile(unet, **options)
        self._size: torch.Size | None = None
        self._most = 1  # a batch of one is a case of its own to the compiler

    def __call__(
        self, latents: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor, return_dict: bool = False
    ) -> tuple[Tensor, ...]:
        """Shapes [n, channels, height, width], [n] and [n, tokens, width].

        Raises BenchError where it cannot be compiled and nobody is told.
        """
        if self._size is None:
            self._size = latents.shape[1:]
        if self.failed or latents.shape[1:] != self._size or self._has_hooks:
            return _asked(self.unet, latents, timesteps, encoder_hidden_states)
        given = [tensor.contiguous() for tensor in (latents, timesteps, encoder_hidden_states)]
        for tensor in given:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        if len(latents) > self._most:
            return self._compiling(*given)
        with torch.compiler.set_stance("eager_on_recompile"):
            return _asked(self._compiled, *given)

    @property
    def _has_hooks(self) -> bool:
        return any(module._forward_hooks or module._forward_pre_hooks for module in self._modules)

    def _compiling(self, *given: Tensor) -> tuple[Tensor, ...]:
        started = time.perf_counter()
        try:
            output = _asked(self._compiled, *given)
            self._most = len(given[0])
            return output
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self.failed = True
            why = " ".join(str(error).split())[:200]
            if self._say is None:
                raise BenchError(
                    f"--compile on: the network cannot be compiled here ({why}); use --compile auto or off"
                ) from error
            self._say(f"the network cannot be compiled here ({why}): on without that")
        finally:
            self.compile_seconds += time.perf_counter() - started
        return _asked(self.unet, *given)


_in_use: ContextVar[CompiledUNet | None] = ContextVar("_in_use", default=None)


@contextmanager
def drawn_with(unet: CompiledUNet | None) -> Iterator[None]:
    """Within the block, the model whose UNet this is asks it instead; None changes nothing."""
    token = _in_use.set(unet)
    try:
        yield
    finally:
        _in_use.reset(token)


def network_of(unet: Any) -> Any:
    """What stands for this UNet in the present block."""
    compiled = _in_use.get()
    return unet if compiled is None or compiled.unet is not unet else compiled


def release() -> None:
    """Lets go of all that was compiled in this process, and of the networks that it holds."""
    torch._dynamo.reset()


def _asked(unet: UNet, latents: Tensor, timesteps: Tensor, embeddings: Tensor) -> tuple[Tensor, ...]:
    return unet(latents, timesteps, encoder_hidden_states=embeddings, return_dict=False)
