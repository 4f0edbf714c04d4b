"""What a folder with a class-conditional model says of it: `class_model.json`. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.models.digest import files_digest
from erasure_bench.models.image_families import Family
from erasure_bench.models.json_files import read_json
from erasure_bench.models.noise_schedule import NoiseSchedule, noise_schedule

DESCRIPTION, WEIGHTS = "class_model.json", "weights.safetensors"
FILES = (DESCRIPTION, WEIGHTS)
FORMAT: Literal["erasure-bench class model 1"] = "erasure-bench class model 1"

PIXELS_PROTOCOL: dict[str, Any] = {"steps_offset": 0, "set_alpha_to_one": True}
"""How a model of pixels is sampled where it differs from latent ones: from timestep T − T / steps down to 0
and then to the picture itself, as the official DDIM code does (Song et al. 2021)."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VAESizes(_Strict):
    """A multilayer perceptron of widths `hidden` down to `latent` and the same back."""

    kind: Literal["vae"] = "vae"
    hidden: tuple[PositiveInt, ...]
    latent: PositiveInt


class DDPMSizes(_Strict):
    """A UNet of `channels` × `multipliers`, with `blocks` residual blocks at each resolution.

    It attends to itself at the resolutions of `attention` (sides in pixels), with one head.
    """

    kind: Literal["ddpm"] = "ddpm"
    channels: PositiveInt
    multipliers: tuple[PositiveInt, ...]
    blocks: PositiveInt = 2
    attention: tuple[PositiveInt, ...] = ()
    dropout: NonNegativeFloat = 0.1
    norm_groups: PositiveInt = 32
    timesteps: PositiveInt = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02

    @model_validator(mode="after")
    def _fits(self) -> "DDPMSizes":
        if self.channels % self.norm_groups:
            raise ValueError(f"{self.channels} channels do not fall into {self.norm_groups} groups")
        return self


Sizes = Annotated[VAESizes | DDPMSizes, Field(discriminator="kind")]


class Origin(_Strict):
    """What a model was trained on: a data set by name, and the digest of its files."""

    data: str
    digest: str
    pictures: PositiveInt


class Description(_Strict):
    """A class-conditional model: what it draws, and how large its network is.

    Pictures are `side` × `side` pixels with `channels` 1 (grey) or 3 (RGB). `preset` names the settings that
    methods have for it. `origin` and `recipe` say how it was trained, for those who train it anew.
    """

    format: Literal["erasure-bench class model 1"] = FORMAT
    classes: tuple[str, ...] = Field(min_length=2)
    side: PositiveInt
    channels: Literal[1, 3]
    sizes: Sizes
    preset: str | None = None
    origin: Origin | None = None
    recipe: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _draws(self) -> "Description":
        if len(set(self.classes)) < len(self.classes) or not all(self.classes):
            raise ValueError("classes must be names that differ")
        if isinstance(self.sizes, DDPMSizes) and self.side % 2 ** (len(self.sizes.multipliers) - 1):
            raise ValueError(
                f"a side of {self.side} pixels cannot be halved {len(self.sizes.multipliers) - 1} times"
            )
        return self

    @property
    def family(self) -> Family:
        """What kind of generator it is."""
        return "class-vae" if isinstance(self.sizes, VAESizes) else "class-ddpm"

    @property
    def schedule(self) -> NoiseSchedule | None:
        """The noise schedule that it was trained on, None where there is no noise."""
        if not isinstance(self.sizes, DDPMSizes):
            return None
        config = {
            "num_train_timesteps": self.sizes.timesteps,
            "beta_start": self.sizes.beta_start,
            "beta_end": self.sizes.beta_end,
            "beta_schedule": "linear",
        }
        plain = noise_schedule(config)
        return NoiseSchedule(plain.config | PIXELS_PROTOCOL, plain.set_aside)

    def check_classes(self, names: Iterable[str], who: str) -> None:
        """Raises UnknownName for the first name that is no class of the model called `who`."""
        for name in names:
            if name not in self.classes:
                raise UnknownName(f"class of {who}", name, self.classes)


def is_class_model(directory: Path) -> bool:
    """Whether a folder says that it holds a class-conditional model."""
    return (directory / DESCRIPTION).is_file()


def read_description(directory: Path) -> Description:
    """Raises BenchError, in one line, where it is not there or says something impossible."""
    if missing := missing_files(directory):
        raise BenchError(
            f"{directory} is not a complete class-conditional model: missing {', '.join(missing)}"
        )
    content = read_json(directory / DESCRIPTION)
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise BenchError(f"{directory / DESCRIPTION}: {where or 'it'}: {said}") from error


def missing_files(directory: Path) -> list[str]:
    """What the folder lacks to be one."""
    return [name for name in FILES if not (directory / name).is_file()]


def class_model_digest(directory: Path) -> str:
    """Lower-case hex SHA-256 over the description and the weights. Raises BenchError where one is missing."""
    read_description(directory)
    return files_digest(directory, [directory / name for name in FILES])
