"""What a method is, what it is given, and the card that presents it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from methods.edit import Edit
from models.diffusion_model import DiffusionModel
from prompt_suites.concepts import Concept


class Progress(NamedTuple):
    """One training step, as the progress display sees it."""

    step: int
    steps: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class EraseContext:
    """What a method may use besides the model: it loads nothing, chooses no device and prints nothing.

    `seed` decides everything random. `report` is called after every training step.
    """

    seed: int = 0
    report: Callable[[Progress], None] = lambda progress: None


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
    the built-in model.
    """

    name: str
    title: str
    paper: str
    formula: str
    build: type
    settings: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    many_concepts: bool = False
    notes: str = ""
