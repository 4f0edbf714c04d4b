"""The one training loop: stateless randomness, checkpoints by rename, progress on stderr."""

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from erasure_bench.models.microworld.settings import Schedule

StepLoss = Callable[[torch.Generator], Tensor]


def learning_rate(schedule: Schedule, step: int) -> float:
    """Peak rate times warm-up (linear) times cosine from 1 down to `final_lr_share`."""
    warm = min(1.0, (step + 1) / max(1, schedule.warmup))
    done = min(1.0, step / max(1, schedule.steps))
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return schedule.lr * warm * (schedule.final_lr_share + (1 - schedule.final_lr_share) * cosine)


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of one step. It depends on seed and step only, so a resumed run draws the same."""
    generator = torch.Generator()
    generator.manual_seed((seed * 1_000_003 + step) * 7_919 + 17)
    return generator


def save_atomically(value: object, path: Path) -> None:
    """`torch.save` to a temporary name beside `path`, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    torch.save(value, partial)
    os.replace(partial, path)


class Trainer:
    """Trains `network` by `loss(generator)` along a schedule, and can stop and go on at any step.

    The loss takes all of its randomness from the generator it is given. A checkpoint holds weights,
    their moving average, the optimiser's state and the step; resuming from it gives bit-identical
    weights to a run that was never stopped.
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
        self.losses: list[float] = []
        decayed = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
        plain = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
        self.parameters: list[Tensor] = [*decayed, *plain]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": schedule.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=schedule.lr,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.average = [p.detach().clone() for p in self.parameters] if schedule.ema else []
        if checkpoint.exists():
            self._restore(torch.load(checkpoint, map_location="cpu", weights_only=True))

    def _restore(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"] if self.schedule.ema else []
        self.step = state["step"]
        self.losses = state["losses"]

    def save(self) -> None:
        """Write the checkpoint."""
        save_atomically(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average,
                "step": self.step,
                "losses": self.losses,
            },
            self.checkpoint,
        )

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

    def _advance(self, loss: StepLoss) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.schedule, self.step)
        value = loss(step_generator(self.seed, self.step))
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.average:
            decay = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        return float(value.detach())

    def run(
        self,
        loss: StepLoss,
        *,
        stop_after: int | None = None,
        minutes: float | None = None,
        save_every_s: float = 120.0,
        report_every: int = 50,
        snapshot: Callable[[], None] | None = None,
        snapshot_every_s: float = 600.0,
    ) -> None:
        """Train to the schedule's end, or for `stop_after` steps; checkpoint and snapshot by the clock.

        With `minutes` the schedule's length follows the measured speed, so that it ends by then.
        """
        stop = None if stop_after is None else self.step + stop_after
        started = saved = pictured = reported = time.monotonic()
        first, recent = self.step, []
        while self.step < self.schedule.steps and self.step != stop:
            recent.append(self._advance(loss))
            now = time.monotonic()
            if self.step % report_every == 0 or self.step == self.schedule.steps:
                mean = sum(recent) / len(recent)
                self.losses.append(mean)
                rate = len(recent) / (now - reported)
                if minutes is not None and self.step - first > report_every:
                    left = max(0.0, 60 * minutes - (now - started))
                    self.schedule = replace(self.schedule, steps=self.step + int(rate * left))
                self._report(mean, rate)
                recent, reported = [], now
            if now - saved > save_every_s:
                self.save()
                saved = time.monotonic()
            if snapshot is not None and now - pictured > snapshot_every_s:
                self.averaged(snapshot)
                pictured = time.monotonic()
        self.save()

    def _report(self, mean: float, rate: float) -> None:
        left = (self.schedule.steps - self.step) / rate
        print(
            f"{time.strftime('%H:%M:%S')} {self.name}: step {self.step}/{self.schedule.steps}, "
            f"loss {mean:.4f}, {rate:.2f} steps/s, {rate * self.schedule.batch:.0f} pictures/s, "
            f"{left / 60:.1f} min left",
            file=sys.stderr,
            flush=True,
        )
