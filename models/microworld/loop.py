"""The one training loop: stateless randomness, checkpoints by rename, progress on stderr.

It runs on the device that the network lies on. On a GPU nothing is read back between two reports, and
with `graphs` the whole step (forward, backward, optimiser) is captured once and replayed.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from erasure_bench.models.microworld.settings import Schedule

Draw = Callable[[torch.Generator], tuple[Tensor, ...]]
"""Everything random of one step: the batch's tensors, of the same shapes at every step."""
FACTS_FILE = "facts.json"
"""Beside each checkpoint: what `Trainer.facts` says."""
WARM_STEPS = 10
"""Ordinary steps before a step is captured: they make the optimiser's state and compile what is compiled."""


def default_device() -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, bfloat16: bool) -> contextlib.AbstractContextManager[object]:
    """If `bfloat16`, the forward pass in that precision, where the device multiplies in it; else nothing."""
    if not bfloat16 or (device.type == "cpu" and not _cpu_multiplies_bfloat16()):
        return contextlib.nullcontext()
    # without the cache of cast weights, which a captured step must not share with what runs outside it
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=device.type != "cuda")


def attention(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """How attention is computed in training.

    On a CPU as plain matrix products: over so few places the fused kernel's backward pass takes eight
    times as long, half of the whole step.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else contextlib.nullcontext()


def _cpu_multiplies_bfloat16() -> bool:
    """Twice as fast as fp32 for these convolutions on a CPU that has AVX-512 BF16 or AMX."""
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def learning_rate(schedule: Schedule, step: int) -> float:
    """Peak rate times warm-up (linear) times cosine from 1 down to `final_lr_share`."""
    warm = min(1.0, (step + 1) / max(1, schedule.warmup))
    done = min(1.0, step / max(1, schedule.steps))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return schedule.lr * warm * (schedule.final_lr_share + (1 - schedule.final_lr_share) * cosine)


def step_generator(seed: int, step: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one step. It depends on seed and step only, so a resumed run draws the same."""
    generator = torch.Generator(device)
    generator.manual_seed((seed * 1_000_003 + step) * 7_919 + 17)
    return generator


def save_atomically(value: object, path: Path) -> None:
    """`torch.save` to a temporary name beside `path`, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    torch.save(value, partial)
    os.replace(partial, path)


class _CapturedStep:
    """One step as a CUDA graph, captured on the current stream; called like the step it was made of."""

    def __init__(self, step: Callable[..., Tensor], batch: tuple[Tensor, ...]) -> None:
        self.inputs = tuple(tensor.clone() for tensor in batch)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=torch.cuda.current_stream()):
            self.loss = step(*self.inputs)

    def __call__(self, *batch: Tensor) -> Tensor:
        for kept, fresh in zip(self.inputs, batch, strict=True):
            kept.copy_(fresh)
        self.graph.replay()
        return self.loss


def side_by_side(trainings: Iterable[Iterator[None]]) -> None:
    """Advance several `Trainer.steps` in turn until all have ended: on a GPU their steps overlap."""
    running = list(trainings)
    ended = object()
    while running:
        running = [training for training in running if next(training, ended) is not ended]


class Trainer:
    """Trains `network` along a schedule, on its own device, and can stop and go on at any step.

    All of a step's randomness comes from the generator that `run` hands to `draw`, or to the loss. A
    checkpoint holds weights, their moving average, the optimiser's state and the step; on a CPU
    resuming from it gives bit-identical weights to a run that was never stopped.
    """

    def __init__(
        self, network: nn.Module, schedule: Schedule, checkpoint: Path, seed: int, name: str
    ) -> None:
        self.network = network
        self.schedule = schedule
        self.checkpoint = checkpoint
        self.seed = seed
        self.name = name
        self.step = 0
        self.seconds = 0.0
        self.losses: list[float] = []
        self.notes: dict[str, Any] = {}
        """What else `facts` should say."""
        self.device = next(network.parameters()).device
        self.on_gpu = self.device.type == "cuda"
        # a step is captured on a stream that is not the default one; trainings side by side overlap
        self.stream = torch.cuda.Stream(self.device) if self.on_gpu else None
        decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
        self.parameters: list[Tensor] = [*decayed, *plain]
        # a captured step reads its rate from memory
        self.rate = torch.tensor(schedule.lr, device=self.device) if self.on_gpu else schedule.lr
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": schedule.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=self.rate,
            betas=(0.9, 0.99),
            fused=True,
            capturable=self.on_gpu,
        )
        self.average = [p.detach().clone() for p in self.parameters] if schedule.ema else []
        if checkpoint.exists():
            self._restore(torch.load(checkpoint, map_location=self.device, weights_only=True))

    def _restore(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:  # what was saved may come from another device
            group["lr"], group["capturable"] = self.rate, self.on_gpu
        self.average = state["average"] if self.schedule.ema else []
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.losses = state["losses"]

    def save(self) -> None:
        """Write the checkpoint."""
        save_atomically(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average,
                "step": self.step,
                "seconds": self.seconds,
                "losses": self.losses,
            },
            self.checkpoint,
        )
        text = json.dumps(self.facts, indent=1) + "\n"
        self.checkpoint.with_name(FACTS_FILE).write_text(text, encoding="utf-8")

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader of the weights wants to know of their training."""
        return {
            "part": self.name,
            "steps": self.step,
            "scheduled": self.schedule.steps,
            "batch": self.schedule.batch,
            "samples": self.step * self.schedule.batch,
            "peak_rate": self.schedule.lr,
            "seconds": round(self.seconds, 1),
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "final_loss": self.losses[-1] if self.losses else None,
            "seed": self.seed,
            "device": torch.cuda.get_device_name(self.device) if self.on_gpu else "CPU",
            "torch": torch.__version__,
            **self.notes,
        }

    @property
    def finished(self) -> bool:
        return self.step >= self.schedule.steps

    def averaged(self, work: Callable[[], None]) -> None:
        """Run `work` with the averaged weights in the network, then put the trained ones back."""
        if not self.average:
            return work()
        trained = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.average)
            try:
                work()
            finally:
                torch._foreach_copy_(self.parameters, trained)

    def _set_rate(self) -> None:
        rate = learning_rate(self.schedule, self.step)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _count_step(self) -> None:
        self.step += 1
        if self.average:
            decay = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.parameters, 1 - decay)

    def run(self, loss: Callable[..., Tensor], **options: Any) -> None:
        """All of `steps`, one after another."""
        for _ in self.steps(loss, **options):
            pass

    def steps(
        self,
        loss: Callable[..., Tensor],
        *,
        draw: Draw | None = None,
        graphs: bool = False,
        stop_after: int | None = None,
        minutes: float | None = None,
        longest: int | None = None,
        save_every_s: float = 120.0,
        report_every: int | None = None,
        snapshot: Callable[[], None] | None = None,
        snapshot_every_s: float = 600.0,
    ) -> Iterator[None]:
        """Train to the schedule's end, or for `stop_after` steps; checkpoint and snapshot by the clock.

        The loss is `loss(*draw(generator))`, or `loss(generator)` without `draw`. With `graphs` and
        `draw`, on a GPU, the step is captured; the loss must then draw nothing and read nothing back.
        With `minutes` the schedule's length follows the measured speed, so that it ends by then, but it
        never becomes longer than `longest`.
        """
        every = report_every or (200 if self.on_gpu else 50)
        stop = None if stop_after is None else self.step + stop_after
        started = saved = pictured = reported = time.monotonic()
        first, reported_step = self.step, self.step
        recent = torch.zeros((), device=self.device)

        def update(*batch: Tensor | torch.Generator) -> Tensor:
            self.optimizer.zero_grad(set_to_none=True)
            value = loss(*batch)
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            return value.detach()

        step: Callable[..., Tensor] = update
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
        while not self.finished and self.step != stop:
            with torch.cuda.stream(self.stream):
                generator = step_generator(self.seed, self.step, self.device)
                self._set_rate()
                if draw is None:
                    recent += update(generator)
                else:
                    batch = draw(generator)
                    if graphs and self.on_gpu and self.step - first == WARM_STEPS:
                        step = self._captured(update, batch)
                    recent += step(*batch)
                self._count_step()
                if self.step % every == 0 or self.finished:
                    count = self.step - reported_step
                    self.losses.append(float(recent) / count)  # waits for the device
                    now = time.monotonic()
                    rate = count / (now - reported)
                    self.seconds += now - reported
                    if minutes is not None and self.step - first > every:
                        left = max(0.0, 60 * minutes - (now - started))
                        steps = self.step + int(rate * left)
                        self.schedule = replace(self.schedule, steps=min(steps, longest or steps))
                    self._report(self.losses[-1], rate)
                    recent.zero_()
                    reported, reported_step = now, self.step
                now = time.monotonic()
                if now - saved > save_every_s:
                    self.save()
                    saved = time.monotonic()
                if snapshot is not None and now - pictured > snapshot_every_s:
                    self.averaged(snapshot)
                    pictured = time.monotonic()
            yield
        if self.stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.stream)
        self.seconds += time.monotonic() - reported
        self.optimizer.zero_grad(set_to_none=True)
        self.save()

    def _captured(self, update: Callable[..., Tensor], batch: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        """`update` as a CUDA graph, or as it is where the capture fails."""
        try:
            return _CapturedStep(update, batch)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            print(f"{self.name}: trains without a CUDA graph: {reason}", file=sys.stderr, flush=True)
            return update

    def _report(self, mean: float, rate: float) -> None:
        left = (self.schedule.steps - self.step) / rate
        print(
            f"{time.strftime('%H:%M:%S')} {self.name}: step {self.step}/{self.schedule.steps}, "
            f"loss {mean:.4f}, {rate:.2f} steps/s, {rate * self.schedule.batch:.0f} pictures/s, "
            f"{left / 60:.1f} min left",
            file=sys.stderr,
            flush=True,
        )
