"""An adversary of the training: numbers that Adam moves against what the weights are trained for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Adversary:
    """Some numbers and their own optimiser; `Training.carry` keeps both over an interruption.

    `value` is on the device that it was given on, in fp32 at least. With `summed` each step is along the sum
    of all gradients so far, as where a training forgets to zero them. No gradient is left in the model.
    """

    def __init__(
        self, start: Tensor, *, learning_rate: float, weight_decay: float = 0.0, summed: bool = False
    ) -> None:
        wide = torch.promote_types(start.dtype, torch.float32)
        self.value = start.detach().to(wide, copy=True).requires_grad_(True)
        self._optimiser = torch.optim.Adam([self.value], lr=learning_rate, weight_decay=weight_decay)
        self._sum = torch.zeros_like(self.value.detach()) if summed else None

    def descend(self, loss: Callable[[Tensor], Tensor]) -> float:
        """One step of Adam down the loss of the value; the loss before it."""
        return self._step(loss, 1.0)

    def ascend(self, loss: Callable[[Tensor], Tensor]) -> float:
        """One step up."""
        return self._step(loss, -1.0)

    def state_dict(self) -> dict[str, Any]:
        """The value, its optimiser's moments and the sum, where there is one."""
        state = {"value": self.value.detach(), "optimiser": self._optimiser.state_dict()}
        return state if self._sum is None else state | {"sum": self._sum}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts them back."""
        with torch.no_grad():
            self.value.copy_(state_dict["value"])
        self._optimiser.load_state_dict(state_dict["optimiser"])
        if self._sum is not None:
            self._sum.copy_(state_dict["sum"])

    def _step(self, loss: Callable[[Tensor], Tensor], sign: float) -> float:
        with torch.enable_grad():
            found = loss(self.value)
            (gradient,) = torch.autograd.grad(found, self.value)
        self.value.grad = sign * gradient
        if self._sum is not None:
            self._sum += self.value.grad
            self.value.grad = self._sum.clone()
        self._optimiser.step()
        self.value.grad = None
        return found.item()
