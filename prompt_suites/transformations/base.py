"""What a transformation is: a concept's prompts in, the same prompts in other words out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role, Suite


class Wording(NamedTuple):
    """A prompt in other words.

    `mark` is what the new prompt's id ends on: it differs from that of every other wording of the prompt.
    `change` says in a few words what was changed.
    """

    text: str
    mark: str
    change: str


class Reworded(NamedTuple):
    """What became of one prompt: its wordings, or in a few words why there are none."""

    wordings: tuple[Wording, ...] = ()
    left_out: str = ""


class Transformation(Protocol):
    """A frozen dataclass of settings that rewrites prompts.

    The wordings depend on the settings, the suite and its version alone, never on global random state, the
    time or the order of earlier calls. A text that differs from the prompt's own in nothing is refused.
    """

    def reworded(self, suite: Suite, concept: Concept, prompts: Sequence[Prompt]) -> Sequence[Reworded]:
        """For each of the concept's `prompts`, in their order, what became of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class TransformationCard:
    """What `bench show` says of a transformation, and how it is built.

    `build` takes the options of `--transform NAME:KEY=VALUE`. Prompts of the role `of` are rewritten and
    get the role `role`; both are to lose the concept, or neither is. `version` names the wordings: another
    one is due where they change.
    """

    name: str
    title: str
    version: str
    of: Role
    role: Role
    build: type
    notes: str = ""
