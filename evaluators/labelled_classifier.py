"""What the classifier evaluator needs of a model: labels in heads, probabilities for pictures."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels

Probabilities = NDArray[np.float64]

ONE_HEAD = "class"
"""Name of the head of a model that has only one."""


class LabelledClassifier(Protocol):
    """A model with one or more heads, each a softmax over its own labels."""

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]: ...

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        """For each head the probabilities [n, labels] of n RGB pictures whose sizes may differ."""
        ...


class ClassifierSource(Protocol):
    """Where a classifier comes from: cheap to make and hashable, loads on demand.

    `kind` says in words what it is, `reads` which of the evaluator's settings it leaves to the user.
    """

    kind: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]

    def __hash__(self) -> int: ...

    def protocol(self) -> Mapping[str, Any]:
        """What decides whether two of its numbers can be compared."""
        ...

    def known_labels(self) -> Collection[str]:
        """The labels of all heads as far as they can be told without loading; empty where they cannot."""
        ...

    def known_count(self) -> int | None:
        """How many labels its one head has, as far as that can be told without loading; None otherwise."""
        ...

    def load(self, device: str) -> LabelledClassifier: ...


class LabelPlace(NamedTuple):
    """A label's head and its index there."""

    head: str
    position: int


def place_of(label: str, heads: Mapping[str, tuple[str, ...]]) -> LabelPlace | str:
    """Where a label stands, or the reason why it cannot be scored.

    A label is "head/label", or the label alone where only one head has it.
    """
    head, _, rest = label.partition("/")
    if rest and head in heads and rest in heads[head]:
        return LabelPlace(head, heads[head].index(rest))
    places = [LabelPlace(head, labels.index(label)) for head, labels in heads.items() if label in labels]
    if len(places) == 1:
        return places[0]
    if places:
        heads_with_it = ", ".join(place.head for place in places)
        return f"label {label!r} is in several heads of the classifier: {heads_with_it}"
    return f"the classifier has no label {label!r}"


def softmax(logits: Any) -> Probabilities:
    """Probabilities [n, labels] in float64 from logits of any float type (tensor or array)."""
    array = logits.detach().float().cpu() if hasattr(logits, "detach") else logits
    values = np.asarray(array, dtype=np.float64)
    exponents = np.exp(values - values.max(axis=1, keepdims=True))
    probabilities: Probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    return probabilities


def distributions(output: Any, is_logits: bool, option: str) -> Probabilities:
    """Probabilities [n, labels] in float64 of what a network gives: logits, or probabilities as they are.

    Raises BenchError, with the `option` that says which of the two, where it is plainly the other: of a
    softmax taken twice every label is about as probable, as if nothing were seen. Rows that are not finite
    stay so.
    """
    values = np.asarray(output, dtype=np.float64)
    rows = values[np.isfinite(values).all(axis=1)]
    off = np.where((rows >= 0).all(axis=1), np.abs(rows.sum(axis=1) - 1.0), np.inf)
    between = ((rows > 0) & (rows < 1)).any()
    if is_logits and len(rows) and (off < 1e-4).all() and between:
        raise BenchError(f"the classifier gives probabilities and no logits ({option}=probabilities)")
    if not is_logits and (off > _OF_HALF_PRECISION).any():
        wrong = rows[off.argmax()]
        raise BenchError(
            f"the classifier gives no probabilities: {wrong.min():g} to {wrong.max():g}, together "
            f"{wrong.sum():g} ({option}=logits)"
        )
    return softmax(values) if is_logits else values


_OF_HALF_PRECISION = 1e-2
"""What rounded probabilities may lack of 1 together."""


def entropy(probabilities: Probabilities) -> float:
    """−Σ p ln p in nats of one distribution [labels]; 0 ln 0 = 0."""
    present = probabilities[probabilities > 0]
    return float(max(0.0, -(present * np.log(present)).sum()))


def checked_heads(heads: Mapping[str, Sequence[str]], where: object) -> dict[str, tuple[str, ...]]:
    """Heads with their labels; a head without labels or with a repeated one is refused."""
    checked = {str(head): tuple(labels) for head, labels in heads.items()}
    for head, labels in checked.items():
        texts = all(isinstance(label, str) for label in labels)
        if not labels or not texts or len(set(labels)) != len(labels):
            raise BenchError(f"{where}: head {head!r} needs distinct label texts")
    if not checked:
        raise BenchError(f"{where}: no labels")
    return checked
