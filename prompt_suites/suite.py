"""A suite: versioned prompts with roles, and the protocol under which every method draws them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from erasure_bench.later import CAME_LATER
from erasure_bench.prompt_suites.concepts import Concept

Role = Literal["target", "implicit", "misspelt", "attack", "anchor", "neighbour", "retention"]
ROLES: tuple[Role, ...] = get_args(Role)
ERASED_ROLES: frozenset[Role] = frozenset({"target", "implicit", "misspelt", "attack"})
"""Roles whose pictures should no longer show the concept; the others should stay as they were."""

MAX_SEED = 2**63 - 1
"""The largest seed that generators, tables of scores and JSON readers all hold."""

SchedulerName = Literal["ddim", "dpm-solver++", "pndm", "lms"]
LEAST_STEPS: Mapping[SchedulerName, int] = {"ddim": 1, "dpm-solver++": 1, "pndm": 2, "lms": 2}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt of a suite.

    `subject` says in a few words what the picture should show and `label` names it in a
    classifier's label list. `seed`, `guidance_scale`, `height` and `width` are set where the
    upstream data fixes them for each row (I2P); sizes are in pixels at the suite's
    `reference_resolution`. `id` is unique in the suite and never reused for another text. `tags` sort
    prompts further, in the suite's own words: I2P's categories, a ladder from naming to describing.
    `rewrites` is the id of the concept's prompt that this one says in other words: it is drawn from the same
    noise, and the two are compared pair by pair.
    `images_per_prompt` is the prompt's own where a suite draws some prompts more often than others.
    """

    id: str
    text: str
    role: Role
    subject: str
    label: str | None = None
    seed: int | None = None
    guidance_scale: float | None = None
    height: int | None = None
    width: int | None = None
    tags: tuple[str, ...] = ()
    rewrites: str | None = field(default=None, metadata=CAME_LATER)
    images_per_prompt: int | None = field(default=None, metadata=CAME_LATER)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How pictures are drawn: the same for every method in a table.

    `height` and `width` of None mean the model's own resolution. `eta` is DDIM's η. Raises ValueError for an
    η of another scheduler, and for too few steps.
    """

    scheduler: SchedulerName
    steps: int
    guidance_scale: float
    eta: float = 0.0
    height: int | None = None
    width: int | None = None
    images_per_prompt: int = 1

    def __post_init__(self) -> None:
        if self.eta and self.scheduler != "ddim":
            raise ValueError(
                f"scheduler {self.scheduler!r} has no eta (got {self.eta:g}); valid: eta 0, or ddim"
            )
        if self.steps < (least := LEAST_STEPS[self.scheduler]):
            raise ValueError(f"{self.steps} steps with {self.scheduler}: valid: {least} or more")

    def images_of(self, prompt: Prompt) -> int:
        """How many pictures of the prompt are drawn."""
        return self.images_per_prompt if prompt.images_per_prompt is None else prompt.images_per_prompt


class LeftOut(NamedTuple):
    """Rows of the upstream data that are never sent to a model, and why."""

    rows: int
    reason: str


class Rewritten(NamedTuple):
    """What a transformation made of one prompt of one concept, or why it made nothing of it.

    `source` is the prompt's id, `prompt` that of the new one (None where there is none), `change` says in a
    few words what was changed or why nothing could be.
    """

    transformation: str
    concept: str
    source: str
    prompt: str | None
    change: str


class SuiteAttack(NamedTuple):
    """An attack that a suite makes by itself, NAME or NAME:VALUE, and its settings where they are others."""

    name: str
    options: Mapping[str, object] = {}


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Concepts with their prompts, the protocol, and the evaluators that measure it by default.

    `prompts` maps a concept's name to its prompts. `model` is the generator that the suite was
    made for, used when the user names none. `reference_resolution` is the resolution that the
    prompts' own sizes refer to; on a model of another resolution they are scaled. `rewritten` is the record
    of the transformations that were applied to it. `attacks` are made where the user names none.
    """

    name: str
    version: str
    title: str
    description: str
    concepts: tuple[Concept, ...]
    prompts: Mapping[str, tuple[Prompt, ...]]
    protocol: Protocol
    evaluators: tuple[str, ...]
    model: str
    reference_resolution: int | None = None
    left_out: tuple[LeftOut, ...] = ()
    source: str = ""
    licence: str = ""
    evaluator_options: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    rewritten: tuple[Rewritten, ...] = ()
    attacks: tuple[SuiteAttack, ...] = field(default=(), metadata=CAME_LATER)

    def __post_init__(self) -> None:
        by_id: dict[str, Prompt] = {}
        for prompt in (prompt for prompts in self.prompts.values() for prompt in prompts):
            if by_id.setdefault(prompt.id, prompt) != prompt:
                raise ValueError(f"suite {self.name}: two different prompts share the id {prompt.id!r}")
        if not by_id:
            raise ValueError(f"suite {self.name} has no prompts")
        for prompt in by_id.values():
            # So many have to be left above a prompt's own seed, though its first picture alone takes it.
            last = (prompt.seed or 0) + self.protocol.images_of(prompt) - 1
            if (prompt.seed or 0) < 0 or last > MAX_SEED:
                raise ValueError(
                    f"suite {self.name}: prompt {prompt.id!r}: the seeds of its pictures, {prompt.seed} to "
                    f"{last}, do not lie in 0 to {MAX_SEED}"
                )
        if missing := [concept.name for concept in self.concepts if concept.name not in self.prompts]:
            raise ValueError(f"suite {self.name}: no prompts for {', '.join(missing)}")
        for concept, prompts in self.prompts.items():
            own = {prompt.id: prompt for prompt in prompts}
            for prompt in prompts:
                if prompt.rewrites is not None:
                    _check_rewriting(f"suite {self.name}, {concept}", prompt, own.get(prompt.rewrites))


def _check_rewriting(where: str, prompt: Prompt, source: Prompt | None) -> None:
    """Raises ValueError where the two cannot be compared pair by pair."""
    if source is None or source.rewrites is not None:
        raise ValueError(
            f"{where}: prompt {prompt.id!r} rewrites {prompt.rewrites!r}, which is no prompt of the concept "
            "or rewrites another itself"
        )
    if (prompt.role in ERASED_ROLES) != (source.role in ERASED_ROLES):
        raise ValueError(
            f"{where}: prompt {prompt.id!r} ({prompt.role}) rewrites {source.id!r} ({source.role}): one of "
            "them should lose the concept, the other should not"
        )
    for name in ("seed", "guidance_scale", "height", "width"):
        if getattr(prompt, name) != getattr(source, name):
            raise ValueError(f"{where}: prompt {prompt.id!r} has not the {name} of {source.id!r}")
