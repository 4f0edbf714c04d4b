"""Which devices this machine has, and whether they can do the arithmetic that a run asks for."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from erasure_bench.bench.planning.config import AUTO, DEFAULT_DTYPE, RunConfig
from erasure_bench.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

CPU = "cpu"
DEVICE = "--device"
"""The flag that names one."""


def check_devices(config: RunConfig, flag: str = DEVICE) -> None:
    """Raises BenchError where a device of the run or an evaluator is not here, or cannot do `dtype`.

    `flag` is the one that gave the run's. Imports torch only where the answer needs it.
    """
    for name, options in config.evaluator_options.items():
        if (named := options.get("device")) is not None:
            _check(named, f"--evaluator-option {f'{name}.' if name else ''}device=", ())
    asked = config.device != AUTO or config.dtype != DEFAULT_DTYPE
    device = pick_device(config.device, flag) if asked else CPU
    if config.dtype != DEFAULT_DTYPE:
        check_dtype(device, config.dtype)


def pick_device(asked: str, flag: str = DEVICE) -> str:
    """A torch device's name; `auto` is a CUDA GPU where there is one.

    Raises BenchError for one that is not here, which `flag` asked for.
    """
    if asked == AUTO:
        import torch

        return "cuda" if torch.cuda.is_available() else CPU
    _check(asked, f"{flag} ", (AUTO,))
    return asked


def available_devices() -> tuple[str, ...]:
    """What a device may be called here: the processor, and each accelerator with and without its number."""
    import torch

    if not torch.accelerator.is_available():
        return (CPU,)
    accelerator = torch.accelerator.current_accelerator()
    kind = accelerator.type if accelerator else CPU
    return (CPU, kind, *(f"{kind}:{index}" for index in range(torch.accelerator.device_count())))


def check_dtype(device: str, dtype: str) -> None:
    """Raises BenchError where a kernel that drawing needs has no version for `dtype` on this device."""
    import torch

    precision = getattr(torch, dtype)
    for name, kernel in _kernels().items():
        try:
            values = torch.ones(1, 2, 4, 4, dtype=precision, device=device)
            kernel(values).sum().item()
        except (RuntimeError, NotImplementedError, TypeError) as error:
            why = " ".join(str(error).split())[:120]
            raise BenchError(
                f"--dtype {dtype}: {device} cannot do it ({name}: {why}); use --dtype {DEFAULT_DTYPE}"
            ) from error


def _check(asked: str, flag: str, more: tuple[str, ...]) -> None:
    if asked == CPU:
        return
    here = available_devices()
    if asked not in here:
        valid = ", ".join((*more, *here))
        raise BenchError(f"{flag}{asked!r}: this machine has no such device; valid: {valid}")


def _kernels() -> "dict[str, Callable[[Tensor], Tensor]]":
    from torch.nn import functional

    return {
        "convolution": lambda x: functional.conv2d(x, x.new_ones(2, 2, 3, 3), padding=1),
        "normalisation": lambda x: functional.group_norm(x, 2),
        "attention": lambda x: functional.scaled_dot_product_attention(x, x, x),
        "resizing": lambda x: functional.interpolate(x, scale_factor=2.0, mode="nearest"),
    }
