"""The words that a prompt shares with its twin, which names the anchor, and those that it has for itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Alike(NamedTuple):
    """How a prompt and its twin agree, in tokens, start and end included.

    They begin with `before` equal tokens, and from `after` in the one and `after_twin` in the other on they
    are the same again, for `last` tokens until the end token. `words` is what is between: the concept's own.
    """

    before: int
    after: int
    after_twin: int
    last: int
    words: slice

    @classmethod
    def of(cls, tokenizer: Any, prompt: str, twin: str) -> "Alike":
        """A prompt that only leaves something out of its twin has all of its words for its own."""
        one, other = (own_tokens(tokenizer, text) for text in (prompt, twin))
        before = _equal(one, other)
        last = min(_equal(one[::-1], other[::-1]), min(len(one), len(other)) - before)
        after, after_twin = 1 + len(one) - last, 1 + len(other) - last
        own = slice(1 + before, after) if before + last < len(one) else slice(1, 1 + len(one))
        return cls(1 + before, after, after_twin, last, own)

    def places(self, length: int | None) -> tuple[list[int], list[int]]:
        """Where the equal tokens are in the one and in the other.

        With a `length` of the embeddings those of the end and the padding are among them, as many as both
        have.
        """
        count = self.last if length is None else length - max(self.after, self.after_twin)
        common = [*range(self.before)]
        return (
            [*common, *range(self.after, self.after + count)],
            [*common, *range(self.after_twin, self.after_twin + count)],
        )


def own_tokens(tokenizer: Any, text: str) -> list[int]:
    """The ids of a text's tokens that fit, without start and end."""
    encoded = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length)
    return list(encoded.input_ids)[1:-1]


def _equal(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with in common."""
    pairs = zip(one, other, strict=False)
    return next(
        (place for place, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other))
    )


def places(chosen: slice, length: int) -> Tensor:
    """[length], true in the slice."""
    found = torch.zeros(length, dtype=torch.bool)
    found[chosen] = True
    return found
