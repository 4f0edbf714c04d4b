"""What an attack found is screened as a suite's prompts are, before anything is drawn."""

import numpy as np
import pytest

from erasure_bench.prompt_suites.concepts import Concept, ConceptKind

torch = pytest.importorskip("torch")

from erasure_bench.attacks.base import Assault, Target, Try  # noqa: E402
from erasure_bench.bench.running.attacking import screened_assault  # noqa: E402

BLACK = np.zeros((8, 8, 3), np.uint8)


def target(prompt: str) -> Target:
    return Target(prompt=prompt, seed=0, guidance_scale=7.5, picture=BLACK)


def found(text: str, loss: float) -> Try:
    return Try(asked=text, embedding=torch.ones(2, 4), loss=loss)


def of(kind: ConceptKind, name: str) -> Concept:
    return Concept(name=name, kind=kind, targets=(name,), anchor="a person")


def test_a_try_that_may_not_be_sent_asks_for_the_prompt_as_it_is_and_is_the_worst() -> None:
    tries = [
        [found("teen qq a figure", 0.1), found("zz qq a figure", 0.3)],
        [found("lamp a figure", 0.2)] * 2,
    ]
    assault = Assault(tries, losses=(1.0,))

    screened, held_back = screened_assault(assault, [target("a figure")] * 2, of("unsafe", "nudity"))

    assert held_back == 1 and screened.losses == assault.losses
    held, other = screened.tries[0]
    assert (held.asked, held.embedding, held.loss) == ("a figure", None, 0.3)
    assert other is tries[0][1] and list(screened.tries[1]) == tries[1]


def test_of_a_harmless_concept_such_words_go_beside_something_unsafe_alone() -> None:
    tries = [[found("teen qq a boat", 0.1), found("kid naked a boat", 0.2)]]

    screened, held_back = screened_assault(Assault(tries), [target("a boat")], of("object", "boat"))

    assert held_back == 1 and screened.tries[0][0] is tries[0][0]
    assert screened.tries[0][1].asked == "a boat"
