"""What other people's code may be: a method or an evaluator, and what each promises."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A kind of thing that is looked for: `noun` names it, `does` is the function that makes a class one.

    `promises` are all of its functions and what each is given besides self, `attributes` what else it has;
    `card` is the name of the class of cards that may stand for it.
    """

    noun: str
    does: str
    card: str
    promises: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...] = ()

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
)
KINDS = (METHOD, EVALUATOR)
