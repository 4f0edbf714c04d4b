"""What a method is, what it is given, and the card that presents it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from erasure_bench.methods.edit import Edit
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept


class Progress(NamedTuple):
    """One training step, as the progress display sees it."""

    step: int
    steps: int
    loss: float


class Preparation(NamedTuple):
    """How much is there of what a method makes before it trains; `unit` is its plural: "pictures"."""

    made: int
    total: int
    unit: str


class Cache(Protocol):
    """Keeps what is costly and the same for many edits of one base model: pictures, a Fisher diagonal.

    `fetch` gives back the tensors that were kept for `maker` and `key`, or has them made and keeps
    them. `maker` is the `__name__` of the module whose code makes them, `key` everything besides
    that code and the base model that decides what they are, in JSON's types.
    """

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]: ...


class NoCache:
    """Has everything made anew."""

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What `make` makes."""
        return make()


@dataclass(frozen=True, kw_only=True)
class EraseContext:
    """What a method may use besides the model: it loads nothing, chooses no device and prints nothing.

    `seed` decides everything random. `report` is called after every training step,
    `prepared` whenever more is there of what training needs: pictures, a Fisher diagonal.
    `general_prompts` are prompts of all kinds that the base model can draw, the concepts included;
    empty unless the method's card asks for them. `cache` keeps what several edits share.
    """

    seed: int = 0
    report: Callable[[Progress], None] = lambda progress: None
    prepared: Callable[[Preparation], None] = lambda preparation: None
    general_prompts: tuple[str, ...] = ()
    cache: Cache = field(default_factory=NoCache)


class Method(Protocol):
    """A frozen dataclass of settings that erases concepts from a model.

    `erase` may change the model while it works but leaves it bit-identical behind; what it
    learned is in the edit.
    """

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit: ...


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """What `bench show` says of a method, and how it is built.

    `build` is the settings class; `settings` fix what makes this name this variant, `presets`
    add the numbers of the official code, of the paper where they differ, and those tuned for
    the built-in model. `many_concepts` says whether one edit may erase several concepts,
    `general_prompts` whether `erase` needs those of its context.
    """

    name: str
    title: str
    paper: str
    formula: str
    build: type
    settings: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    many_concepts: bool = False
    general_prompts: bool = False
    notes: str = ""
