"""Latent re-attention: the coarsest of what a UNet hands across, damped where a prompt was changed.

SAFREE, section on latent re-attention. With h a map that is handed from the way down to the way up, F its
shifted Fourier transform, asked with the prompt's own embeddings (own) and with the changed ones (changed),

    F'(i) = s · F_changed(i)   for the 2 × 2 lowest frequencies i with Re F_changed(i) > Re F_own(i)
    F'(i) = F_changed(i)       elsewhere

and h' is the real part of what F' is the transform of.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Scales = Mapping[int, float]
"""s by the number of channels that the way up has where the map comes in."""


class Doubled(NamedTuple):
    """Of a call's rows those, [n] of truth, whose text embeddings [n, tokens, width] were changed."""

    changed: Tensor
    embeddings: Tensor


class Entry(NamedTuple):
    """A block of the way up, how many channels it already has there, and s."""

    block: nn.Module
    channels: int
    scale: float


def widest(unet: Any, scales: tuple[float, float]) -> Scales:
    """The first scale for the greatest number of channels, the second for the next."""
    widths = sorted(set(unet.config.block_out_channels), reverse=True)
    return dict(zip(widths, scales, strict=False))


def entries(unet: Any, scales: Scales) -> list[Entry]:
    """Where maps of the way down come in, of those widths that have a scale."""
    found = []
    channels = int(unet.config.block_out_channels[-1])
    for stage in unet.up_blocks:
        for block in stage.resnets:
            if channels in scales:
                found.append(Entry(block, channels, scales[channels]))
            channels = int(block.out_channels)
    return found


def lowest(maps: Tensor) -> tuple[Tensor, tuple[slice, slice]]:
    """The shifted Fourier transform [n, channels, height, width] of maps, and where its lowest 2 × 2 are."""
    middle = tuple(slice(max(size // 2 - 1, 0), size // 2 + 1) for size in maps.shape[-2:])
    spectrum = torch.fft.fftshift(torch.fft.fft2(maps.float()), dim=(-2, -1))
    return spectrum, (middle[0], middle[1])


def damped(changed: Tensor, own: Tensor, scale: float) -> Tensor:
    """h' [n, channels, height, width] of maps of that shape."""
    spectrum, place = lowest(changed)
    coarse, reference = spectrum[..., *place], lowest(own)[0][..., *place]
    mask = torch.ones_like(spectrum.real)
    mask[..., *place] = torch.where(coarse.real > reference.real, scale, 1.0)
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum * mask, dim=(-2, -1))).real.to(changed)


@contextmanager
def reattended(
    unet: nn.Module, doubled: Callable[[Tensor], Doubled | None], scales: Scales
) -> Iterator[None]:
    """The UNet with changed embeddings, its maps damped by those that it has with the prompts' own.

    `doubled` says of a call's embeddings which rows change, and how; None, or no row: nothing is done. The
    rows that change take a second pass, with their own embeddings.
    """
    places = entries(unet, scales)
    own: list[Tensor] = []
    present: list[Doubled | None] = [None]
    asking = [False]

    def before(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any] | None:
        if asking[0]:
            return None
        embeddings = named["encoder_hidden_states"]
        own.clear()
        present[0] = found = doubled(embeddings)
        if found is None:
            return None
        if rows := int(found.changed.sum()):
            latents, timesteps = inputs[0], inputs[1]
            asking[0] = True
            try:
                module(
                    latents[found.changed],
                    timesteps.expand(len(latents))[found.changed],
                    encoder_hidden_states=embeddings[found.changed],
                    return_dict=False,
                )
            finally:
                asking[0] = False
            assert all(len(maps) == rows for maps in own)
        return inputs, named | {"encoder_hidden_states": found.embeddings}

    def entering(number: int) -> Callable[..., Any]:
        place = places[number]

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            joined = inputs[0]
            if asking[0]:
                own.append(joined[:, place.channels :])
                return None
            found = present[0]
            if found is None or not own:
                return None
            maps = joined[:, place.channels :].clone()
            maps[found.changed] = damped(maps[found.changed], own[number], place.scale)
            return (torch.cat([joined[:, : place.channels], maps], dim=1), *inputs[1:])

        return hook

    handles = [unet.register_forward_pre_hook(before, with_kwargs=True)]
    handles += [
        place.block.register_forward_pre_hook(entering(number)) for number, place in enumerate(places)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
