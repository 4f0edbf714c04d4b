"""Fine-tuning that leaves the model as it found it."""

import math
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Required, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from erasure_bench.methods.base import EraseContext, Progress
from erasure_bench.methods.machinery.cost import Cost, Meter
from erasure_bench.methods.machinery.parameters import ParameterGroup, select
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.errors import BenchError

OptimiserName = Literal["adam", "adamw"]

DIVERGED = 1000.0
"""A loss this many times the largest of the first ten before it will not come back,"""
NEVER_SMALL = 10.0
"""if it is also above this: errors of a noise prediction are about 1 where nothing at all is predicted."""


class TrainingSettings(TypedDict, total=False):
    """What every training can be told; see `Training`."""

    learning_rate: Required[float]
    steps: Required[int]
    context: Required[EraseContext]
    optimiser: OptimiserName
    weight_decay: float | None
    clip_norm: float | None
    ema_decay: float
    ema_on_cpu: bool


def check_ema_decay(ema_decay: float) -> None:
    """Raises BenchError for one outside [0, 1)."""
    if not 0.0 <= ema_decay < 1.0:
        raise BenchError(f"ema_decay={ema_decay:g}: valid: 0 (no average) to below 1 (--method-option)")


class TrainingStopped(BenchError):
    """Training that cannot go on; `losses` is the curve up to and including the loss that stopped it."""

    def __init__(self, message: str, losses: Iterable[float]) -> None:
        super().__init__(message)
        self.losses = tuple(losses)


class Training:
    """Trains parameters in place, and restores them bit for bit on leaving.

        with Training(parameters, device=device, learning_rate=1e-5, steps=1000, context=context) as tuning:
            for _ in tuning:
                tuning.minimise([loss])
        tuning.tensors, tuning.losses, tuning.cost

    `generator` is a CPU generator seeded by the context: draw everything random from it.
    `weight_decay` of None is the optimiser's own default (Adam 0, AdamW 0.01).

    With `ema_decay` d above 0 `tensors` holds averages of the weights over the training instead of
    the last ones: they start from the original weights and every step makes them d · average +
    (1 − d) · weights, in fp32 at least. The model itself trains on unaveraged. `ema_on_cpu` keeps them
    off a GPU that has no room for them, at the price of copying the weights at every step.

    `checkpointed` is a diffusers network that keeps only its blocks' inputs of a forward pass meanwhile and
    computes the rest again for the gradient, which stays the same: about a third more time for a fraction
    of the memory. A micro-batch at a time (`minimise`) saves memory without that cost.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        device: torch.device,
        learning_rate: float,
        steps: int,
        context: EraseContext,
        optimiser: OptimiserName = "adam",
        weight_decay: float | None = None,
        clip_norm: float | None = None,
        ema_decay: float = 0.0,
        ema_on_cpu: bool = False,
        checkpointed: Any = None,
    ) -> None:
        """Raises BenchError for an `ema_decay` outside [0, 1)."""
        check_ema_decay(ema_decay)
        self.parameters = dict(parameters)
        self.learning_rate = learning_rate
        self.steps = steps
        self.context = context
        self.optimiser_name = optimiser
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.ema_on_cpu = ema_on_cpu
        self.checkpointed = checkpointed
        self.generator = torch.Generator().manual_seed(context.seed)
        self.losses: list[float] = []
        self.tensors: dict[str, Tensor] = {}
        self.meter = Meter(device)

    @property
    def cost(self) -> Cost:
        """Seconds and peak memory between entering and leaving, and the steps that were taken."""
        return self.meter.cost(len(self.losses))

    def __enter__(self) -> Self:
        self.meter.__enter__()
        # On the CPU: a GPU that holds all else of a full fine-tuning has no room for one more copy.
        self.originals = {name: p.detach().to("cpu", copy=True) for name, p in self.parameters.items()}
        self.required_gradient = {name: p.requires_grad for name, p in self.parameters.items()}
        self.averages = self._start_of_averages() if self.ema_decay else {}
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)
        self.switched_on = self.checkpointed is not None and not self.checkpointed.is_gradient_checkpointing
        if self.switched_on:
            self.checkpointed.enable_gradient_checkpointing()
        self.optimiser = self._optimiser(list(self.parameters.values()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.tensors = self._changed()
        finally:
            self._restore()
            self.meter.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[int]:
        """Counts the steps from 0."""
        yield from range(self.steps)

    def minimise(self, losses: Iterable[Tensor]) -> float:
        """One optimiser step on the sum of `losses`, and that sum.

        Each loss is backpropagated before the next is asked for: a generator of micro-batches
        keeps one micro-batch's graph in memory. Raises TrainingStopped where the sum is not finite
        or the training has diverged; the step is then not taken.
        """
        total = 0.0
        for loss in losses:
            loss.backward()
            total += loss.item()
        self.losses.append(total)
        self._check(total)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self.context.report(Progress(step=len(self.losses), steps=self.steps, loss=total))
        return total

    def _optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        match self.optimiser_name:
            case "adam":
                return torch.optim.Adam(
                    parameters, lr=self.learning_rate, weight_decay=self.weight_decay or 0.0, fused=True
                )
            case "adamw":
                decay = 0.01 if self.weight_decay is None else self.weight_decay
                return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=decay, fused=True)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            self._stop(f"the loss became {loss}")
        start = max((abs(earlier) for earlier in self.losses[:-1][:10]), default=math.inf)
        if abs(loss) > max(DIVERGED * start, NEVER_SMALL):
            self._stop(f"the loss went to {loss:.3g}, from {start:.3g} at the most at the start")

    def _stop(self, what: str) -> None:
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        last = f" (last finite loss {finite[-1]:.3g})" if finite else ""
        raise TrainingStopped(
            f"training stopped at step {len(self.losses)} of {self.steps}: {what}{last}; try a learning rate "
            f"below {self.learning_rate:g} (--method-option learning_rate=…) or --dtype float32",
            self.losses,
        )

    def _start_of_averages(self) -> dict[str, Tensor]:
        """Copies of the parameters in fp32 at least: in 16 bits an average would not move."""
        return {
            name: parameter.detach().to(
                "cpu" if self.ema_on_cpu else parameter.device,
                torch.promote_types(parameter.dtype, torch.float32),
                copy=True,
            )
            for name, parameter in self.parameters.items()
        }

    def _average(self) -> None:
        for name, average in self.averages.items():
            average.lerp_(self.parameters[name].detach().to(average), 1.0 - self.ema_decay)

    def _changed(self) -> dict[str, Tensor]:
        """New values of the parameters that differ from the originals, on the CPU."""
        changed = {}
        for name, parameter in self.parameters.items():
            result = self.averages.get(name, parameter).detach().to("cpu", parameter.dtype, copy=True)
            if not result.isfinite().all():
                self._stop(f"{name} is no longer finite")
            if not torch.equal(result, self.originals[name]):
                changed[name] = result
        return changed

    def _restore(self) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.originals[name])
                parameter.requires_grad_(self.required_gradient[name])
                parameter.grad = None
        if self.switched_on:
            self.checkpointed.disable_gradient_checkpointing()
        self.originals, self.averages = {}, {}
        del self.optimiser


class FineTune(Training):
    """Trains one parameter group of a diffusion model, as `Training` does.

        with FineTune(model, "xattn", learning_rate=1e-5, steps=1000, context=context) as tuning:

    With `gradient_checkpointing` the UNet is `checkpointed`; `settings` are the rest of `Training`'s.
    """

    def __init__(
        self,
        model: DiffusionModel,
        parameters: ParameterGroup,
        *,
        gradient_checkpointing: bool = False,
        **settings: Unpack[TrainingSettings],
    ) -> None:
        super().__init__(
            select(model.parts, parameters),
            device=model.device,
            checkpointed=model.unet if gradient_checkpointing else None,
            **settings,
        )
