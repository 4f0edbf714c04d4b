"""How big everything in the built-in model is and how long each part trains: one place to turn."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """The drawn pictures: `train` for every network, `heldout` (other seeds) for every report."""

    train: int = 64_000
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
    length: int = 32


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings:
    """`AutoencoderTiny`: norm-free, factor 8, the same width at every stage."""

    width: int = 32
    latent_channels: int = 20
    encoder_blocks: tuple[int, int, int, int] = (0, 1, 2, 2)
    decoder_blocks: tuple[int, int, int, int] = (2, 2, 1, 1)
    latent_noise: float = 0.08
    """Noise added to the latents in training, in units of their deviation: a smoother decoder."""
    schedule: Schedule = Schedule(steps=3_000, batch=32, lr=2e-3)


@dataclass(frozen=True, kw_only=True)
class DiffusionSettings:
    """A two-level UNet at 8x8 and 4x4 with cross-attention at each, and its CLIP text encoder."""

    channels: tuple[int, ...] = (96, 128)
    layers: int = 1
    heads: int = 4
    groups: int = 16
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 4
    caption_dropout: float = 0.1
    snr_gamma: float = 5.0
    compile: bool = True
    schedule: Schedule = Schedule(steps=9_000, batch=64, lr=1e-3, warmup=200, ema=0.9995)


@dataclass(frozen=True, kw_only=True)
class OracleSettings:
    widths: tuple[int, ...] = (32, 48, 80, 96)
    descriptor: int = 96
    schedule: Schedule = Schedule(steps=2_000, batch=64, lr=3e-3, weight_decay=0.02, ema=0.995)


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """An open_clip model: its ResNet with attention pooling, and a text transformer."""

    embed: int = 96
    vision_width: int = 16
    vision_layers: tuple[int, int, int, int] = (2, 2, 2, 1)
    text_width: int = 96
    text_layers: int = 3
    schedule: Schedule = Schedule(steps=1_800, batch=96, lr=2e-3, weight_decay=0.02)


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
        width=8,
        encoder_blocks=(0, 0, 0, 1),
        decoder_blocks=(1, 0, 0, 0),
        schedule=_toy(FULL.autoencoder.schedule),
    ),
    diffusion=DiffusionSettings(
        channels=(16, 16),
        heads=2,
        groups=4,
        text_width=16,
        text_layers=1,
        text_heads=2,
        compile=False,
        schedule=_toy(FULL.diffusion.schedule),
    ),
    oracle=OracleSettings(widths=(8, 8, 8, 8), descriptor=8, schedule=_toy(FULL.oracle.schedule)),
    clip=ClipSettings(
        embed=8,
        vision_width=4,
        vision_layers=(1, 1, 1, 1),
        text_width=32,
        text_layers=1,
        schedule=_toy(FULL.clip.schedule),
    ),
)
