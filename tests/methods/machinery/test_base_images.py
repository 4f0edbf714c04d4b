"""Pictures of the base model: drawing that was interrupted goes on, to the same bits."""

import pytest
import torch

from erasure_bench.methods.base import EraseContext, NoCache
from erasure_bench.methods.machinery.base_images import Drawing, base_images
from erasure_bench.methods.machinery.interruption import Interrupting, Interruption

PROMPTS = ("a grumpy cat", "a dog", "a cup of tea", "a cat", "a dog", "a tree", "snow")
DRAWING = Drawing(scheduler="ddim", steps=2, guidance_scale=3.0)


class Kept(NoCache):
    """A cache that has everything made anew, with these checkpoints."""

    def __init__(self, checkpoints):
        self.kept = checkpoints

    def checkpoints(self, maker, key):
        return self.kept


def test_pictures_that_were_interrupted_end_in_the_same_bits(tiny_model):
    def draw(checkpoints=None, told=None):
        context = EraseContext(
            cache=Kept(checkpoints) if checkpoints else NoCache(),
            prepared=[].append if told is None else told.append,
        )
        return base_images(tiny_model, PROMPTS, context, DRAWING, batch_size=2)

    undisturbed = draw()
    checkpoints, told = Interrupting(after=2), []
    with pytest.raises(Interruption):
        draw(checkpoints)
    resumed = draw(checkpoints.resumed(), told)
    assert [preparation.made for preparation in told] == [6, 7], "four were there"
    assert torch.equal(resumed, undisturbed)
