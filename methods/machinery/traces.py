"""What an erasure may leave behind where it should not: in the model, in the global random generators."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.weights import changed_tensors


@dataclass(frozen=True, eq=False)
class ModelState:
    """All of a model that an erasure could leave changed.

    `tensors` are the parts' parameters and buffers, `flags` what gradients and training mode are at,
    `probe` the noise that the model predicts for fixed latents: it shows a hook or a module that was
    left in place.
    """

    tensors: dict[str, Tensor]
    flags: dict[str, bool]
    probe: Tensor

    @classmethod
    def of(cls, model: DiffusionModel, prompt: str) -> Self:
        """The state now; `prompt` is what the probe asks for."""
        noise = torch.randn(1, *model.latent_shape(), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            probe = model.predict_noise(noise.to(model.device), model.num_train_timesteps // 2, prompt)
        flags: dict[str, bool] = {}
        for part, module in model.parts.items():
            flags |= {f"{part} in training mode": any(each.training for each in module.modules())}
            for name, parameter in module.named_parameters():
                flags[f"{part}.{name} asks for gradients"] = parameter.requires_grad
                flags[f"{part}.{name} has a gradient"] = parameter.grad is not None
        tensors = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}
        return cls(tensors, flags, probe.cpu())

    def differences(self, now: Self) -> str:
        """What is not as it was; empty where everything is."""
        try:
            changed = [*changed_tensors(self.tensors, now.tensors)]
        except ValueError as error:
            return str(error)
        changed += [name for name, value in now.flags.items() if value != self.flags.get(name, False)]
        if not changed and not torch.allclose(self.probe, now.probe, rtol=1e-4, atol=1e-5, equal_nan=True):
            changed = ["other predictions from the same weights (a hook, or a module that was replaced)"]
        return some(changed)

    def restore(self, model: DiffusionModel) -> None:
        """Puts back what can be put back: values, gradients and flags."""
        with torch.no_grad():
            for name, tensor in _tensors(model).items():
                if name in self.tensors and self.tensors[name].shape == tensor.shape:
                    tensor.copy_(self.tensors[name])
        for part, module in model.parts.items():
            module.eval()
            for name, parameter in module.named_parameters():
                parameter.requires_grad_(self.flags.get(f"{part}.{name} asks for gradients", False))
                parameter.grad = None


def _tensors(model: DiffusionModel) -> dict[str, Tensor]:
    return {
        f"{part}.{name}": tensor
        for part, module in model.parts.items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


class RandomStates(NamedTuple):
    """The states of the global random generators that a method could use by mistake."""

    torch: Tensor
    cuda: list[Tensor]
    numpy: Any
    python: Any

    @classmethod
    def now(cls) -> Self:
        """The states now; CUDA's only where a GPU is in use."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(torch.random.get_rng_state(), cuda, np.random.get_state(), random.getstate())

    def differences(self, now: Self) -> str:
        """Which generators were used or seeded since; empty where none was."""
        moved = {
            "torch's global generator": not torch.equal(self.torch, now.torch),
            "CUDA's global generator": any(
                not torch.equal(was, at) for was, at in zip(self.cuda, now.cuda, strict=False)
            ),
            "numpy's global generator": repr(_listed(self.numpy)) != repr(_listed(now.numpy)),
            "Python's global generator": self.python != now.python,
        }
        return ", ".join(name for name, is_so in moved.items() if is_so)

    def restore(self) -> None:
        """Puts all of them back."""
        torch.random.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


def _listed(numpy_state: Any) -> list[Any]:
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in numpy_state]


def seed_all(seed: int) -> None:
    """Seeds every global random generator."""
    torch.random.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def some(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
