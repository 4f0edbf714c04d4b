"""Batches that teach a generative model to forget some examples and to remember others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

import torch
from torch import Generator, Tensor

from erasure_bench.methods.machinery.lots import integers
from erasure_bench.models.generative import Condition, GenerativeModel


@dataclass(frozen=True)
class Examples(Generic[Condition]):
    """Examples [n, …], and for each of them the conditions that it may be trained under."""

    examples: Tensor
    conditions: Sequence[tuple[Condition, ...]]

    @classmethod
    def joined(cls, parts: Sequence["Examples[Condition]"]) -> "Examples[Condition]":
        """All of the parts' examples."""
        conditions = [several for part in parts for several in part.conditions]
        return cls(torch.cat([part.examples for part in parts]), conditions)

    def draw(self, count: int, generator: Generator) -> tuple[Tensor, list[Condition]]:
        """`count` examples drawn with replacement, each with one of its conditions; all uniform."""
        rows = integers(generator, 0, len(self.examples), count)
        turns = torch.rand(count, generator=generator, dtype=torch.float64).tolist()
        choices = [self.conditions[row] for row in rows]
        return self.examples[rows], [
            choice[int(turn * len(choice))] for choice, turn in zip(choices, turns, strict=True)
        ]


class Lesson(NamedTuple):
    """Examples [n, …], encoded conditions [n, …], ELBO terms [n], noise [n, …] and loss weights [n]."""

    examples: Tensor
    encoded: Tensor
    terms: Tensor
    noise: Tensor
    weights: Tensor


def lessons(
    model: GenerativeModel[Condition],
    forgotten: Examples[Condition],
    remembered: Examples[Condition] | None,
    *,
    batch_size: int,
    forget_weight: float,
    replay_weight: float,
    generator: Generator,
    shared_terms: bool = False,
    summed: bool = False,
) -> Iterator[Lesson]:
    """Batches without end: `batch_size` examples to forget, then as many to remember, if any.

    Every example has its own term and noise; with `shared_terms` each remembered one has the term of a
    forgotten one. The weights make the weighted sum of the losses the mean over the forgotten times
    `forget_weight` plus the mean over the remembered times γ, or with `summed` the sums over them.
    """
    parts = [(forgotten, forget_weight)]
    if remembered is not None:
        parts.append((remembered, replay_weight))
    share = 1 if summed else batch_size
    weights = torch.tensor([weight / share for _, weight in parts for _ in range(batch_size)])
    while True:
        drawn = [part.draw(batch_size, generator) for part, _ in parts]
        examples = torch.cat([rows for rows, _ in drawn])
        encoded = model.encode_conditions([condition for _, conditions in drawn for condition in conditions])
        count = batch_size if shared_terms else len(examples)
        terms = torch.randint(model.terms, (count,), generator=generator).repeat(len(examples) // count)
        yield Lesson(examples, encoded, terms, model.noise_for(examples, generator), weights)


def losses(
    model: GenerativeModel[Condition], lesson: Lesson, micro_batch: int | None = None
) -> Iterator[Tensor]:
    """The weighted sum of the lesson's ELBO losses, as one summand for each micro-batch; None is one."""
    count = len(lesson.examples)
    size = micro_batch or count
    for start in range(0, count, size):
        part = slice(start, start + size)
        elbo = model.elbo_loss(
            lesson.examples[part], lesson.encoded[part], lesson.terms[part], lesson.noise[part]
        )
        yield (lesson.weights[part].to(elbo) * elbo).sum()
