"""Whether an oracle binds colours to places: what passes, and what single heads would let pass."""

import numpy as np
import torch
from torch import Tensor

from erasure_bench.models.microworld import binding_report
from erasure_bench.models.microworld.binding_report import ASKED, draw_bindings
from erasure_bench.models.microworld.drawing import HEADS
from erasure_bench.models.microworld.oracle_report import Shown
from erasure_bench.prompt_suites.microworld.vocabulary import NONE

COUNT = 40
TURNED = {"left_colour": "right_colour", "right_colour": "left_colour", "top_colour": "bottom_colour"}
TURNED |= {"bottom_colour": "top_colour"}


class Told:
    """Says of the pictures in their order what it was told."""

    heads = HEADS

    def __init__(self, classes: dict[str, np.ndarray]) -> None:
        self.classes = classes

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        assert len(images) == COUNT
        return {head: torch.eye(len(HEADS[head]))[torch.from_numpy(of)] for head, of in self.classes.items()}


def test_a_binding_is_two_unlike_things_in_unlike_colours() -> None:
    labels = draw_bindings(COUNT, 3).labels
    for row in range(COUNT):
        things = {HEADS[p][labels[p][row]] for p in ASKED[:4]} - {NONE}
        colours = {HEADS[p][labels[p][row]] for p in ASKED[4:]} - {NONE}
        assert len(things) == len(colours) == 2


def test_an_oracle_that_turns_the_colours_round_binds_nothing() -> None:
    pictures = draw_bindings(COUNT, 3)
    shown = Shown.of(pictures, pictures.on("cpu"))
    assert binding_report._share(Told(pictures.labels), shown)["share"] == 1
    turned = {head: pictures.labels[TURNED.get(head, head)] for head in HEADS}
    assert binding_report._share(Told(turned), shown)["share"] == 0
    one_wrong = {head: of.copy() for head, of in pictures.labels.items()}
    one_wrong["left"][7] = (one_wrong["left"][7] + 1) % len(HEADS["left"])
    assert binding_report._share(Told(one_wrong), shown)["share"] == 1 - 1 / COUNT
