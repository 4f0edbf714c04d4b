"""A concept: what is erased, what replaces it, and what must survive."""

from dataclasses import dataclass, field
from typing import Literal

from erasure_bench.later import CAME_LATER

ConceptKind = Literal["instance", "style", "identity", "implicit", "object", "memorised", "unsafe"]


@dataclass(frozen=True, kw_only=True)
class Concept:
    """One thing to erase.

    `targets` are the phrases that name it, the most canonical first: methods train on them.
    `anchor` is what should appear instead (Concept Ablation's anchor concept), `surrogate` the
    distribution Selective Amnesia maps the concept to when it differs from the anchor.
    `neighbours` are close concepts that must survive. `negative` is the text that guidance
    methods (SLD, negative prompt) steer away from, if more than the first target phrase.
    `label` is the concept's name in a classifier's label list, where it has one, and `anchor_label` that of
    what should appear instead.
    `anchor_prompts` ask for pictures of the anchor, of which none is evaluated: material for methods
    that train on such pictures. `additions` say how a style is added to a prompt, `{}` standing for
    it: "{} in mosaic style". `evoked_by` are phrases that bring the concept along unnamed; methods
    that replay what must stay leave them out.
    """

    name: str
    kind: ConceptKind
    targets: tuple[str, ...]
    anchor: str
    surrogate: str | None = None
    neighbours: tuple[str, ...] = ()
    negative: str | None = None
    label: str | None = None
    anchor_prompts: tuple[str, ...] = ()
    additions: tuple[str, ...] = ()
    evoked_by: tuple[str, ...] = ()
    anchor_label: str | None = field(default=None, metadata=CAME_LATER)

    def __post_init__(self) -> None:
        if not self.targets or not all(self.targets):
            raise ValueError(f"concept {self.name!r} needs at least one target phrase")
        if not all("{}" in addition for addition in self.additions):
            raise ValueError(f"concept {self.name!r}: every addition needs a {{}} for the prompt")

    @property
    def target(self) -> str:
        """The canonical phrase for the concept, the `c` of the papers."""
        return self.targets[0]

    @property
    def steer_away_from(self) -> str:
        """The text whose noise prediction guidance methods move away from."""
        return self.negative or self.target
