"""Blur and grain of given strengths, picture by picture, on whatever device the pictures are."""

import torch
from torch import Tensor


def blur(images: Tensor, radius: Tensor, sideways: Tensor | None = None) -> Tensor:
    """Gaussian blur of [n, c, h, w] by a standard deviation in pixels for each picture, [n].

    `sideways` is the deviation along rows, where it differs from that along columns. Near the edges the
    kernel is cut and normalised anew, so a flat picture stays as it is. A radius of 0 changes nothing.
    """
    rows = _gaussian_rows(images.shape[-2], radius)[:, None]
    columns = _gaussian_rows(images.shape[-1], radius if sideways is None else sideways)[:, None]
    blurred: Tensor = rows.to(images.dtype) @ images @ columns.to(images.dtype).mT
    return blurred


def _gaussian_rows(size: int, radius: Tensor) -> Tensor:
    """For each radius the matrix [size, size] that blurs a line of `size` pixels, [n, size, size]."""
    place = torch.arange(size, device=radius.device, dtype=torch.float32)
    distance = (place[:, None] - place[None, :]) / radius.float().clamp_min(0.05).view(-1, 1, 1)
    weights = torch.exp(-0.5 * distance.square())
    return weights / weights.sum(dim=-1, keepdim=True)


def normal(shape: tuple[int, ...] | torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers from `generator`, wherever it lives, on `device`."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)


def uniform(
    shape: tuple[int, ...] | torch.Size,
    low: float,
    high: float,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Numbers from U(low, high), from `generator`, wherever it lives, on `device`."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device).to(device)


def whole_numbers(high: int, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """`count` integers of 0 to `high` - 1 from `generator`, wherever it lives, on `device`."""
    return torch.randint(high, (count,), generator=generator, device=generator.device).to(device)


def grain(images: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of a standard deviation for each picture, [n], and clip; [0, 1] in and out."""
    noise = normal(images.shape, generator, images.device)
    return (images + noise * deviation.view(-1, 1, 1, 1)).clamp(0, 1)
