"""Labels that ask several questions about one picture: conjunctions, and alternatives of them.

`left/grumpy cat & right/boat & right colour/red` asks that all of it holds; in
`left/cat & right/boat | left/boat & right/cat` either side of the bar will do. Each part is a label as
`labelled_classifier.place_of` reads it; heads are taken to answer independently of each other.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from erasure_bench.evaluators.labelled_classifier import Probabilities, entropy, place_of

AND, OR = " & ", " | "
MOST_ALTERNATIVES = 8
"""Inclusion–exclusion doubles its work with each alternative."""
Answers = Mapping[str, int]
"""For each head that is asked, the index of the label that is wanted there."""


@dataclass(frozen=True)
class WantedAnswers:
    """What a label asks of a classifier: one of `alternatives` holds, each of which names some heads."""

    alternatives: tuple[Answers, ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that are asked, each once, in the label's order."""
        return tuple(dict.fromkeys(head for answers in self.alternatives for head in answers))

    def probability(self, seen: Mapping[str, Probabilities]) -> float:
        """That some alternative holds, in [0, 1]: a product over heads, alternatives by inclusion–exclusion.

        `seen` has one distribution [labels] for each head.
        """
        total = 0.0
        for count in range(1, len(self.alternatives) + 1):
            for chosen in combinations(self.alternatives, count):
                if (together := _joined(chosen)) is not None:
                    sign = -1 if count % 2 == 0 else 1
                    total += sign * math.prod(float(seen[head][place]) for head, place in together.items())
        return min(1.0, max(0.0, total))

    def all_right(self, seen: Mapping[str, Probabilities], most: int = 1) -> bool:
        """Whether of some alternative every head's wanted label is among its `most` most probable ones."""
        return any(
            all(_rank(seen[head], place) < most for head, place in answers.items())
            for answers in self.alternatives
        )

    def entropy(self, seen: Mapping[str, Probabilities]) -> float:
        """Of the answers of all heads that are asked, in nats."""
        return sum(entropy(seen[head]) for head in self.heads)


def wanted_answers(label: str, heads: Mapping[str, tuple[str, ...]]) -> WantedAnswers | str:
    """What `label` asks of a classifier with these heads, or in one line why it cannot be asked.

    A label that some head has as it is written is that label, whatever signs it holds.
    """
    if not isinstance(whole := place_of(label, heads), str):
        return WantedAnswers(({whole.head: whole.position},))
    if AND.strip() not in label and OR.strip() not in label:
        return whole
    texts = label.split(OR)
    if len(texts) > MOST_ALTERNATIVES:
        return (
            f"label {label[:40]!r}… has {len(texts)} alternatives, at most {MOST_ALTERNATIVES} can be asked"
        )
    alternatives = []
    for alternative in texts:
        answers = _conjunction(alternative, heads)
        if isinstance(answers, str):
            return f"label {label!r}: {answers}"
        alternatives.append(answers)
    return WantedAnswers(tuple(alternatives))


def _conjunction(text: str, heads: Mapping[str, tuple[str, ...]]) -> Answers | str:
    answers: dict[str, int] = {}
    for part in map(str.strip, text.split(AND)):
        if not part or part.startswith(_SIGNS) or part.endswith(_SIGNS):
            return f"a part is empty; write HEAD/LABEL{AND}HEAD/LABEL, and{OR}between alternatives"
        place = place_of(part, heads)
        if isinstance(place, str):
            return place
        if answers.setdefault(place.head, place.position) != place.position:
            return f"two labels of the head {place.head!r} cannot both hold; put{OR}between alternatives"
    return answers


_SIGNS = (AND.strip(), OR.strip())


def _rank(probabilities: Probabilities, place: int) -> int:
    """How many labels are more probable than the one at `place`; of equals the first goes before."""
    own = probabilities[place]
    return int((probabilities > own).sum() + (probabilities[:place] == own).sum())


def _joined(several: tuple[Answers, ...]) -> dict[str, int] | None:
    """All of them at once; None where they ask one head for two labels."""
    together: dict[str, int] = {}
    for head, place in _items(several):
        if together.setdefault(head, place) != place:
            return None
    return together


def _items(several: tuple[Answers, ...]) -> Iterator[tuple[str, int]]:
    return (item for answers in several for item in answers.items())
