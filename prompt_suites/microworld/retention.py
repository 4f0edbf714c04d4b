"""What a suite's concepts have nothing to do with: things, and their numbers, colours and places."""

from collections.abc import Sequence

from erasure_bench.prompt_suites.microworld.arrangements import colours, counts, positions
from erasure_bench.prompt_suites.microworld.building import RETENTION
from erasure_bench.prompt_suites.microworld.prompts import in_proportion, sentences_on_each
from erasure_bench.prompt_suites.microworld.vocabulary import COLOURABLE, OBJECTS
from erasure_bench.prompt_suites.suite import Prompt

OF_EACH = 12
_MOST_SHARES = 4

Retention = tuple[tuple[Prompt, ...], ...]
"""Retention prompts by what they ask for."""


def retention(
    names: Sequence[str],
    *,
    counted: Sequence[str],
    placed: Sequence[str],
    coloured: Sequence[str] = (),
) -> Retention:
    """`RETENTION` prompts: sentences on `names`, and `OF_EACH` of every arrangement.

    `counted` names are asked for in numbers, `coloured` ones in colours, `placed` ones two by two.
    """
    arranged = (
        counts(counted, "retention", OF_EACH),
        *([colours(coloured, "retention", OF_EACH)] if coloured else ()),
        positions(placed, "retention", OF_EACH),
    )
    alone = RETENTION - sum(map(len, arranged))
    return (sentences_on_each(names, "retention", alone)[:alone], *arranged)


def of_things(names: Sequence[str]) -> Retention:
    """Sentences on `names`; the arrangements are of plain objects."""
    coloured = tuple(name for name in OBJECTS if name in COLOURABLE)
    return retention(names, counted=OBJECTS, placed=OBJECTS, coloured=coloured)


def shares(whole: Retention, concepts: int) -> tuple[tuple[Prompt, ...], ...]:
    """For each of the concepts its share of the prompts, a mixture of all that they ask for.

    Two or three concepts have the same share; a concept alone has the whole.
    """
    count = min(_MOST_SHARES, max(1, concepts // 2))
    made = [in_proportion([_part(prompts, number, count) for prompts in whole]) for number in range(count)]
    return tuple(made[number % count] for number in range(concepts))


def _part(prompts: Sequence[Prompt], number: int, count: int) -> Sequence[Prompt]:
    """Part `number` of `count` parts of equal size, the rest being the last one's."""
    each = len(prompts) // count
    return prompts[number * each : None if number == count - 1 else (number + 1) * each]
