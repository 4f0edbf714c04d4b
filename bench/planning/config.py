"""What a run is asked to do: the command line's words, checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.hostile import seed_trouble
from erasure_bench.prompt_suites.suite import MAX_SEED, SchedulerName

DTYPES = ("float32", "bfloat16", "float16")
DType = Literal["float32", "bfloat16", "float16"]
DEFAULT_DTYPE: DType = "float32"
Compiling = Literal["auto", "on", "off"]

AUTO: Literal["auto"] = "auto"
OFFICIAL = "official"

Options = Mapping[str, str]
CHANGES_NO_RESULT = frozenset(
    ("device", "batch_size", "compile", "task_timeout", "checkpoint_minutes", "data_dir")
)
"""The fields of `RunConfig` that no result depends on."""


class RunConfig(BaseModel):
    """One run: which methods erase which concepts of one suite from one model, and how it is measured.

    None means the suite's or the model's own choice. `method_options`, `evaluator_options` and
    `attack_options` map a name to its options as text; the key "" holds those for every named one. Only what
    stands above `device` can change a result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    suite_options: dict[str, str] = Field(default_factory=dict)
    transform: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    method_options: dict[str, dict[str, str]] = Field(default_factory=dict)
    preset: str = AUTO
    model: str | None = None
    model_like: str | None = None
    references: tuple[str, ...] = ()
    edits: dict[str, Path] = Field(default_factory=dict)
    concepts: tuple[str, ...] = ()
    evaluators: tuple[str, ...] = ()
    evaluator_options: dict[str, dict[str, str]] = Field(default_factory=dict)
    attacks: tuple[str, ...] = ()
    attack_options: dict[str, dict[str, str]] = Field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    limit: int | None = Field(default=None, ge=1)
    images: int | None = Field(default=None, ge=1, le=10_000)
    scheduler: SchedulerName | None = None
    steps: int | None = Field(default=None, ge=1, le=1000)
    dtype: DType = DEFAULT_DTYPE

    device: str = AUTO
    batch_size: PositiveInt | Literal["auto"] = 32
    compile: Compiling = AUTO
    task_timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    checkpoint_minutes: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    data_dir: Path | None = None

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or any(seed < 0 for seed in seeds):
            raise ValueError("needs one or more whole numbers, none negative (--seeds 0,1,2)")
        if too_large := [seed for seed in seeds if seed > MAX_SEED]:
            raise ValueError(f"{too_large[0]} is too large: seeds go from 0 to {MAX_SEED}")
        return tuple(dict.fromkeys(seeds))

    @field_validator("batch_size", mode="before")
    @classmethod
    def _number_or_auto(cls, value: object) -> object:
        if value != AUTO and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{value!r} is neither a whole number from 1 nor {AUTO}")
        return value

    @field_validator("edits")
    @classmethod
    def _names_that_can_be_shown(cls, edits: dict[str, Path]) -> dict[str, Path]:
        if bad := [name for name in edits if not name.isprintable()]:
            raise ValueError(f"{bad[0]!r} is no name for a row: printable characters only (--edit NAME=PATH)")
        return edits

    @field_validator("methods", "concepts", "evaluators", "references", "transform", "attacks")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(names))


def parse_config(values: Mapping[str, object]) -> RunConfig:
    """A checked config; raises BenchError with one line that names the flag."""
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "the options"
        raise BenchError(f"{flag}: {first['msg'].removeprefix('Value error, ')}") from error


def names(text: str | None, flag: str) -> tuple[str, ...]:
    """The names of a comma list, whose own commas are in parentheses; raises BenchError for an empty one."""
    if text is None:
        return ()
    found = tuple(name for part in _parts(text) if (name := part.strip()))
    if not found:
        raise BenchError(f"{flag} is empty: give one or more names, separated by commas")
    return found


def _parts(text: str) -> list[str]:
    """What stands between commas, but those before a closing parenthesis."""
    closing, cuts = False, []
    for place in range(len(text) - 1, -1, -1):
        if text[place] in "()":
            closing = text[place] == ")"
        elif text[place] == "," and not closing:
            cuts.append(place)
    starts = [0, *(place + 1 for place in reversed(cuts))]
    return [text[start:end] for start, end in zip(starts, [*reversed(cuts), len(text)], strict=True)]


def seeds(text: str) -> tuple[int, ...]:
    """The numbers of a comma list such as "0,1,2"; raises BenchError."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise BenchError(f"--seeds {text!r}: not a list of whole numbers such as 0,1,2") from None


def parse_batch_size(text: str) -> int | str:
    """A whole number as such; what is none stays for the config to refuse, but `auto`."""
    return text if seed_trouble(text) else int(text)


KEY_VALUE = "KEY=VALUE"


def options(words: list[str], flag: str, form: str = KEY_VALUE) -> dict[str, str]:
    """`KEY=VALUE` words as a dict; raises BenchError that shows the `form`. A KEY's VALUE may be empty."""
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip() or (form != KEY_VALUE and not value.strip()):
            raise BenchError(f"{flag} {word!r}: write it as {form}")
        if key.strip() in pairs:
            raise BenchError(f"{flag} {word!r}: {key.strip()} is given twice; give it once")
        pairs[key.strip()] = value.strip()
    return pairs


def named_options(words: list[str], flag: str) -> dict[str, dict[str, str]]:
    """`KEY=VALUE` (for all, under "") and `NAME.KEY=VALUE` (for one) words; raises BenchError."""
    by_name: dict[str, dict[str, str]] = {}
    for key, value in options(words, flag).items():
        name, dot, option = key.rpartition(".")
        if dot and not (name and option):
            raise BenchError(f"{flag} {key}={value!r}: write it as KEY=VALUE or NAME.KEY=VALUE")
        by_name.setdefault(name, {})[option] = value
    return by_name
