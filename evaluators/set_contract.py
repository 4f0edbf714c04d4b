"""What every evaluator of sets promises, as checks that can be run on any, a user's own included."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.contract import SAME, Rehearsal, made_up, protocol_is_json, refuses_mistakes
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.sets import (
    FeatureSet,
    Vectors,
    checked_statistics,
    features_of,
    without_each,
)
from erasure_bench.foreign.checks import Broken, Check, NotAsked, tried

PICTURES, OF_A_PROMPT = 24, 3
Found = Mapping[str, float | Failure]


class SetRehearsal(Rehearsal):
    """Features and statistics by one evaluator, of pictures and of others that a base model might draw."""

    @cached_property
    def drawings(self) -> list[Pixels]:
        """As many as `PICTURES`, of two sizes."""
        return [made_up(number, self.trial.side) for number in range(PICTURES)]

    @cached_property
    def vectors(self) -> list[Vectors | Failure]:
        """Their features."""
        return self.features(self.drawings)

    @cached_property
    def sets(self) -> tuple[FeatureSet, FeatureSet]:
        """The pictures and a reference of as many, three to a prompt."""
        others = self.features([made_up(number + PICTURES, self.trial.side) for number in range(PICTURES)])
        return _set(self.vectors), _set(others)

    def prepare(self) -> None:
        """Has it load its network, whose layers may draw what they begin with."""
        super().prepare()
        self.generators_used = ""

    def features(self, pixels: Sequence[Pixels]) -> list[Vectors | Failure]:
        """What the extractor gives; its pictures are copies."""
        shown = [picture.copy() for picture in pixels]
        with self._watched():
            found = features_of(self.evaluator, shown)
        self.painted |= any(not np.array_equal(*pair) for pair in zip(shown, pixels, strict=True))
        return found

    def statistics(self, pictures: FeatureSet, reference: FeatureSet | None) -> Found:
        """Checked; raises BenchError where one does not fit."""
        with self._watched():
            return checked_statistics(self.evaluator, self.metrics, pictures, reference)


def check_set_contract(rehearsal: SetRehearsal) -> Iterator[Check]:
    """The checks of `SET_CHECKS` one by one; where no picture has features the others are skipped."""
    module = sys.modules.get(type(rehearsal.evaluator).__module__)
    yield from tried(SET_CHECKS, rehearsal, getattr(module, "__file__", None))


def _set(vectors: Sequence[Vectors | Failure]) -> FeatureSet:
    known = [(place, row) for place, row in enumerate(vectors) if not isinstance(row, Failure)]
    values = np.stack([row for _, row in known])
    return FeatureSet(values, np.array([place // OF_A_PROMPT for place, _ in known], dtype=np.int64))


def _gives_features(at: SetRehearsal) -> None:
    at.prepare()
    if failed := [row for row in at.vectors if isinstance(row, Failure)]:
        raise Broken(f"{len(failed)} of {PICTURES} pictures have no features: {failed[0].reason}")


def _gives_statistics(at: SetRehearsal) -> None:
    found = at.statistics(*at.sets)
    reasons = [value.reason for value in found.values() if isinstance(value, Failure)]
    if len(reasons) == len(found):
        raise Broken(f"no statistic of {PICTURES} pictures beside as many: {reasons[0]}")


def _leaves_all_alone(at: SetRehearsal) -> None:
    if at.left_changed:
        raise Broken(f"left changed: {', '.join(dict.fromkeys(at.left_changed))}")
    if at.generators_used:
        raise Broken(f"drew from or seeded {at.generators_used}: use a generator of its own")
    if at.painted:
        raise Broken("it changes the pixels that it is shown")


def _knows_no_batch(at: SetRehearsal) -> None:
    for picture, row in zip(at.drawings, at.vectors, strict=True):
        (alone,) = at.features([picture])
        _same_vector(row, alone, "alone")


def _survives_a_broken_picture(at: SetRehearsal) -> None:
    empty = np.zeros((0, at.trial.side, 3), np.uint8)
    broken, *others = at.features([empty, *at.drawings[1:]])
    if not isinstance(broken, Failure):
        raise Broken("a picture without pixels has features instead of a reason why not")
    for row, other in zip(at.vectors[1:], others, strict=True):
        _same_vector(row, other, "beside a broken one")


def _is_deterministic(at: SetRehearsal) -> None:
    one, other = at.statistics(*at.sets), at.statistics(*at.sets)
    for name, value in one.items():
        if not isinstance(value, Failure) and value != other[name]:
            raise Broken(f"{name} is {value!r}, but {other[name]!r} a second time")


def _has_a_reason_where_there_is_nothing(at: SetRehearsal) -> None:
    pictures, reference = at.sets
    none = FeatureSet(pictures.values[:0], pictures.prompts[:0])
    for one, other in ((pictures, none), (none, reference)):
        for name, value in at.statistics(one, other).items():
            if not isinstance(value, Failure) and len(one) == 0:
                raise Broken(f"{name} of no pictures is {value:g} instead of a Failure with the reason")
            if not isinstance(value, Failure) and at.statistics(one, None)[name] != value:
                raise Broken(f"{name} beside an empty reference is {value:g} instead of a Failure")
    at.statistics(*(FeatureSet(each.values[:1], each.prompts[:1]) for each in at.sets))


def _needs_no_reference(at: SetRehearsal) -> None:
    pictures, _ = at.sets
    without_each(at.evaluator, at.statistics(pictures, None), pictures, None, [int(pictures.prompts[0])])


def _leaves_prompts_out(at: SetRehearsal) -> None:
    if not hasattr(at.evaluator, "without_each"):
        raise NotAsked("it has none of its own")
    prompts = sorted({*map(int, at.sets[0].prompts)})
    found = at.statistics(*at.sets)
    for prompt, each in enumerate(prompts):
        left = without_each(at.evaluator, found, *at.sets, [each])
        anew = at.statistics(at.sets[0].without(each), at.sets[1].without(each))
        for name, values in left.items():
            value = anew[name]
            if not isinstance(value, Failure) and not np.allclose(values[0], value, rtol=1e-3, atol=1e-5):
                raise Broken(f"{name} without prompt {prompt} is {values[0]:g}, computed anew {value:g}")


def _same_vector(one: Vectors | Failure, other: Vectors | Failure, how: str) -> None:
    if isinstance(one, Failure) or isinstance(other, Failure):
        if isinstance(one, Failure) != isinstance(other, Failure):
            raise Broken(f"a picture has features, or none {how}")
        return
    size = max(1.0, float(np.abs(one).max()))
    if (furthest := float(np.abs(one - other).max())) > SAME * size:
        raise Broken(f"a picture's features differ by {furthest:g} {how}")


SET_CHECKS: dict[str, Callable[[SetRehearsal], None]] = {
    "gives every picture its features": _gives_features,
    "gives statistics, within bounds": _gives_statistics,
    "same features alone and together": _knows_no_batch,
    "a broken picture has none and spoils no other": _survives_a_broken_picture,
    "same sets, same statistics": _is_deterministic,
    "no pictures, a reason and no value": _has_a_reason_where_there_is_nothing,
    "what needs no reference does without": _needs_no_reference,
    "its prompts left out are those left out": _leaves_prompts_out,
    "leaves the process and the pictures alone": _leaves_all_alone,
    "a protocol of plain values that stays": protocol_is_json,
    "refuses mistakes in one line": refuses_mistakes,
}
"""Every promise by name, in the order in which they are tried."""
