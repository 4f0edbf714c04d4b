"""How big everything in the built-in model is and how long each part trains: one place to turn."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from erasure_bench.errors import BenchError


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """The drawn pictures: `train` for every network, `heldout` (other seeds) for every report."""

    train: int = 200_000
    heldout: int = 3_000
    captions: int = 6
    """Captions written for each picture; training draws one of them each time it sees the picture."""
    misspelt_share: float = 0.08


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """An optimiser's run: AdamW, linear warm-up, then a cosine down to `final_lr_share` of the peak."""

    steps: int
    batch: int
    lr: float
    warmup: int = 100
    weight_decay: float = 0.01
    final_lr_share: float = 0.02
    ema: float = 0.0
    """Decay of the exponential moving average of the weights; 0 keeps none."""


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    vocabulary: int = 1_400
    length: int = 40
    pictures: int = 16_000
    """Whose captions the merges are learnt from: enough for every word, too few for any misspelt one."""


@dataclass(frozen=True, kw_only=True)
class Acceleration:
    """What a device may do to train faster; a CPU takes no notice of `graphs`."""

    compile: bool = False
    """Compile the network with inductor: faster steps after half a minute's wait."""
    graphs: bool = True
    """Capture the step as a CUDA graph: these networks are bound by launches."""
    bfloat16: bool = True
    """Compute the forward pass in bfloat16; the weights and their averages stay in fp32."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings:
    """`AutoencoderTiny`: norm-free, factor 8, one width in the encoder and one in the decoder."""

    latent_channels: int = 40
    encoder_width: int = 64
    decoder_width: int = 64
    encoder_blocks: tuple[int, int, int, int] = (0, 0, 1, 2)
    decoder_blocks: tuple[int, int, int, int] = (3, 1, 1, 0)
    """From 8x8 to 64x64. A block at 64x64 costs as much as all the others."""
    latent_noise: float = 0.1
    """Highest deviation of the noise on a picture's latents in training, in units of theirs."""
    sharpness: float = 0.1
    """Weight of the absolute errors, of pixels and of their differences, beside the squared error."""
    acceleration: Acceleration = Acceleration()
    schedule: Schedule = Schedule(steps=6_000, batch=256, lr=1.5e-3, warmup=200)


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings:
    """A two-level UNet at 8x8 and 4x4 with cross-attention at each, and its CLIP text encoder."""

    channels: tuple[int, ...] = (96, 144)
    layers: int = 1
    heads: tuple[int, ...] = (4, 6)
    groups: int = 16
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 4
    caption_dropout: float = 0.1
    composed_share: float = 0.4
    """Share of a batch that is drawn from pictures of several things, of numbers and of asked-for colours
    alone: what is where, how many and in which colour is learnt last."""
    snr_gamma: float = 5.0
    reading_weight: float = 0.02
    """Weight of the reader's loss beside the noise-prediction loss."""
    reading_composed_share: float = 0.75
    """Share of composed pictures while the text encoder learns to read."""
    acceleration: Acceleration = Acceleration()
    reading: Schedule = Schedule(steps=2_000, batch=256, lr=2e-3, warmup=50, weight_decay=0.01, ema=0.0)
    schedule: Schedule = Schedule(steps=10_000, batch=512, lr=2e-3, warmup=300, ema=0.999)


@dataclass(frozen=True, kw_only=True)
class OracleSettings:
    widths: tuple[int, ...] = (32, 64, 96, 128)
    descriptor: int = 128
    places: int = 24
    """Channels of the map that tells the heads where things are."""
    reconstructions: int = 48_000
    """How many of the training pictures are also shown as the autoencoder gives them back."""
    nothing: int = 42_000
    """How many pictures of nothing are made."""
    nothing_share: float = 0.18
    """Their share of a batch; the rest is half drawings, half reconstructions."""
    label_smoothing: float = 0.02
    acceleration: Acceleration = Acceleration()
    schedule: Schedule = Schedule(steps=3_000, batch=512, lr=4e-3, weight_decay=0.02, ema=0.995)


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """An open_clip model: its ResNet with attention pooling, and a text transformer."""

    embed: int = 96
    vision_width: int = 16
    vision_layers: tuple[int, int, int, int] = (2, 2, 2, 1)
    text_width: int = 96
    text_layers: int = 3
    reconstructions: int = 48_000
    """How many of the training pictures are also shown as the autoencoder gives them back."""
    acceleration: Acceleration = Acceleration()
    schedule: Schedule = Schedule(steps=2_000, batch=1_024, lr=2e-3, weight_decay=0.02)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole recipe. `FULL` is what ships; `TOY` runs through every stage in seconds."""

    seed: int = 0
    pictures: PictureSettings = field(default_factory=PictureSettings)
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    autoencoder: AutoencoderSettings = field(default_factory=AutoencoderSettings)
    diffusion: DiffusionSettings = field(default_factory=DiffusionSettings)
    oracle: OracleSettings = field(default_factory=OracleSettings)
    clip: ClipSettings = field(default_factory=ClipSettings)


def _toy(schedule: Schedule) -> Schedule:
    return replace(schedule, steps=4, batch=4, warmup=1)


FULL = Settings()
TOY = Settings(
    pictures=PictureSettings(train=48, heldout=16, captions=2),
    tokenizer=TokenizerSettings(vocabulary=700),
    autoencoder=AutoencoderSettings(
        latent_channels=8,
        encoder_width=8,
        decoder_width=8,
        encoder_blocks=(0, 0, 0, 1),
        decoder_blocks=(1, 0, 0, 0),
        schedule=_toy(FULL.autoencoder.schedule),
    ),
    diffusion=DiffusionSettings(
        channels=(16, 16),
        heads=(2, 2),
        groups=4,
        text_width=16,
        text_layers=1,
        text_heads=2,
        reading=_toy(FULL.diffusion.reading),
        schedule=_toy(FULL.diffusion.schedule),
    ),
    oracle=OracleSettings(
        widths=(8, 8, 8, 8),
        descriptor=8,
        places=2,
        reconstructions=24,
        nothing=22,
        nothing_share=0.25,
        schedule=_toy(FULL.oracle.schedule),
    ),
    clip=ClipSettings(
        embed=8,
        vision_width=4,
        vision_layers=(1, 1, 1, 1),
        text_width=32,
        text_layers=1,
        reconstructions=24,
        schedule=_toy(FULL.clip.schedule),
    ),
)


def override(settings: Settings, changes: Sequence[str]) -> Settings:
    """`settings` with changes such as `autoencoder.schedule.steps=5000`; BenchError says what is wrong."""
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals:
            raise BenchError(f"{change!r} sets nothing: write PART.NAME=VALUE")
        settings = _replaced(settings, path.split("."), text, path)
    return settings


def _replaced(part: Any, names: list[str], text: str, path: str) -> Any:
    name, *rest = names
    known = [each.name for each in fields(part)]
    if name not in known:
        raise BenchError(f"no setting {path!r}: there is no {name!r} among {', '.join(known)}")
    now = getattr(part, name)
    if is_dataclass(now) != bool(rest):
        inside = f"one of {path}.{fields(now)[0].name} and so on" if is_dataclass(now) else "without the rest"
        raise BenchError(f"{path!r} names no single setting: set {inside}")
    return replace(part, **{name: _replaced(now, rest, text, path) if rest else _parsed(text, now, path)})


def _parsed(text: str, now: Any, path: str) -> Any:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(now, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(now):
        raise BenchError(f"{path}={text} is no {type(now).__name__}; it is {now!r} by default")
    return value
