"""Fine-tuning that leaves the model as it found it."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Literal, Protocol, Required, Self, TypedDict, Unpack

import torch
from torch import Tensor, nn

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, Progress
from erasure_bench.methods.machinery.cost import Cost, Meter
from erasure_bench.methods.machinery.parameters import ParameterGroup, select
from erasure_bench.models.image_model import ImageModel
from erasure_bench.models.precision import wider

OptimiserName = Literal["adam", "adamw"]

DIVERGED = 1000.0
"""A loss this many times the largest of the first ten before it will not come back,"""
NEVER_SMALL = 10.0
"""if it is also above this: errors of a noise prediction are about 1 where nothing at all is predicted."""


FORWARD_AND_BACKWARD = 3.0
"""What a pass with its gradient costs, in passes without."""
RESUMED_LOSS, RESUMED_LOSS_NARROW = 1e-3, 2e-2
"""How far the first loss from a checkpoint may be from the one before, as a share: rounding on another
device or number of threads, in 32 and in 16 bits. Another lesson than before has another loss altogether."""


class TrainingSettings(TypedDict, total=False):
    """What every training can be told; see `Training`."""

    learning_rate: Required[float]
    steps: Required[int]
    context: Required[EraseContext]
    optimiser: OptimiserName
    weight_decay: float | None
    betas: tuple[float, float]
    epsilon: float
    schedule: Callable[[int], float] | None
    clip_norm: float | None
    ema_decay: float
    ema_on_cpu: bool
    own_precision: bool
    ema_warm_up: bool
    start: Mapping[str, Tensor] | None
    bounded: bool
    never_diverged: float


def check_ema_decay(ema_decay: float) -> None:
    """Raises BenchError for one outside [0, 1)."""
    if not 0.0 <= ema_decay < 1.0:
        raise BenchError(f"ema_decay={ema_decay:g}: valid: 0 (no average) to below 1 (--method-option)")


class Stateful(Protocol):
    """Something beside the weights that training changes, as an optimiser of torch's."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


class TrainingStopped(BenchError):
    """Training that cannot go on; `losses` is the curve up to and including the loss that stopped it."""

    def __init__(self, message: str, losses: Iterable[float]) -> None:
        super().__init__(message)
        self.losses = tuple(losses)


class NotResumable(BenchError):
    """A training did not go on from its checkpoint as it had gone on before: its edit is to be made anew."""


class Training:
    """Trains parameters in place, and restores them bit for bit on leaving.

        with Training(parameters, device=device, learning_rate=1e-5, steps=1000, context=context) as tuning:
            for _ in tuning:
                tuning.minimise([loss])
        tuning.tensors, tuning.losses, tuning.cost

    `generator` is a CPU generator seeded by the context: draw everything random from it.

    After a kill the loop goes on at the step of the last of the context's checkpoints, with the weights,
    the optimiser, the averages, the generator and the losses as they were: the edit is the undisturbed
    one, bit by bit. So whatever else steps depend on must be there before the loop begins, and whatever
    they change must be among these, or handed to `carry` before the loop: no generator of your own, no
    iterator that draws when it is first asked. A training that breaks this does not pass unseen: its first
    step from a checkpoint must have the loss that it had before, or NotResumable is raised and the edit is
    made from the start.

    `weight_decay` of None is the optimiser's own default (Adam 0, AdamW 0.01); `betas` and `epsilon` are
    those of both. With a `schedule` each step's learning rate is `schedule(step)` times `learning_rate`,
    steps from 0.

    With `ema_decay` d above 0 `tensors` holds averages of the weights over the training instead of
    the last ones: they start from the original weights and every step makes them d · average +
    (1 − d) · weights, in fp32 at least. The model itself trains on unaveraged. `ema_on_cpu` keeps them
    off a GPU that has no room for them, at the price of copying the weights at every step. With
    `ema_warm_up` d of step n, from 0, is at most (1 + n) / (10 + n): the average forgets its start.

    With `start`, values for all parameters, training and averages begin there and not at the model's own.
    A training that is not `bounded` may have a loss that falls without end.

    `checkpointed` is a diffusers network that keeps only its blocks' inputs of a forward pass meanwhile and
    computes the rest again for the gradient, which stays the same: about a third more time for a fraction
    of the memory. A micro-batch at a time (`minimise`) saves memory without that cost.

    `own_precision` says that the method, by a setting `precision`, and not the run's --dtype chose the dtype.
    A loss up to `never_diverged` is none that has diverged: more for one that weighs steps unequally.
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
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        schedule: Callable[[int], float] | None = None,
        clip_norm: float | None = None,
        ema_decay: float = 0.0,
        ema_on_cpu: bool = False,
        checkpointed: Any = None,
        own_precision: bool = False,
        ema_warm_up: bool = False,
        start: Mapping[str, Tensor] | None = None,
        bounded: bool = True,
        never_diverged: float = NEVER_SMALL,
    ) -> None:
        """Raises BenchError for an `ema_decay` outside [0, 1)."""
        check_ema_decay(ema_decay)
        self.parameters = dict(parameters)
        self.learning_rate = learning_rate
        self.steps = steps
        self.context = context
        self.optimiser_name = optimiser
        self.weight_decay = weight_decay
        self.betas, self.epsilon = betas, epsilon
        self.schedule = schedule
        self.clip_norm = clip_norm
        self.ema_decay = ema_decay
        self.ema_on_cpu = ema_on_cpu
        self.checkpointed = checkpointed
        self.own_precision = own_precision
        self.ema_warm_up = ema_warm_up
        self.start = start
        self.bounded = bounded
        self.never_diverged = never_diverged
        self.generator = torch.Generator().manual_seed(context.seed)
        self.losses: list[float] = []
        self.tensors: dict[str, Tensor] = {}
        self.meter = Meter(device)
        self.name = context.checkpoints.numbered("training")
        self.carried: dict[str, Stateful] = {}

    def carry(self, name: str, it: Stateful) -> None:
        """Keeps what steps change besides the weights in the checkpoints, from before the loop on."""
        self.carried[name] = it

    @property
    def cost(self) -> Cost:
        """Seconds and peak memory between entering and leaving, and the steps that were taken."""
        return self.meter.cost(len(self.losses))

    def __enter__(self) -> Self:
        self.meter.__enter__()
        # On the CPU: a GPU that holds all else of a full fine-tuning has no room for one more copy.
        self.originals = {name: p.detach().to("cpu", copy=True) for name, p in self.parameters.items()}
        self.required_gradient = {name: p.requires_grad for name, p in self.parameters.items()}
        if self.start is not None:
            with torch.no_grad():
                for name, parameter in self.parameters.items():
                    parameter.copy_(self.start[name])
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
        """Counts the steps from 0, or from the last checkpoint on, and keeps checkpoints of them.

        Raises NotResumable where the first step from a checkpoint is not what it was before.
        """
        first, expected = self._resume()
        keep = None
        for step in range(first, self.steps):
            if self.context.checkpoints.due():
                keep = self.context.checkpoints.draft(self.name, self._state(step))
            earlier = len(self.losses)
            yield step
            outcome = {"losses": self.losses[earlier:], "generator": _digest(self.generator)}
            if expected is not None:
                self._check_resumed(step, expected, outcome)
                expected = None
            if keep is not None:
                keep(outcome)
                keep = None

    def _resume(self) -> tuple[int, Mapping[str, Any] | None]:
        """Puts the last checkpoint's state in place; the step to go on with, and what it should come to."""
        found = self.context.checkpoints.load(self.name)
        if found is None or found.state["training"] != self._identity():
            return 0, None
        state = found.state
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state["parameters"][name])
            for name, average in self.averages.items():
                average.copy_(state["averages"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        for name, it in self.carried.items():
            it.load_state_dict(state["carried"][name])
        self.generator.set_state(state["generator"])
        self.losses[:] = state["losses"]
        self.meter.resume(state["seconds"], state["peak_memory_bytes"])
        return state["step"], found.expected

    def _state(self, step: int) -> dict[str, Any]:
        """All that the steps from `step` on depend on."""
        cost = self.cost
        return {
            "training": self._identity(),
            "step": step,
            "losses": list(self.losses),
            "generator": self.generator.get_state(),
            "parameters": {name: parameter.detach() for name, parameter in self.parameters.items()},
            "averages": dict(self.averages),
            "optimiser": self.optimiser.state_dict(),
            "carried": {name: it.state_dict() for name, it in self.carried.items()},
            "seconds": cost.seconds,
            "peak_memory_bytes": cost.peak_memory_bytes,
        }

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have been made with to fit."""
        return {
            "parameters": {name: [*parameter.shape] for name, parameter in self.parameters.items()},
            "dtypes": sorted({str(parameter.dtype) for parameter in self.parameters.values()}),
            "steps": self.steps,
            "optimiser": self.optimiser_name,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "ema_decay": self.ema_decay,
            "seed": self.context.seed,
        } | ({"carried": sorted(self.carried)} if self.carried else {})

    def _check_resumed(self, step: int, expected: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        narrow = any(parameter.dtype.itemsize < 4 for parameter in self.parameters.values())
        tolerance = RESUMED_LOSS_NARROW if narrow else RESUMED_LOSS
        before, now = expected["losses"], outcome["losses"]
        same = len(before) == len(now) and all(
            math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-9)
            for one, other in zip(before, now, strict=True)
        )
        if not same or expected["generator"] != outcome["generator"]:
            raise NotResumable(
                f"step {step + 1} of {self.steps}, the first from a checkpoint, has losses {now} where it "
                f"had {before}: the training draws something from elsewhere than its generator, or keeps "
                "something of its own (docs/adding-a-method.md)"
            )

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
        if self.schedule is not None:
            for group in self.optimiser.param_groups:
                group["lr"] = self.learning_rate * self.schedule(len(self.losses) - 1)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self._average()
        self.context.report(Progress(step=len(self.losses), steps=self.steps, loss=total))
        return total

    def _optimiser(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        # In 16 bits the fused kernel rounds once a step where torch's default, which the official codes use,
        # rounds after every operation: the moments then grow otherwise.
        fused = all(torch.finfo(parameter.dtype).bits >= 32 for parameter in parameters)
        options: dict[str, Any] = {
            "lr": self.learning_rate,
            "betas": self.betas,
            "eps": self.epsilon,
            "fused": fused,
            "foreach": False,
        }
        match self.optimiser_name:
            case "adam":
                return torch.optim.Adam(parameters, weight_decay=self.weight_decay or 0.0, **options)
            case "adamw":
                decay = 0.01 if self.weight_decay is None else self.weight_decay
                return torch.optim.AdamW(parameters, weight_decay=decay, **options)

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            self._stop(f"the loss became {loss}")
        start = max((abs(earlier) for earlier in self.losses[:-1][:10]), default=math.inf)
        size = abs(loss) if self.bounded else loss
        if size > max(DIVERGED * start, self.never_diverged):
            self._stop(f"the loss went to {loss:.3g}, from {start:.3g} at the most at the start")

    def _stop(self, what: str) -> None:
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        last = f" (last finite loss {finite[-1]:.3g})" if finite else ""
        raise TrainingStopped(
            f"training stopped at step {len(self.losses)} of {self.steps}: {what}{last}; try a learning rate "
            f"below {self.learning_rate:g} (--method-option learning_rate=…){self._or_wider()}",
            self.losses,
        )

    def _or_wider(self) -> str:
        dtypes = {parameter.dtype for parameter in self.parameters.values()}
        if self.own_precision:
            return " or --method-option precision=float32" if any(map(wider, dtypes)) else ""
        return next((f" or {option}" for option in map(wider, dtypes) if option), "")

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
        taken = len(self.losses) - 1
        decay = min(self.ema_decay, (1 + taken) / (10 + taken)) if self.ema_warm_up else self.ema_decay
        for name, average in self.averages.items():
            average.lerp_(self.parameters[name].detach().to(average), 1.0 - decay)

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


def _digest(generator: torch.Generator) -> str:
    return hashlib.sha256(generator.get_state().numpy().tobytes()).hexdigest()


class FineTune(Training):
    """Trains one parameter group of a diffusion model, as `Training` does.

        with FineTune(model, "xattn", learning_rate=1e-5, steps=1000, context=context) as tuning:

    With `gradient_checkpointing` the UNet is `checkpointed`; `settings` are the rest of `Training`'s.
    """

    def __init__(
        self,
        model: ImageModel,
        parameters: ParameterGroup,
        *,
        gradient_checkpointing: bool = False,
        **settings: Unpack[TrainingSettings],
    ) -> None:
        super().__init__(
            select(model.parts, parameters),
            device=model.device,
            checkpointed=_checkpointed(model) if gradient_checkpointing else None,
            **settings,
        )


def _checkpointed(model: ImageModel) -> Any:
    """The denoiser, for gradient checkpointing; raises BenchError where the model has none that can do it."""
    network: Any = model.parts.get("unet")
    if not hasattr(network, "enable_gradient_checkpointing"):
        raise BenchError(
            f"gradient_checkpointing: {model.name} is too small to have it (--method-option "
            "gradient_checkpointing=false)"
        )
    return network
