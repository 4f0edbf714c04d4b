"""An option without effect is refused: what a method calls unused changes nothing, and it knows them all."""

import dataclasses
import sys
from typing import Any

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit
from erasure_bench.methods.machinery.attachments import same
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.guidance import StepNoise
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", neighbours=("tabby cat",))
GENERAL = ("a tree", "a red boat")

ESD = {"steps": "1", "denoise_steps": "2", "scheduler": "ddim"}
CA = {"images": "2", "denoise_steps": "2", "eta": "0", "steps": "1", "batch_size": "2"}
SA = {
    "steps": "1",
    "batch_size": "2",
    "surrogate_images": "2",
    "sampling_steps": "2",
    "fisher": "fast",
    "fisher_terms": "2",
}
TWO_SETS = {"images": "2", "denoise_steps": "2", "steps": "1", "batch_size": "2"}
WAYS = {"denoise_steps": "2", "steps": "1"}
ADVERSARY = WAYS | {"warmup_steps": "0", "attack_steps": "1", "retain_batch": "1"}
ERASERS = WAYS | {"soft_tokens": "4", "attack_steps": "1", "mask_side": "8"}
CLOSED = {"images": "2", "denoise_steps": "2", "mask_side": "8", "steps": "1"}
SEARCH = WAYS | {"rounds": "1", "images": "2", "search_steps": "1", "inversion_steps": "1"}
WITHOUT_EWC = {key: value for key, value in SA.items() if "fisher" not in key} | {"ewc": "false"}
CASES = {
    "esd": ("esd-u", ESD),
    "esd along trajectories": ("esd-u", ESD | {"trajectories": "1"}),
    "ca-model": ("ca-model", CA),
    "ca-noise": ("ca-noise", CA),
    "ca-reverse": ("ca-reverse", CA),
    "loss-max": ("loss-max", CA),
    "sa": ("sa", SA),
    "sa without ewc": ("sa", WITHOUT_EWC),
    "sa without replay": ("sa", SA | {"replay": "false"}),
    "sa without either": ("sa", WITHOUT_EWC | {"replay": "false"}),
    "sa towards noise alone": ("sa", {"surrogate": "noise", "steps": "1", "surrogate_images": "2"}),
    "sa naive": ("sa", SA | {"forget": "negative-elbo"}),
    "sa's last weights": ("sa", SA | {"ema_decay": "0"}),
    "uce": ("uce", {}),
    "uce with neighbours": ("uce", {"retain": "neighbours"}),
    "speed": ("speed", {}),
    "speed that retains nothing": ("speed", {"retain": "none"}),
    "speed that retains the empty prompt": ("speed", {"retain": "empty"}),
    "speed of all tokens": ("speed", {"tokens": "all", "prior_filter": "false"}),
    "rece": ("rece", {}),
    "rece without a round": ("rece", {"rounds": "0"}),
    "adavd": ("adavd", {}),
    "adavd without its shift": ("adavd", {"shift": "false"}),
    "safree": ("safree", {}),
    "safree in every step": ("safree", {"self_validating": "false"}),
    "safree with re-attention": ("safree", {"reattention": "true"}),
    "hirm": ("hirm", {"steps": "1"}),
    "hirm towards its anchor": ("hirm", {"steps": "1", "target": "anchor", "norm": "null"}),
    "spm": ("spm", {"steps": "1", "denoise_steps": "2", "warmup": "0"}),
    "spm along trajectories": (
        "spm",
        {"steps": "1", "denoise_steps": "2", "warmup": "0", "trajectories": "1"},
    ),
    "sld": ("sld-medium", {}),
    "salun": ("salun", TWO_SETS),
    "erasediff": ("erasediff", TWO_SETS),
    "advunlearn": ("advunlearn", ADVERSARY),
    "advunlearn without an adversary": ("advunlearn", ADVERSARY | {"attack_steps": "0"}),
    "advunlearn that retains nothing": (
        "advunlearn",
        WAYS | {"warmup_steps": "0", "attack_steps": "1", "retain_weight": "0"},
    ),
    "advunlearn that retains a list": ("advunlearn", ADVERSARY | {"retain": '["a tree"]'}),
    "eap": ("eap", WAYS),
    "eap without an adversary": ("eap", WAYS | {"adversary_steps": "0"}),
    "eap among given texts": ("eap", WAYS | {"vocabulary": '["a tree", "a dog"]'}),
    "age": ("age", WAYS),
    "fmn": ("fmn", {"images": "2", "denoise_steps": "2", "inversion_steps": "1", "steps": "1"}),
    "fmn of the phrase": ("fmn", {"images": "2", "denoise_steps": "2", "inversion_steps": "0", "steps": "1"}),
    "concept-prune": ("concept-prune", {"images": "2", "denoise_steps": "2", "skilled_steps": "2"}),
    "mace": ("mace", CLOSED),
    "mace at any timestep": ("mace", CLOSED | {"timesteps": "uniform"}),
    "mace with the mean": ("mace", CLOSED | {"fusion": "mean"}),
    "receler": ("receler", ERASERS),
    "receler whose adversary stands still": ("receler", ERASERS | {"attack_steps": "0"}),
    "receler without an adversary": ("receler", WAYS | {"soft_tokens": "0", "mask_side": "8"}),
    "receler without a mask": (
        "receler",
        WAYS | {"soft_tokens": "4", "attack_steps": "1", "mask_weight": "0"},
    ),
    "stereo": ("stereo", SEARCH),
    "stereo without a search": ("stereo", SEARCH | {"search_steps": "0"}),
    "stereo without anchors": ("stereo", SEARCH | {"towards": "0"}),
    "sld without momentum": ("sld-weak", {}),
}
CASES["sa towards noise alone"][1].update({"ewc": "false", "replay": "false", "batch_size": "2"})
ONE_VALUE_ONLY = {"esd along trajectories": {"sampled_by", "timestep", "steps_ahead"}}
"""Settings that need not be read: any other value of theirs is refused."""

OTHER_VALUES: dict[str, Any] = {
    "surrogate": ("a dog",),
    "replay_weight": 0.3,
    "replay_images": 1,
    "wide_scale": 0.5,
    "narrow_scale": 0.5,
    "ewc_weight": 7.0,
    "ewc_half": True,
    "fisher": "fast",
    "fisher_images": 1,
    "fisher_terms": 3,
    "fisher_batch": 1,
    "general_images": 1,
    "general_seed": 1,
    "scheduler": "pndm",
    "sampling_steps": 3,
    "guidance_scale": 2.0,
    "ema_on_cpu": True,
    "retain_scale": 0.2,
    "target": "base",
    "trained_tokens": "all",
    "momentum_decay": 0.7,
    "fisher_unit_range": True,
    "fisher_label_dropout": 0.5,
    "shared_terms": True,
    "prior_filter": False,
    "filter_copies": False,
    "mean_over": "tokens",
    "timestep": "sampler",
    "norm_of": "token",
    "train_embeddings": True,
    "summed_gradients": False,
    "erase_scale": 2.0,
    "keep_scale": 3.0,
    "copies": 3,
    "threshold": 0.5,
    "closeness": 0.5,
    "steepness": 3.0,
    "centre": 0.5,
    "factor": 1.5,
    "most_steps": 3,
    "of_steps": 20,
    "attack_rate": 1.0,
    "attack_steps": 3,
    "retain": ("a tree",),
    "retain_prompts": 1,
    "retained_tokens": "all",
    "retain_batch": 3,
    "adversary_rate": 1.0,
    "climbs": "preserved",
    "sampled_by": "edited",
    "vocabulary_size": 1,
    "inversion_tokens": 2,
    "inversion_rate": 0.5,
    "search_rate": 0.5,
    "attack_decay": 0.5,
    "mask_side": 4,
    "mask_threshold": 0.5,
    "anchors": 1,
    "outside_mask": "positions",
    "retain_early": False,
    "focal_from": 100.0,
    "focal_to": 900.0,
    "focal_slope": 0.5,
    "fuse_prior": 3.0,
    "parallel": 0.0,
}


def erase(method: Any, model: DiffusionModel) -> Edit:
    torch.manual_seed(0)
    return method.erase(model, (CAT,), EraseContext(seed=3, general_prompts=GENERAL))


def guided(edit: Edit) -> list[torch.Tensor]:
    """What the edit's guidance makes of fixed predictions, step by step."""
    if edit.guidance is None:
        return []
    generator = torch.Generator().manual_seed(0)
    state, found = None, []
    for index in range(20, 23):
        noise = [torch.randn(1, 4, 8, 8, generator=generator) for _ in range(2 + len(edit.guidance.texts))]
        step = StepNoise(noise[0], noise[1], tuple(noise[2:]), torch.tensor(7.5).view(1, 1, 1, 1), index, 50)
        out, state = edit.guidance.combine(step, state)
        found.append(out)
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_setting_is_read_or_called_unused_and_then_changes_nothing(
    case: str, tiny_model: DiffusionModel
) -> None:
    name, options = CASES[case]
    method = build_method(name, options=options)
    read: set[str] = set()

    class Watched(type(method)):  # type: ignore[misc]
        def __getattribute__(self, setting: str) -> Any:
            # An edit notes all settings: that is no use of them.
            if sys._getframe(1).f_code.co_filename != dataclasses.__file__:
                read.add(setting)
            return object.__getattribute__(self, setting)

    watched = object.__new__(Watched)
    vars(watched).update(vars(method))
    unused = watched.unused_settings() if hasattr(method, "unused_settings") else {}
    read.clear()
    first = erase(watched, tiny_model)
    drawn = guided(first)
    never = {field.name for field in dataclasses.fields(method)} - read
    assert never - ONE_VALUE_ONLY.get(case, set()) <= unused.keys()

    changes = {setting: OTHER_VALUES[setting] for setting in unused if setting != "eta"}
    if not changes:
        return
    assert all(getattr(method, setting) != value for setting, value in changes.items())
    second = erase(dataclasses.replace(method, **changes), tiny_model)
    assert first.all_tensors.keys() == second.all_tensors.keys()
    assert all(torch.equal(tensor, second.all_tensors[key]) for key, tensor in first.all_tensors.items())
    assert same(first.attachments, second.attachments)
    assert all(torch.equal(one, other) for one, other in zip(drawn, guided(second), strict=True))


@pytest.mark.parametrize(
    ("name", "options", "setting", "words"),
    [
        ("sa", {"fisher": "exact", "fisher_terms": "5"}, "fisher_terms", "with fisher=exact"),
        ("sa", {"ewc": "false", "ewc_weight": "5"}, "ewc_weight", "with ewc=false"),
        ("uce", {"retain_scale": "0.5"}, "retain_scale", "with retain=none"),
        ("sld-weak", {"momentum_decay": "0.5"}, "momentum_decay", "with momentum_scale=0"),
        ("ca-noise", {"target": "base"}, "target", "with objective=noise"),
    ],
)
def test_the_option_is_refused_with_the_reason(
    name: str, options: dict[str, str], setting: str, words: str
) -> None:
    with pytest.raises(BenchError, match=f"{name}: {setting} has no effect {words}.*--method-option"):
        build_method(name, options=options)


def test_a_presets_setting_beside_the_users_is_none_of_the_users_mistakes() -> None:
    build_method("sa", "microworld", {"fisher": "exact"})
