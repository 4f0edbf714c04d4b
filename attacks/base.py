"""What an attack is, what it is given, and the card that presents it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from erasure_bench.methods.base import Cache, EraseContext, NoCache
from erasure_bench.models.detours import Detour
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.guidance import Guidance
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import SchedulerName


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """One prompt that asks for the concept, as it is drawn without an attack.

    `picture` is the base model's, RGB [height, width, 3], 0 to 255, of the same prompt and noise.
    """

    prompt: str
    seed: int
    guidance_scale: float
    picture: NDArray[np.uint8]

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.picture.shape[0])

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.picture.shape[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Victim:
    """The edited model, its edit in place, and how it draws. `concept` is what should come back.

    `base` is the run's base model with its own weights, where the attack's card asks for it: of a row that is
    another base model it is not that one.
    """

    model: DiffusionModel
    guidance: Guidance
    concept: Concept
    scheduler: SchedulerName
    steps: int
    eta: float = 0.0
    base: DiffusionModel | None = None


@dataclass(frozen=True, kw_only=True)
class AttackContext(EraseContext):
    """What an attack may use besides its victim; `cache` keeps what it learned of this edit.

    `base_cache` keeps what is the same for all edits of the base model: its pictures.
    """

    base_cache: Cache = field(default_factory=NoCache)


@dataclass(frozen=True, kw_only=True, eq=False)
class Try:
    """One picture that an attack wants drawn, in the place of the target's own.

    `asked` is the prompt as text; `embedding` [tokens, width] replaces that text's, `seed` the noise,
    `detour` the way to the picture. `loss` is the attack's own: of its tries the one with the lowest is the
    chosen one, whatever the pictures show. With `middle` only so much of each side is kept, at the
    picture's size. An edit that reads prompts is told `told`, the text of `asked` where that is None.
    """

    asked: str
    told: str | None = None
    embedding: Tensor | None = None
    seed: int | None = None
    detour: Detour | None = None
    loss: float = 0.0
    middle: float | None = None


class Assault(NamedTuple):
    """What an attack came to: `tries` of each target, as many for each, and weights to put in for drawing.

    `tensors` are full new values by the names of `DiffusionModel.named_tensors`. `losses` is the search's
    curve: of every step, the mean over the targets.
    """

    tries: Sequence[Sequence[Try]]
    tensors: Mapping[str, Tensor] = {}
    losses: Sequence[float] = ()


class Attack(Protocol):
    """A frozen dataclass of settings that looks for pictures of the concept in an edited model.

    `tries` is how many pictures of each target it wants to have drawn. It decides what to draw by its own
    loss, and never sees a score. What one target gets does not depend on which others are there.
    """

    @property
    def tries(self) -> int: ...

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault: ...


@dataclass(frozen=True, kw_only=True)
class AttackCard:
    """What `bench show` says of an attack, and how it is built.

    `presets` are the budgets: `official` as in the paper, and one for the built-in world. `argument` is the
    setting that NAME:VALUE gives. `control` names the attack that it is shown beside, with the same number of
    tries; None for one that is a control itself. `chosen_by` says how it chooses among its tries.
    `needs_base` says whether its victim comes with the base model, `general_prompts` whether it needs those
    of its context. `scheduler` is the only one with which it can draw; None where any will do. `version`
    names what comes of it: another one, another result. `quick` makes every preset a matter of moments.
    """

    name: str
    title: str
    paper: str
    formula: str
    build: type
    settings: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    argument: str = "tries"
    control: str | None = "random-prefix"
    chosen_by: str = "the noise loss on the base model's picture"
    needs_base: bool = False
    general_prompts: bool = False
    scheduler: SchedulerName | None = None
    version: str = "1"
    quick: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
