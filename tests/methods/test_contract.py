"""What every registered method promises, on the tiny model, from one table of tiny settings."""

import math

import pytest
import torch

from methods.base import EraseContext, Progress
from methods.edit import Edit, applied
from methods.registry import METHODS, build_method, method_card
from models.sampling import sample_latents
from models.weights import changed_tensors, snapshot
from prompt_suites.concepts import Concept
from prompt_suites.errors import BenchError

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", neighbours=("tabby cat",))
DOG = Concept(name="dog", kind="instance", targets=("pirate dog",), anchor="dog")

ESD = {"steps": "3", "denoise_steps": "3", "scheduler": "ddim", "learning_rate": "1e-3", "batch_size": "2"}
SLD = {"safety_scale": "50", "threshold": "0.05", "warmup_steps": "1"}

TINY: dict[str, dict[str, str]] = {
    "none": {},
    "negative-prompt": {},
    "sld-weak": SLD,
    "sld-weak-diffusers": SLD,
    "sld-medium": SLD,
    "sld-strong": SLD,
    "sld-max": SLD,
    "esd-x": ESD,
    "esd-x-strict": ESD,
    "esd-u": ESD,
    "esd-all": ESD | {"trajectories": "2"},
}
CHANGES_NOTHING = {"none"}


def draw(model, edit):
    with applied(model, edit) as guidance:
        return sample_latents(
            model, ["a grumpy cat"], [1], scheduler="ddim", steps=4, guidance_scale=7.5, guidance=guidance
        )


def erase(model, name, seed=0, concepts=(CAT,), **context):
    return build_method(name, options=TINY[name]).erase(model, concepts, EraseContext(seed=seed, **context))


def test_every_method_is_in_the_table():
    assert TINY.keys() == METHODS.keys()


@pytest.mark.parametrize("name", TINY)
def test_method_keeps_the_contract(name, tiny_model, tmp_path):
    before = snapshot(tiny_model)
    global_state = torch.random.get_rng_state()
    seen: list[Progress] = []

    edit = erase(tiny_model, name, report=seen.append)

    assert not changed_tensors(before, tiny_model.named_tensors()), "the base is as it was, bit for bit"
    assert torch.equal(torch.random.get_rng_state(), global_state), "the seed alone decides what is random"
    assert edit.concepts == ("cat",)
    assert edit.base_digest == tiny_model.digest
    assert all(tensor.isfinite().all() and tensor.device.type == "cpu" for tensor in edit.tensors.values())
    assert all(math.isfinite(loss) for loss in edit.losses)
    assert [progress.loss for progress in seen] == list(edit.losses)
    assert edit.cost.steps == len(edit.losses)
    assert bool(edit.cost.steps) == (edit.cost.seconds > 0) == (edit.cost.peak_memory_bytes > 0)

    torch.random.manual_seed(12345)
    again = erase(tiny_model, name)
    assert again.tensors.keys() == edit.tensors.keys()
    assert all(torch.equal(again.tensors[key], edit.tensors[key]) for key in edit.tensors), (
        "same seed, same edit"
    )
    assert (again.losses, again.guidance, again.settings) == (edit.losses, edit.guidance, edit.settings)

    edit.save(tmp_path)
    loaded = Edit.load(tmp_path)
    assert {name: getattr(loaded, name) for name in vars(loaded) if name != "tensors"} == {
        name: getattr(edit, name) for name in vars(edit) if name != "tensors"
    }
    assert loaded.tensors.keys() == edit.tensors.keys()
    assert all(torch.equal(loaded.tensors[key], edit.tensors[key]) for key in edit.tensors)

    plain = draw(tiny_model, erase(tiny_model, "none"))
    edited = draw(tiny_model, loaded)
    assert torch.equal(edited, draw(tiny_model, edit))
    assert edited.isfinite().all()
    assert torch.equal(edited, plain) == (name in CHANGES_NOTHING), "the picture of the concept changes"
    assert not changed_tensors(before, tiny_model.named_tensors())


@pytest.mark.parametrize("name", [name for name, options in TINY.items() if options is not SLD])
def test_other_seed_gives_another_edit_where_training_draws(name, tiny_model):
    first, second = erase(tiny_model, name, seed=0), erase(tiny_model, name, seed=1)

    assert first.tensors.keys() == second.tensors.keys()
    for key in first.tensors:
        assert not torch.equal(first.tensors[key], second.tensors[key])


@pytest.mark.parametrize("name", TINY)
def test_several_concepts_where_the_card_says_so(name, tiny_model):
    if not method_card(name).many_concepts:
        pytest.skip(f"{name} erases one concept at a time")
    assert erase(tiny_model, name, concepts=(CAT, DOG)).concepts == ("cat", "dog")


@pytest.mark.parametrize("name", TINY)
def test_mistakes_are_refused_clearly(name, tiny_model):
    with pytest.raises(BenchError, match="--concepts"):
        erase(tiny_model, name, concepts=())
    with pytest.raises(BenchError, match="--method-option"):
        build_method(name, options={"no_such_setting": "1"})
