"""A base and one without a class are trained by one loop, from fresh weights and on what is given."""

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.teaching import taught, teach, timesteps
from erasure_bench.methods.retrain import Retrain
from erasure_bench.models.conditional.folder import build
from erasure_bench.models.conditional.recipes import Recipe
from erasure_bench.models.conditional.tiny import RECIPES, tiny_class_model, tiny_pictures
from erasure_bench.prompt_suites.concepts import Concept

KINDS = ("ddpm", "vae")


def concept(name: str) -> Concept:
    return Concept(name=name, kind="object", targets=(name,), anchor="dot")


@pytest.mark.parametrize("kind", KINDS)
def test_a_retraining_is_the_bases_training_without_the_class(kind) -> None:
    model = tiny_class_model(kind)
    before = {name: tensor.clone() for name, tensor in model.named_tensors().items()}
    recipe, parts = RECIPES[kind], tiny_pictures()
    edit = Retrain().erase(model, [concept("ring")], EraseContext(seed=3, training_data=tiny_pictures))
    same = teach(model, parts.train.of([1, 2]), recipe, EraseContext(seed=3))
    whole = teach(model, parts.train, recipe, EraseContext(seed=3))

    assert edit.losses == tuple(same.losses) != tuple(whole.losses)
    assert edit.tensors.keys() == same.tensors.keys()
    assert all(torch.equal(tensor, same.tensors[name]) for name, tensor in edit.tensors.items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.named_tensors().items())
    assert not any(module.training for module in next(iter(model.parts.values())).modules())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_base_is_in_what_is_trained_anew(kind) -> None:
    """Not in the weights, nor in their average: a reference that still knew the class would be none."""
    parts, recipe = tiny_pictures(), RECIPES[kind]
    model, other = tiny_class_model(kind), tiny_class_model(kind)
    with torch.no_grad():
        for tensor in other.named_tensors().values():
            tensor.fill_(7.0)
    trained, again = (teach(each, parts.train, recipe, EraseContext()) for each in (model, other))
    assert trained.losses == again.losses
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in trained.tensors.items())


def test_the_average_forgets_fresh_weights() -> None:
    """d_n = min(d, (1 + n) / (10 + n)), from the first step: by hand, from the weights after each step."""
    recipe = RECIPES["ddpm"]
    parts, model = tiny_pictures(), tiny_class_model("ddpm")
    (part,) = model.parts
    expected = {f"{part}.{name}": tensor for name, tensor in build(model.description, 0).state_dict().items()}
    for step in range(recipe.steps):
        upto = teach(
            model,
            parts.train,
            recipe.model_copy(update={"steps": step + 1, "ema_decay": 0.0}),
            EraseContext(),
        )
        decay = min(recipe.ema_decay, (1 + step) / (10 + step))
        expected = {
            name: decay * old + (1 - decay) * upto.tensors.get(name, old) for name, old in expected.items()
        }
    averaged = teach(model, parts.train, recipe, EraseContext()).tensors
    for name, tensor in averaged.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_dropout_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    teach(tiny_class_model("ddpm"), tiny_pictures().train, RECIPES["ddpm"], EraseContext())
    assert torch.equal(before, torch.get_rng_state())


def test_antithetic_timesteps_come_in_pairs() -> None:
    drawn = timesteps(1000, 8, True, torch.Generator().manual_seed(0))
    assert (drawn[:4] + drawn[4:]).tolist() == [999] * 4
    assert len(timesteps(1000, 7, True, torch.Generator().manual_seed(0))) == 7


def test_what_cannot_be_retrained_says_so() -> None:
    model = tiny_class_model("vae")
    context = EraseContext(training_data=tiny_pictures)
    with pytest.raises(BenchError, match="nothing is left"):
        Retrain().erase(model, [concept(name) for name in model.classes], context)
    with pytest.raises(BenchError, match="not known"):
        Retrain().erase(model, [concept("ring")], EraseContext())
    model.description = model.description.model_copy(update={"recipe": None})
    with pytest.raises(BenchError, match="written down"):
        Retrain().erase(model, [concept("ring")], context)


def test_a_recipe_may_take_the_held_out_pictures_as_well() -> None:
    parts = tiny_pictures()
    both = Recipe(steps=1, batch_size=1, learning_rate=1.0, everything=True)
    assert len(taught(parts, both).labels) == 39
    assert len(taught(parts, RECIPES["vae"]).labels) == 30
