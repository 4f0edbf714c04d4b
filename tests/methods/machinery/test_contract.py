"""What every registered method promises, on the tiny model, from one table of tiny settings."""

import json

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, NoCache
from erasure_bench.methods.machinery.contract import CHECKS, check_contract
from erasure_bench.methods.machinery.rehearsal import Rehearsal, Trial
from erasure_bench.methods.registry import METHODS, build_method, method_card
from erasure_bench.models.conditional.tiny import tiny_class_model, tiny_pictures
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", neighbours=("tabby cat",))
DOG = Concept(name="dog", kind="instance", targets=("pirate dog",), anchor="dog")
GENERAL = ("a tree", "a grumpy cat", "a red boat")

ESD = {"steps": "3", "denoise_steps": "3", "scheduler": "ddim", "learning_rate": "1e-3", "batch_size": "2"}
SA = {
    "steps": "3",
    "batch_size": "2",
    "learning_rate": "1e-3",
    "ema_decay": "0.5",
    "surrogate_images": "2",
    "sampling_steps": "2",
    "fisher": "fast",
    "fisher_terms": "2",
}
CA = {
    "images": "4",
    "denoise_steps": "2",
    "eta": "0",
    "steps": "3",
    "learning_rate": "1e-3",
    "batch_size": "2",
}
TWO_SETS = {
    "images": "4",
    "denoise_steps": "2",
    "steps": "3",
    "learning_rate": "1e-3",
    "batch_size": "2",
}
WAYS = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": "3",
    "trajectories": "2",
    "steps": "3",
    "learning_rate": "1e-3",
    "batch_size": "2",
}
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
    "ca-model": CA,
    "ca-noise": CA,
    "ca-reverse": CA,
    "loss-max": CA | {"ceiling": "10"},
    "sa": SA,
    "uce": {"guide": "anchor", "retain": "neighbours"},
    "retrain": {"steps": "3"},
    "speed": {"guide": "anchor", "threshold": "0.5"},
    "rece": {"guide": "anchor", "retain": "neighbours"},
    "adavd": {"centre": "0"},
    "safree": {"centre": "-5"},
    "hirm": {"steps": "3", "norm": "20", "learning_rate": "1e-3"},
    "spm": {
        "steps": "3",
        "denoise_steps": "3",
        "warmup": "1",
        "learning_rate": "1e-2",
        "anchoring": "1",
    },
    "salun": TWO_SETS,
    "erasediff": TWO_SETS,
    "advunlearn": WAYS | {"warmup_steps": "1", "attack_steps": "2", "retain_batch": "2"},
    "eap": WAYS,
    "age": WAYS | {"trajectories": "0", "led_from": "choice"},
    "fmn": {
        "images": "2",
        "denoise_steps": "2",
        "inversion_steps": "2",
        "steps": "3",
        "learning_rate": "1e-2",
    },
    "receler": WAYS
    | {"rank": "4", "soft_tokens": "4", "attack_steps": "2", "mask_side": "8", "learning_rate": "1e-2"},
    "mace": {
        "images": "2",
        "denoise_steps": "2",
        "mask_side": "8",
        "steps": "3",
        "learning_rate": "1e-2",
    },
    "concept-prune": {"images": "2", "denoise_steps": "2", "skilled_steps": "1", "row_share": "0.3"},
    "stereo": WAYS
    | {"rounds": "2", "images": "2", "search_steps": "2", "inversion_steps": "2", "anchors": "2"},
}
OTHER_SETTINGS = {"sld-weak", "sld-medium", "sld-strong", "esd-x-strict", "esd-u"}
"""They go the way of another in the table (`sld-max`, `esd-all`), with other numbers or other weights."""
ALL = [pytest.param(name, marks=[pytest.mark.slow] if name in OTHER_SETTINGS else []) for name in TINY]
CHANGES_NOTHING = {"none"}
CHOOSES_WHAT_TO_TRAIN = {"salun"}
"""Their seed decides which weights change at all."""
PARTLY_IN_CLOSED_FORM = {"mace"}
"""The last cross-attention's values move no map that their training looks at: no seed matters there."""


RING = Concept(name="ring", kind="object", targets=("ring",), anchor="bar")
BAR = Concept(name="bar", kind="object", targets=("bar",), anchor="ring")


@pytest.fixture
def model_for(tiny_model):
    """A tiny model of a kind that the method knows."""
    return lambda name: (
        tiny_model if tiny_model.family in method_card(name).families else tiny_class_model("ddpm")
    )


def rehearse(name, model):
    if model.classes:
        return Rehearsal(
            Trial(
                method=name,
                model=model,
                concepts=(RING, BAR),
                prompt="ring",
                options=TINY[name],
                general_prompts=model.classes,
                training_data=tiny_pictures,
            )
        )
    return Rehearsal(
        Trial(
            method=name,
            model=model,
            concepts=(CAT, DOG),
            prompt="a grumpy cat",
            options=TINY[name],
            general_prompts=GENERAL,
        )
    )


def test_every_method_is_in_the_table():
    assert TINY.keys() == METHODS.keys()


@pytest.mark.parametrize("name", ALL)
def test_method_keeps_the_contract(name, model_for):
    rehearsal = rehearse(name, model_for(name))
    checks = {check.name: check for check in check_contract(rehearsal)}

    assert checks.keys() == CHECKS.keys()
    changes_nothing = {"changes the picture of the concept"} if name in CHANGES_NOTHING else set()
    failed = {check.name: check.why for check in checks.values() if check.verdict == "failed"}
    assert failed.keys() == changes_nothing, failed

    several = checks["erases several concepts"].verdict
    assert several == ("ok" if method_card(name).many_concepts else "skipped")

    edit = rehearsal.first.edit
    resumed = checks["goes on after an interruption"]
    assert resumed.verdict == ("ok" if edit.losses else "skipped"), resumed
    learned = edit.all_tensors
    assert bool(learned) == (edit.cost.seconds > 0) == (edit.cost.peak_memory_bytes > 0)
    if edit.losses:
        other = rehearsal.other_seed.edit.all_tensors
        if name not in CHOOSES_WHAT_TO_TRAIN:
            assert other.keys() == learned.keys(), "what is trained does not depend on the seed"
        alike = {key for key, tensor in learned.items() if key in other and torch.equal(tensor, other[key])}
        assert len(alike) == (1 if name in PARTLY_IN_CLOSED_FORM else 0), alike


@pytest.mark.parametrize("name", TINY)
def test_mistakes_say_how_to_mend_them(name, model_for):
    with pytest.raises(BenchError, match="--concepts"):
        build_method(name, options=TINY[name]).erase(model_for(name), (), EraseContext())
    with pytest.raises(BenchError, match="--method-option"):
        build_method(name, options={"no_such_setting": "1"})


class Asked(NoCache):
    """A cache that keeps everything and remembers what was made for what."""

    def __init__(self):
        self.made = {}

    def fetch(self, maker, key, make):
        name = maker, json.dumps(key, sort_keys=True)
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]


@pytest.mark.parametrize("name", ALL)
def test_needs_are_what_erase_makes(name, model_for):
    method, cache, model = build_method(name, options=TINY[name]), Asked(), model_for(name)
    concepts = (RING, BAR) if model.classes else (CAT, DOG)
    told, steps = [], []
    context = EraseContext(
        report=steps.append,
        prepared=told.append,
        general_prompts=model.classes or GENERAL,
        training_data=tiny_pictures,
        cache=cache,
    )
    declared = method.needs(concepts, context)
    assert not cache.made, "saying it makes nothing"
    method.erase(model, concepts, context)

    shared = {
        (need.maker, json.dumps(need.key, sort_keys=True)): (need.unit, need.count)
        for need in declared
        if need.maker is not None
    }
    assert shared.keys() == cache.made.keys()
    ends = [(one.unit, one.total) for one in told if one.made == one.total]
    assert sorted(ends) == sorted(shared.values()), "each is made once"
    assert sum(need.count for need in declared if need.unit == "steps") == len(steps)
    assert all(need.passes > 0 for need in declared)
