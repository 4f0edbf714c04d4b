"""Pairs are found by prompt and noise; one that cannot be measured spoils no other."""

from collections.abc import Sequence

import numpy as np
import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.measuring import Failure, Pair, measure_pairs
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="dog")


def plain(shade: int, height: int = 8) -> Pixels:
    return np.full((height, 8, 3), shade, np.uint8)


def images(*pictures: tuple[str, int, Pixels]) -> ImageSet:
    prompts = (
        Picture(Prompt(id=name, text="a dog", role="retention", subject="dog"), index, pixels)
        for name, index, pixels in pictures
    )
    return ImageSet(CONCEPT, tuple(prompts))


def differences(pairs: Sequence[Pair]) -> list[int]:
    if any(pair.own.max() == 13 for pair in pairs):
        raise RuntimeError("13")
    return [int(own.max()) - int(base.max()) for own, base in pairs]


@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_each_is_measured_beside_its_own_counterpart(batch_size: int) -> None:
    own = images(("a", 0, plain(9)), ("a", 1, plain(13)), ("b", 0, plain(7, 9)), ("c", 0, plain(5)))
    base = images(("c", 0, plain(1)), ("b", 0, plain(2, 9)), ("a", 1, plain(3)), ("a", 0, plain(4)))

    found = [result for _, result in measure_pairs(own, base, batch_size, differences)]

    assert found == [5, Failure("RuntimeError: 13"), 5, 4]


def test_what_has_no_counterpart_says_so() -> None:
    broken = np.zeros((8, 8), np.uint8)
    own = images(("a", 0, plain(9)), ("b", 0, plain(9)), ("c", 0, broken), ("d", 0, plain(9)))
    base = images(("b", 0, plain(1, 4)), ("c", 0, plain(1)), ("d", 0, broken))

    reasons = [result for _, result in measure_pairs(own, base, 3, differences)]

    assert reasons == [
        Failure("the base model's picture is missing"),
        Failure("8×8 pixels, the base model’s picture 8×4"),
        Failure("pixels have shape [8, 8], not [height, width, 3]"),
        Failure("the base model's picture: pixels have shape [8, 8], not [height, width, 3]"),
    ]


def test_a_mistake_of_the_users_is_passed_on() -> None:
    def lacking(pairs: Sequence[Pair]) -> list[int]:
        raise BenchError("no weights")

    with pytest.raises(BenchError, match="no weights"):
        list(measure_pairs(images(("a", 0, plain(1))), images(("a", 0, plain(1))), 1, lacking))
