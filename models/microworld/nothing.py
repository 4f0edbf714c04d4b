"""Pictures that show nothing: what an oracle must not take for anything it knows.

A picture shows nothing where nobody could name a subject in it. Of such a picture no question has an
answer, its style included, so its label is "nothing" in every head. Noise, flat colours, what an
autoencoder makes of noise, a drawing of which too little is left, and a background with no subject before
it are nothing. A drawing that is blurred or grained a little, inverted or over-exposed still shows its
subject: none of these is here, and neither is what lies between (blur of 4 to 11 pixels, say), of which
people would not agree.

Every family makes float pictures [n, 3, size, size] in [0, 1] on the device of its sources, with all
randomness from one generator, which may live on another device.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from erasure_bench.models.microworld.corruption import blur, normal, uniform, whole_numbers
from erasure_bench.models.microworld.dataset import to_bytes, to_float


class Sources(NamedTuple):
    """What nothing is made from. All tensors are on one device.

    `drawings` uint8 [n, size, size, 3]; `backgrounds` uint8 [m, size, size, 3] without a subject;
    `latents` float [k, c, h, w] of drawings, of unit variance; `decode` gives the pictures of such latents,
    float [k, 3, size, size] in [0, 1].
    """

    drawings: Tensor
    backgrounds: Tensor
    latents: Tensor
    decode: Callable[[Tensor], Tensor]

    @property
    def device(self) -> torch.device:
        return self.drawings.device

    @property
    def size(self) -> int:
        """Height and width of the pictures."""
        return self.drawings.shape[1]


@dataclass(frozen=True)
class _Chance:
    """Random numbers for `count` pictures on `device`."""

    count: int
    generator: torch.Generator
    device: torch.device

    def each(self, low: float, high: float, channels: int = 1) -> Tensor:
        """U(low, high) for each picture (and channel), [n, channels, 1, 1]."""
        return uniform((self.count, channels, 1, 1), low, high, self.generator, self.device)

    def each_log(self, low: float, high: float) -> Tensor:
        """Log-uniform between `low` and `high`, [n, 1, 1, 1]."""
        return self.each(math.log(low), math.log(high)).exp()

    def normal(self, *shape: int) -> Tensor:
        return normal((self.count, *shape), self.generator, self.device)

    def uniform(self, *shape: int) -> Tensor:
        return uniform((self.count, *shape), 0, 1, self.generator, self.device)

    def some_of(self, stock: Tensor) -> Tensor:
        """`count` of the stock, drawn with replacement."""
        return stock[whole_numbers(len(stock), self.count, self.generator, self.device)]

    def pictures_of(self, stock: Tensor) -> Tensor:
        """`count` of a stock of uint8 pictures [n, size, size, 3], as floats [count, 3, size, size]."""
        return to_float(self.some_of(stock))

    def coloured_or_gray(self, noise: Tensor) -> Tensor:
        """The same noise in all channels for half of the pictures."""
        return torch.where(self.each(0, 1) < 0.5, noise[:, :1], noise)

    def permutations(self, length: int) -> Tensor:
        """A random order of `length` things for each picture, [n, length]."""
        return self.uniform(length).argsort(dim=1)


Family = Callable[[Sources, int, torch.Generator], Tensor]
_Drawing = Callable[[_Chance, Sources], Tensor]


def _uniform_noise(chance: _Chance, sources: Sources) -> Tensor:
    """Every value anywhere in a range that is the picture's own, at least half of what there is."""
    low, span = chance.each(0, 0.3), chance.each(0.5, 1)
    noise = chance.coloured_or_gray(chance.uniform(3, sources.size, sources.size))
    return low + noise * span


def _gaussian_noise(chance: _Chance, sources: Sources) -> Tensor:
    """White noise of 15 to 130 (of 255) around a colour."""
    noise = chance.coloured_or_gray(chance.normal(3, sources.size, sources.size))
    return chance.each(0.15, 0.85, 3) + noise * chance.each_log(15, 130) / 255


def _smooth_noise(chance: _Chance, sources: Sources) -> Tensor:
    """Noise with a correlation length of 0.7 to 14 pixels around a colour."""
    noise = chance.coloured_or_gray(chance.normal(3, sources.size, sources.size))
    smooth = _standardised(blur(noise, chance.each_log(0.7, 14).flatten()))
    return chance.each(0.15, 0.85, 3) + smooth * chance.each_log(0.03, 0.4)


def _streaky_noise(chance: _Chance, sources: Sources) -> Tensor:
    """Noise with a correlation length of 0.5 to 3 pixels one way and 3 to 30 the other, in any direction."""
    noise = chance.coloured_or_gray(chance.normal(3, sources.size, sources.size))
    across = blur(noise, chance.each_log(0.5, 3).flatten(), chance.each_log(3, 30).flatten())
    angle = chance.each(0, math.pi).flatten()
    turn = torch.zeros(chance.count, 2, 3, device=sources.device)
    turn[:, 0, 0] = turn[:, 1, 1] = angle.cos() * 0.7  # so that no corner lies outside
    turn[:, 0, 1], turn[:, 1, 0] = angle.sin() * 0.7, angle.sin() * -0.7
    grid = F.affine_grid(turn, list(noise.shape), align_corners=False)
    turned = F.grid_sample(across, grid, padding_mode="border", align_corners=False)
    return chance.each(0.15, 0.85, 3) + _standardised(turned) * chance.each_log(0.05, 0.4)


def _flat_colour(chance: _Chance, sources: Sources) -> Tensor:
    return chance.each(0, 1, 3).expand(-1, -1, sources.size, sources.size)


def _colour_gradient(chance: _Chance, sources: Sources) -> Tensor:
    """From one colour to another, in any direction."""
    down, right = _coordinates(sources)
    angle = chance.each(0, 2 * math.pi)
    way = (angle.cos() * right + angle.sin() * down) / math.sqrt(2)
    return torch.lerp(chance.each(0, 1, 3), chance.each(0, 1, 3), (way + 1) / 2)


def _noised_latents(chance: _Chance, sources: Sources) -> Tensor:
    """A drawing's latents early in sampling: at most 0.3 of the signal is there, the rest is noise."""
    latents = chance.some_of(sources.latents)
    signal = chance.each(0, 0.3)
    noise = chance.normal(*latents.shape[1:])
    return sources.decode(signal * latents + (1 - signal.square()).sqrt() * noise)


def _random_latents(chance: _Chance, sources: Sources) -> Tensor:
    """White noise for latents, from half to three times as large as a picture's latents."""
    return sources.decode(chance.normal(*sources.latents.shape[1:]) * chance.each_log(0.5, 3))


def _smooth_latents(chance: _Chance, sources: Sources) -> Tensor:
    """Latents that change slowly over the picture, 0.5 to 1.5 times as large as a picture's."""
    noise = chance.normal(*sources.latents.shape[1:])
    smooth = _standardised(blur(noise, chance.each_log(0.7, 4).flatten()))
    return sources.decode(smooth * chance.each(0.5, 1.5))


def _drowned_drawing(chance: _Chance, sources: Sources) -> Tensor:
    """A tenth to a quarter of a drawing's contrast under noise of 80 to 150 (of 255)."""
    drawings = chance.pictures_of(sources.drawings)
    faint = 0.5 + (drawings - 0.5) * chance.each(0.1, 0.25)
    noise = chance.coloured_or_gray(chance.normal(*drawings.shape[1:]))
    return faint + noise * chance.each(80, 150) / 255


def _dissolved_drawing(chance: _Chance, sources: Sources) -> Tensor:
    """A drawing blurred by 12 to 30 pixels, the contrast that is left raised to some extent."""
    blurred = blur(chance.pictures_of(sources.drawings), chance.each_log(12, 30).flatten())
    middle = blurred.mean(dim=(2, 3), keepdim=True)
    return middle + (blurred - middle) * chance.each_log(1, 6)


def _shuffled_patches(chance: _Chance, sources: Sources) -> Tensor:
    """A drawing cut into patches of 4 or 2 pixels, in random order."""
    drawings = chance.pictures_of(sources.drawings)
    return torch.where(
        chance.each(0, 1) < 0.5, _shuffled(drawings, 4, chance), _shuffled(drawings, 2, chance)
    )


def _empty_background(chance: _Chance, sources: Sources) -> Tensor:
    """A background with no subject before it, mirrored or not."""
    empty = chance.pictures_of(sources.backgrounds)
    return torch.where(chance.each(0, 1) < 0.5, empty, empty.flip(3))


_PLAIN: tuple[_Drawing, ...] = (
    _uniform_noise,
    _gaussian_noise,
    _smooth_noise,
    _streaky_noise,
    _flat_colour,
    _colour_gradient,
    _random_latents,
    _smooth_latents,
    _dissolved_drawing,
    _shuffled_patches,
)
"""What a blend is made of."""


def _blend(chance: _Chance, sources: Sources) -> Tensor:
    """Two of the other families, mixed evenly or one in patches of the other."""
    one, other = (_of_any(_PLAIN, chance, sources) for _ in range(2))
    place = _standardised(
        blur(chance.normal(1, sources.size, sources.size), chance.each_log(2, 12).flatten())
    )
    patches = torch.sigmoid(place * chance.each_log(1, 30))
    return torch.lerp(one, other, torch.where(chance.each(0, 1) < 0.5, patches, chance.each(0.25, 0.75)))


def _of_any(families: Sequence[_Drawing], chance: _Chance, sources: Sources) -> Tensor:
    """Pictures of the families in turn, in random order."""
    shares = [len(part) for part in torch.arange(chance.count).tensor_split(len(families))]
    made = [
        draw(replace(chance, count=share), sources).clamp(0, 1)
        for draw, share in zip(families, shares, strict=True)
        if share
    ]
    return torch.cat(made)[chance.uniform(1).flatten().argsort()]


def _salt_and_pepper(chance: _Chance, sources: Sources) -> Tensor:
    """Black and white pixels on a colour, 30 to 90 % of all."""
    speck = chance.uniform(1, sources.size, sources.size)
    colour = chance.each(0, 1, 3).expand(-1, -1, sources.size, sources.size)
    share = chance.each(0.3, 0.9)
    return torch.where(speck < share / 2, 0.0, torch.where(speck < share, 1.0, colour))


def _gratings(chance: _Chance, sources: Sources) -> Tensor:
    """Parallel waves, 1.5 to 12 to the picture, between two colours."""
    down, right = _coordinates(sources)
    angle, phase = chance.each(0, math.pi), chance.each(0, 2 * math.pi)
    way = angle.cos() * right + angle.sin() * down
    wave = 0.5 + 0.5 * torch.sin(math.pi * chance.each_log(1.5, 12) * way + phase)
    return torch.lerp(chance.each(0, 1, 3), chance.each(0, 1, 3), wave)


def _shuffled_pixels(chance: _Chance, sources: Sources) -> Tensor:
    """A drawing's pixels in random order."""
    return _shuffled(chance.pictures_of(sources.drawings), 1, chance)


def _disordered_latents(chance: _Chance, sources: Sources) -> Tensor:
    """A drawing's latents with their places in random order."""
    return sources.decode(_shuffled(chance.some_of(sources.latents), 1, chance))


def _product_noise(chance: _Chance, sources: Sources) -> Tensor:
    """Fine noise on coarse noise: smooth patches of colour with white noise of 40 to 100 (of 255)."""
    coarse = _standardised(
        blur(chance.normal(3, sources.size, sources.size), chance.each_log(4, 12).flatten())
    )
    fine = chance.normal(3, sources.size, sources.size)
    return 0.5 + 0.2 * coarse + fine * chance.each(40, 100) / 255


def _shuffled(images: Tensor, patch: int, chance: _Chance) -> Tensor:
    patches = F.unfold(images, patch, stride=patch)
    order = chance.permutations(patches.shape[2])[:, None, :].expand_as(patches)
    return F.fold(patches.gather(2, order), images.shape[-2:], patch, stride=patch)


def _standardised(noise: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over each picture and channel."""
    middle = noise.mean(dim=(2, 3), keepdim=True)
    return (noise - middle) / noise.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)


def _coordinates(sources: Sources) -> tuple[Tensor, Tensor]:
    """How far down and how far right each pixel is, from -1 to 1; [1, 1, size, size] each."""
    line = torch.linspace(-1, 1, sources.size, device=sources.device)
    down, right = torch.meshgrid(line, line, indexing="ij")
    return down[None, None], right[None, None]


def _family(draw: _Drawing) -> Family:
    @torch.no_grad()
    def make(sources: Sources, count: int, generator: torch.Generator) -> Tensor:
        return draw(_Chance(count, generator, sources.device), sources).clamp(0, 1)

    return make


TRAINED: Mapping[str, Family] = {
    "uniform noise": _family(_uniform_noise),
    "gaussian noise": _family(_gaussian_noise),
    "smooth noise": _family(_smooth_noise),
    "streaky noise": _family(_streaky_noise),
    "flat colour": _family(_flat_colour),
    "colour gradient": _family(_colour_gradient),
    "noised latents": _family(_noised_latents),
    "random latents": _family(_random_latents),
    "smooth latents": _family(_smooth_latents),
    "drowned drawing": _family(_drowned_drawing),
    "dissolved drawing": _family(_dissolved_drawing),
    "shuffled patches": _family(_shuffled_patches),
    "empty background": _family(_empty_background),
    "blend": _family(_blend),
}
"""What the oracle is trained on."""

UNSEEN: Mapping[str, Family] = {
    "salt and pepper": _family(_salt_and_pepper),
    "gratings": _family(_gratings),
    "shuffled pixels": _family(_shuffled_pixels),
    "disordered latents": _family(_disordered_latents),
    "noise on smooth noise": _family(_product_noise),
}
"""What it never sees in training: whether it has learnt what nothing is, and not a list."""


def mixed(sources: Sources, count: int, generator: torch.Generator, batch: int = 256) -> Tensor:
    """`count` pictures, uint8 [count, size, size, 3], from the trained families in equal parts."""
    shares = [len(part) for part in torch.arange(count).tensor_split(len(TRAINED))]
    made = [
        to_bytes(family(sources, len(part), generator))
        for family, share in zip(TRAINED.values(), shares, strict=True)
        for part in torch.arange(share).split(batch)
        if len(part)
    ]
    return torch.cat(made)
