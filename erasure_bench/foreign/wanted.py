"""What other people's code may be: a method or an evaluator, and what each promises."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A kind of thing that is looked for: `noun` names it, `does` is the function that makes a class one.

    `promises` are all of its functions and what each is given besides self, `attributes` what else it has;
    `card` is the name of the class of cards that may stand for it. `widened` says by an attribute's name what
    the functions of a class that has it are given instead.
    """

    noun: str
    does: str
    card: str
    promises: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...] = ()
    widened: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def promised_by(self, attributes: Collection[str]) -> Mapping[str, tuple[str, ...]]:
        """`promises` as a class with these attributes keeps them."""
        promises = dict(self.promises)
        for attribute in self.widened.keys() & attributes:
            promises |= self.widened[attribute]
        return promises

    @property
    def described(self) -> str:
        """What one is, in words."""
        functions = [f"{name}({', '.join(('self', *given))})" for name, given in self.promises.items()]
        *others, last = (*self.attributes, *functions)
        parts = f"{', '.join(others)} and {last}" if others else last
        return f"{_a(self.noun)} is a frozen dataclass with {parts}, or {_a(self.card)} of one"


def _a(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


METHOD = Wanted(
    noun="method", does="erase", card="MethodCard", promises={"erase": ("model", "concepts", "context")}
)
EVALUATOR = Wanted(
    noun="evaluator",
    does="score",
    card="EvaluatorCard",
    promises={"protocol": (), "prepare": (), "score": ("images",)},
    attributes=("metrics",),
    widened={"compares_with": {"score": ("images", "base")}},
)
KINDS = (METHOD, EVALUATOR)
