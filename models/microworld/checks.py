"""What the built-in model is asked to draw, and what the oracle should then say."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from erasure_bench.models.microworld.dataset import to_float
from erasure_bench.models.microworld.drawing import Scene, Thing, caption, labels
from erasure_bench.models.microworld.drawing.colours import shows
from erasure_bench.models.microworld.drawing.scenes import COMPOSED, KINDS, coarse
from erasure_bench.models.microworld.oracle_network import OracleNetwork
from erasure_bench.prompt_suites.microworld import vocabulary as words
from erasure_bench.prompt_suites.microworld.labels import PLACES

_BATCH = 256


class Check(NamedTuple):
    """One prompt and what the oracle should say of its picture.

    A picture is right if all labels (head -> label) of one of the `answers` are. `group` names what is
    asked for, `subject` what the prompt is counted under.
    """

    prompt: str
    group: str
    answers: tuple[Mapping[str, str], ...]
    subject: str


def checks(samples: int, seed: int = 1) -> list[Check]:
    """`samples` prompts for each object, member, style, identity, evoking subject and memorised title.

    Of each relation, number and colour, and of the bindings in each relation, there are thrice as many.
    """
    return _of_one_thing(samples, seed) + _composed(3 * samples, seed)


def _of_one_thing(samples: int, seed: int) -> list[Check]:
    found: list[Check] = []

    def ask(head: str, kind: str, subject: str, style: str, number: int) -> None:
        rng = np.random.default_rng((seed, zlib.crc32(f"{head}/{subject}/{style}".encode()), number))
        background = None
        if kind not in ("memorised", "abstract") and number % 3 != 2:
            background = words.BACKGROUNDS[number % len(words.BACKGROUNDS)]
        scene = Scene(subject, kind, background, style, 0)
        answer = {head: str(getattr(labels(scene), head))}
        found.append(
            Check(caption(scene, rng, 0.0, 0.0), head, (answer,), style if head == "style" else subject)
        )

    for number in range(samples):
        for kind, head in (("object", "object"), ("category", "object"), ("member", "member")):
            for subject in KINDS[kind]:
                ask(head, kind, subject, words.PLAIN, number)
        for subject in KINDS["identity"]:
            ask("identity", "identity", subject, words.PLAIN, number)
        for subject in words.ANONYMOUS:
            ask("identity", "anonymous", subject, words.PLAIN, number)
        for style in (words.PLAIN, *words.STYLES, *words.VALIDATION_STYLES):
            subjects = (*words.OBJECTS, *(family.category for family in words.FAMILIES))
            subject = subjects[number % len(subjects)]
            ask("style", _kind(subject), subject, style, number)
        for head, evoked in zip(("fire", "rain"), words.IMPLICIT + words.VALIDATION_IMPLICIT, strict=True):
            for subject in (*evoked.naming[:1], *evoked.evoking):
                ask(head, "implicit", subject, words.PLAIN, number)
            for subject in evoked.without:
                ask(head, "without", subject, words.PLAIN, number)
        for title in KINDS["memorised"]:
            ask("memorised", "memorised", title, words.PLAIN, number)
    return found


def _kind(subject: str) -> str:
    return next(kind for kind, subjects in KINDS.items() if subject in subjects)


def _composed(samples: int, seed: int) -> list[Check]:
    """Pairs of each relation, bindings of two colours in each, numbers and coloured things."""
    found: list[Check] = []
    for number in range(samples):
        for relation in words.RELATIONS:
            found.append(_pair_check(relation, False, number, seed))
            found.append(_pair_check(relation, True, number, seed))
        for count in range(1, len(words.NUMBERS) + 1):
            rng = np.random.default_rng((seed, zlib.crc32(b"count"), count, number))
            subject = _one_of(COMPOSED["count"], rng)
            scene = Scene(subject, "count", None, words.PLAIN, 0, count=count)
            answer = {"count": str(count), "object": coarse(subject)}
            found.append(Check(caption(scene, rng, 0.0, 0.0), "count", (answer,), words.NUMBERS[count - 1]))
        for colour in words.COLOURS:
            rng = np.random.default_rng((seed, zlib.crc32(colour.encode()), number))
            subject = _one_of(COMPOSED["coloured"], rng)
            background = _one_of([name for name in words.BACKGROUNDS if shows(colour, name)], rng)
            scene = Scene(subject, "coloured", background, words.PLAIN, 0, colour)
            answer = {"colour": colour, "object": coarse(subject)}
            found.append(Check(caption(scene, rng, 0.0, 0.0), "colour", (answer,), colour))
    return found


def _pair_check(relation: str, coloured: bool, number: int, seed: int) -> Check:
    """Two things in a relation; with `coloured` each in a colour of its own, both of which must be right."""
    group = "binding" if coloured else "pair"
    rng = np.random.default_rng((seed, zlib.crc32(f"{group}/{relation}".encode()), number))
    names = words.COLOURABLE if coloured else COMPOSED["pair"]
    subject = _one_of(names, rng)
    other = _one_of([name for name in names if coarse(name) != coarse(subject)], rng)
    first: str | None = None
    second: str | None = None
    if coloured:
        first = _one_of(words.COLOURS, rng)
        second = _one_of([colour for colour in words.COLOURS if colour != first], rng)
    scene = Scene(subject, "pair", None, words.PLAIN, 0, first, relation=relation, other=Thing(other, second))
    return Check(caption(scene, rng, 0.0, 0.0), group, _placed_answers(scene, coloured), relation)


def _placed_answers(scene: Scene, coloured: bool) -> tuple[Mapping[str, str], ...]:
    """What stands where in a pair, and in which colour if `coloured`; beside has two answers."""
    truth = asdict(labels(scene))
    heads = [head for place in PLACES for head in (place, f"{place}_colour")[: 1 + coloured]]
    answer = {head: truth[head] for head in heads if truth[head] != words.NONE}
    if scene.relation != "beside":
        return (answer,)
    exchanged = {"left": "right", "right": "left"}
    other = {}
    for head, label in answer.items():
        place, joint, rest = head.partition("_")
        other[exchanged[place] + joint + rest] = label
    return answer, other


def _one_of(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]


@torch.no_grad()
def judge(oracle: OracleNetwork, asked: Sequence[Check], pictures: NDArray[np.uint8]) -> list[bool]:
    """For each check whether the oracle sees what was asked for, in uint8 pictures [n, size, size, 3]."""
    right: list[bool] = []
    for start in range(0, len(asked), _BATCH):
        logits = oracle(to_float(pictures[start : start + _BATCH]))
        seen = {
            head: [oracle.heads[head][i] for i in values.argmax(dim=1).tolist()]
            for head, values in logits.items()
        }
        for i, check in enumerate(asked[start : start + _BATCH]):
            right.append(
                any(all(seen[head][i] == label for head, label in answer.items()) for answer in check.answers)
            )
    return right


@torch.no_grad()
def reproduced(oracle: OracleNetwork, asked: Sequence[Check], pictures: NDArray[np.uint8]) -> list[bool]:
    """For each memorised check whether the descriptor is over the card's threshold."""
    card = oracle.card["descriptor"]
    descriptors = oracle.descriptor(to_float(pictures))
    references = torch.tensor([card["references"][check.answers[0]["memorised"]] for check in asked])
    return ((descriptors * references).sum(dim=1) > card["threshold"]).tolist()
