"""What a method is, what it is given, and the card that presents it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from erasure_bench.methods.edit import Edit
from erasure_bench.models.datasets.base import LabelledParts
from erasure_bench.models.image_families import Family
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


class Checkpoint(NamedTuple):
    """What a long work had come to; `expected` is what its next part then came to."""

    state: Mapping[str, Any]
    expected: Mapping[str, Any]


class Checkpoints(Protocol):
    """Keeps what a long work has come to until it is done, so that after a kill it goes on from there.

    States are nested dicts and lists of tensors, numbers, text and None. They are given back as they
    were, or not at all: what is damaged is as if it had never been kept.
    """

    def numbered(self, name: str) -> str:
        """`name` with the number of this call among those with the same name: the same in every try."""
        ...

    def due(self) -> bool:
        """Whether it is time for another one."""
        ...

    def load(self, name: str) -> Checkpoint | None:
        """The newest that was kept under this name, its tensors on the CPU; None where there is none."""
        ...

    def draft(self, name: str, state: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
        """Writes down `state` as it is now; called with what is `expected`, the result keeps it.

        Nothing is kept before, and one that was kept earlier under this name is valid until then.
        """
        ...


class NoCheckpoints:
    """Keeps nothing."""

    def numbered(self, name: str) -> str:
        """The name itself: nothing is kept under it."""
        return name

    def due(self) -> bool:
        """Never."""
        return False

    def load(self, name: str) -> Checkpoint | None:
        """None."""
        return None

    def draft(self, name: str, state: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
        """Does nothing."""
        return lambda expected: None


class Cache(Protocol):
    """Keeps what is costly and the same for many edits of one base model: pictures, a Fisher diagonal.

    `fetch` gives back the tensors that were kept for `maker` and `key`, or has them made and keeps
    them. `maker` is the `__name__` of the module whose code makes them, `key` everything besides
    that code and the base model that decides what they are, in JSON's types.

    `checkpoints` are for the making itself, where that is long; they last until it is done.
    """

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]: ...

    def checkpoints(self, maker: str, key: Mapping[str, Any]) -> Checkpoints: ...


class NoCache:
    """Has everything made anew."""

    def checkpoints(self, maker: str, key: Mapping[str, Any]) -> Checkpoints:
        """None are kept."""
        return NoCheckpoints()

    def fetch(
        self, maker: str, key: Mapping[str, Any], make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What `make` makes."""
        return make()


@dataclass(frozen=True, kw_only=True)
class Need:
    """What an erasure makes for itself: `count` pictures, Fisher samples, training steps.

    `unit` is its plural, as `EraseContext.prepared` says it, and "steps" for those that are reported.
    `passes` is about how many images go through the denoiser for one of them; a pass with its gradient
    counts as three. `maker` and `key` are those of `Cache.fetch` where the result is kept for other
    edits, None where it is this edit's alone.
    """

    unit: str
    count: int
    passes: float
    maker: str | None = None
    key: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class EraseContext:
    """What a method may use besides the model: it loads nothing, chooses no device and prints nothing.

    `seed` decides everything random. `report` is called after every training step,
    `prepared` whenever more is there of what training needs: pictures, a Fisher diagonal.
    `general_prompts` are prompts of all kinds that the base model can draw, the concepts included;
    empty unless the method's card asks for them. `cache` keeps what several edits share,
    `checkpoints` what this one has come to; `Training` uses them by itself. `training_data` reads the
    labelled pictures that the base model was trained on; None unless the method's card asks for it.
    `loss_terms` is for `needs`, which has no model: of how many terms the base model's lower bound is a sum,
    the timesteps of a diffusion model or 1.
    """

    seed: int = 0
    report: Callable[[Progress], None] = lambda progress: None
    prepared: Callable[[Preparation], None] = lambda preparation: None
    general_prompts: tuple[str, ...] = ()
    cache: Cache = field(default_factory=NoCache)
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)
    training_data: Callable[[], LabelledParts] | None = None
    loss_terms: int = 1000


class Method(Protocol):
    """A frozen dataclass of settings that erases concepts from a model.

    The model is of one of the families that the method's card names, and annotated as what it needs of it: a
    `DiffusionModel` for its text encoder or its UNet's cross-attention, a `Denoiser` for noise predictions,
    an `ImageModel` for less.

    `erase` may change the model while it works but leaves it bit-identical behind; what it
    learned is in the edit. Where some settings have no effect beside some values of others, a method
    `unused_settings()` maps them to the reason, and the user's option for one is refused. From what a
    method's `needs(concepts, context)` names, a sequence of `Need`s, a run's time is estimated before
    anything of it has been measured: it is cheap and has no model; an empty one means next to no time.
    """

    def erase(self, model: Any, concepts: Sequence[Concept], context: EraseContext) -> Edit: ...


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """What `bench show` says of a method, and how it is built.

    `build` is the settings class; `settings` fix what makes this name this variant, `presets`
    add the numbers of the official code, of the paper where they differ, and those tuned for
    the built-in model. `version` names the numbers that come of them: another one is due where they
    change. `quick` are settings that make any preset cheap and leave none of its ways out, for the
    fingerprint that the version is bound to. `families` are the kinds of generators that it knows
    (`models.image_families`). `many_concepts` says whether one edit may erase several concepts,
    `general_prompts` and `training_data` whether `erase` needs those of its context.
    """

    name: str
    title: str
    paper: str
    formula: str
    version: str = "1"
    build: type
    settings: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    many_concepts: bool = False
    training_data: bool = False
    families: tuple[Family, ...] = ("text-to-image",)
    general_prompts: bool = False
    notes: str = ""
