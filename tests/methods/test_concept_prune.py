"""ConceptPrune: the skilled weights are those that a plain recomputation finds, and nothing else changes."""

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.concept_prune import ConceptPrune, second_matrices, skilled
from erasure_bench.methods.machinery.trajectories import trajectories
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(
    name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", anchor_prompts=("a cat", "cat at sea")
)
TINY = {"images": 3, "denoise_steps": 3, "skilled_steps": 2, "row_share": 0.1}


def test_the_mask_is_wandas_by_sorting_every_row():
    generator = np.random.default_rng(0)
    weight = generator.normal(size=(5, 20))
    target, anchor = np.abs(generator.normal(size=(2, 3, 20)))
    wanted = np.zeros_like(weight, dtype=bool)
    for step in range(3):
        for row in range(5):
            score = np.abs(weight[row]) * target[step]
            other = np.abs(weight[row]) * anchor[step]
            for place in np.argsort(-score)[:4]:
                wanted[row, place] |= score[place] > other[place]
    found = skilled(*(torch.tensor(each) for each in (weight, target, anchor)), 0.2)
    assert np.array_equal(found.numpy(), wanted)
    assert 0 < wanted.sum() < 5 * 20


@pytest.mark.parametrize("rows", ["conditional", "both"])
@pytest.mark.parametrize("unit", [False, True])
def test_norms_are_those_of_the_layers_inputs(tiny_model, rows, unit):
    """Against the same latents asked once more, one by one, with the prompt and, where it counts, without."""
    method = ConceptPrune(**TINY, rows=rows, unit_positions=unit)
    prompts, seeds = ["a grumpy cat", "grumpy cat at sea"], [3, 4]
    found = method.norms(tiny_model, prompts, seeds)
    visited = trajectories(tiny_model, prompts, seeds, steps=3, guidance_scale=7.5)
    layers = second_matrices(tiny_model.unet)
    squares = {name: np.zeros((2, layer.in_features)) for name, layer in layers.items()}

    def told(name, step, inputs):
        inputs = inputs.double().numpy()
        if unit:
            inputs = inputs / np.sqrt((inputs**2).sum(-1, keepdims=True))
        squares[name][step] += (inputs**2).sum(0)

    for step in range(2):
        for row, prompt in enumerate(prompts):
            hooks = [
                layer.register_forward_pre_hook(
                    lambda module, given, name=name, step=step: told(name, step, given[0][0])
                )
                for name, layer in layers.items()
            ]
            at = visited[step].latents[row : row + 1], visited[step].timestep
            with torch.no_grad():
                for asked in (prompt,) if rows == "conditional" else (prompt, ""):
                    tiny_model.predict_noise(*at, asked)
            for hook in hooks:
                hook.remove()
    for name, norms in found.items():
        np.testing.assert_allclose(norms.numpy(), np.sqrt(squares[name]), rtol=1e-4)


def test_only_skilled_weights_become_zero(tiny_model):
    before = {name: tensor.detach().clone() for name, tensor in tiny_model.named_tensors().items()}
    edit = ConceptPrune(**TINY).erase(tiny_model, [CAT], EraseContext())
    assert edit.tensors and all(name.endswith("ff.net.2.weight") for name in edit.tensors)
    for name, tensor in edit.tensors.items():
        changed = tensor != before[name]
        assert (tensor[changed] == 0).all()
        assert 0 < changed.sum(1).max() <= 2 * int(0.1 * tensor.shape[1]), "at most the share a step"


def test_impossible_shares_and_steps_are_refused():
    with pytest.raises(BenchError, match="at most all"):
        ConceptPrune(skilled_steps=51)
    with pytest.raises(BenchError, match="row_share=2"):
        ConceptPrune(row_share=2.0)
