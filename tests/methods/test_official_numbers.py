"""The presets hold the numbers of the papers and the official codes, written out here once more."""

import pytest

from erasure_bench.methods.concept_ablation.recipes import RECIPES
from erasure_bench.methods.registry import build_method

ESD = {"optimiser": "adam", "weight_decay": 0.0, "denoise_steps": 50, "guidance_scale": 3.0, "batch_size": 1}
ESD_OFFICIAL = ESD | {
    "eta": 1.0,
    "sampled_by": "base",
    "timestep": "sampler",
    "steps": 200,
    "learning_rate": 5e-5,
    "precision": "bfloat16",
}
ESD_PAPER = ESD | {
    "eta": 1.0,
    "sampled_by": "edited",
    "timestep": "interval",
    "steps": 1000,
    "learning_rate": 1e-5,
    "precision": "float32",
}
CA_COMPVIS = {
    "scheduler": "ddim",
    "denoise_steps": 200,
    "eta": 1.0,
    "guidance_scale": 6.0,
    "optimiser": "adamw",
    "weight_decay": 0.01,
    "clip_norm": None,
    "trained_tokens": "all-but-last",
    "detach_bos": True,
    "target": "current",
    "flip": True,
}
CA_DIFFUSERS = CA_COMPVIS | {
    "scheduler": "dpm-solver++",
    "denoise_steps": 25,
    "eta": 0.0,
    "images": 1000,
}
SA = {
    "scheduler": "ddim",
    "sampling_steps": 50,
    "guidance_scale": 7.5,
    "eta": 0.0,
    "general_images": 5000,
    "general_seed": 42,
    "surrogate_images": 1000,
    "fisher": "exact",
    "ewc_weight": 50.0,
    "replay_weight": 1.0,
    "optimiser": "adamw",
    "weight_decay": 0.01,
    "learning_rate": 1.6e-4,
    "batch_size": 16,
    "ema_decay": 0.9999,
}
SLD = ("warmup_steps", "safety_scale", "threshold", "momentum_scale", "momentum_decay")

SALUN = {"parameters": "full", "mask_share": 0.5, "learning_rate": 1e-5, "batch_size": 8, "optimiser": "adam"}
WAYS = {"denoise_steps": 50, "guidance_scale": 3.0, "scheduler": "ddim", "timestep": "interval"}
PRESERVING = WAYS | {
    "learning_rate": 1e-5,
    "steps": 1000,
    "adversary_steps": 1,
    "vocabulary_size": 3000,
    "preserve_weight": 1.0,
    "led_from": "empty",
    "eta": 1.0,
    "sampled_by": "edited",
}
HARD = {"top": 1, "hard": True, "adversary_rate": 1e-2}
EAP = PRESERVING | HARD | {"space": "image", "led_from": "empty", "temperature": 2.0}
AGE = PRESERVING | {"space": "image", "centres": 100, "led_from": "choice", "climbs": "preserved"}
PRUNED = {"row_share": 0.01, "denoise_steps": 50, "guidance_scale": 7.5}
AS_IN_CODE = {"rows": "both", "unit_positions": True}
MACE = {
    "rank": 1,
    "images": 8,
    "fusion": "fit",
    "learning_rate": 1e-5,
    "focal_from": 200,
    "focal_to": 400,
    "focal_slope": 0.05,
}
RECELER = WAYS | {
    "rank": 128,
    "steps": 500,
    "learning_rate": 3e-4,
    "eta": 1.0,
    "sampled_by": "edited",
    "mask_side": 16,
    "mask_threshold": 0.1,
    "mask_weight": 0.1,
    "outside_mask": "values",
}
SPM = {
    "rank": 1,
    "alpha": 1.0,
    "spread": 1.0,
    "steps": 3000,
    "learning_rate": 1e-4,
    "timestep": "even",
    "denoise_steps": 30,
    "guidance_scale": 3.0,
    "warmup": 500,
    "restarts": 3,
    "eta": 1.0,
    "anchoring": 1000.0,
    "anchors": 4,
    "batch_size": 1,
}
STEREO = WAYS | {
    "parameters": "u",
    "captions": "kind",
    "alone": True,
    "optimiser": "adamw",
    "rounds": 4,
    "search_steps": 200,
    "search_rate": 5e-6,
    "inversion_steps": 3000,
    "inversion_rate": 5e-3,
    "steps": 200,
    "learning_rate": 2e-5,
    "parallel": 1.0,
    "eta": 0.0,
    "trained": "all",
    "images": 500,
}

NUMBERS = [
    *[(name, "official", ESD_OFFICIAL) for name in ("esd-x", "esd-x-strict", "esd-u", "esd-all")],
    *[(name, "paper", ESD_PAPER) for name in ("esd-x", "esd-u", "esd-all")],
    *[(name, "official", CA_COMPVIS | {"images": 200}) for name in ("ca-model", "ca-noise", "ca-reverse")],
    ("ca-model", "paper", CA_COMPVIS | {"images": 1000}),
    ("ca-model", "diffusers", CA_DIFFUSERS),
    (
        "sa",
        "official",
        SA | {"parameters": "full", "steps": 200 * 63, "replay_images": 1000, "ewc_half": False},
    ),
    ("sa", "official-nudity", SA | {"parameters": "noxattn", "steps": 500 * 63, "replay_images": 1000}),
    ("sa", "paper", SA | {"replay_images": None, "ewc_half": True}),
    ("loss-max", "official", {"penalty": 0.01, "ceiling": 1.0, "steps": 100, "learning_rate": 1.6e-5}),
    ("sld-weak", "official", dict(zip(SLD, (15, 200, 0.0, 0.0, 0.0), strict=True)) | {"text_prefix": ""}),
    ("sld-weak-diffusers", "official", {"safety_scale": 20, "text_prefix": "an image showing "}),
    ("sld-medium", "official", dict(zip(SLD, (10, 1000, 0.01, 0.3, 0.4), strict=True))),
    ("sld-strong", "official", dict(zip(SLD, (7, 2000, 0.025, 0.5, 0.7), strict=True))),
    ("sld-max", "official", dict(zip(SLD, (0, 5000, 1.0, 0.5, 0.7), strict=True))),
    ("uce", "official", {"keep_scale": 0.5, "erase_scale": 1.0, "tokens": "last"}),
    (
        "salun",
        "official-nudity",
        SALUN | {"remain": "anchor", "remain_weight": 0.1, "images": 800, "steps": 100, "mask_guidance": 7.5},
    ),
    ("salun", "official", SALUN | {"remain_weight": 0.5, "steps": 500, "mask_guidance": 7.5}),
    ("salun", "paper", SALUN | {"mask_guidance": 0.0}),
    (
        "erasediff",
        "official",
        {"parameters": "full", "inner_steps": 1, "forget_weight": 1.0, "batch_size": 16, "steps": 2 * 60}
        | {"learning_rate": 1e-5, "multiplier": "fixed", "remain": "general"},
    ),
    (
        "erasediff",
        "official-nudity",
        {"parameters": "noxattn", "inner_steps": 2, "forget_weight": 1.0, "batch_size": 16, "steps": 5 * 50}
        | {"learning_rate": 1e-5, "multiplier": "fixed", "remain": "anchor"},
    ),
    ("erasediff", "paper", {"multiplier": "adaptive", "inner_steps": 2}),
    (
        "advunlearn",
        "official",
        WAYS
        | {"learning_rate": 1e-5, "steps": 1000, "warmup_steps": 200, "eta": 1.0, "layers": None}
        | {"prefix_tokens": 1, "attack_steps": 30, "attack_rate": 1e-3, "counted": "words"}
        | {"retain_weight": 0.3, "retain_batch": 5, "retain_prompts": 243, "retain_early": True}
        | {"sampled_by": "base", "train_embeddings": False, "summed_gradients": True},
    ),
    ("eap", "official", EAP | {"parameters": "xattn", "centres": 100, "nearest": 1000}),
    ("eap", "paper", EAP | {"parameters": "xattn", "space": "noise"}),
    ("eap", "official-nudity", EAP | {"parameters": "noxattn", "centres": 50, "nearest": 2000}),
    ("age", "official", AGE | HARD | {"parameters": "xattn", "nearest": 100, "temperature": 0.1}),
    ("age", "official-nudity", AGE | HARD | {"parameters": "noxattn", "nearest": 100, "temperature": 2.0}),
    (
        "age",
        "official-style",
        AGE
        | {"parameters": "xattn", "nearest": 1000, "temperature": 2.0}
        | {"top": 5, "hard": False, "adversary_rate": 1e-3},
    ),
    ("age", "paper", {"led_from": "choice", "eta": 0.0, "learning_rate": 1e-5, "steps": 1000}),
    (
        "fmn",
        "official",
        {"inversion_steps": 500, "inversion_rate": 1e-3, "inversion_tokens": 4, "steps": 35}
        | {"learning_rate": 2e-6, "optimiser": "adamw", "loss_of": "norm", "end_tokens": True}
        | {"clip_norm": 1.0, "parameters": "full"},
    ),
    ("receler", "official", RECELER | {"soft_tokens": 0}),
    (
        "receler",
        "paper",
        RECELER | {"soft_tokens": 16, "attack_steps": 50, "attack_rate": 0.1, "attack_decay": 0.1},
    ),
    ("mace", "official", MACE | {"steps": 50, "timesteps": "focal"}),
    ("mace", "official-nudity", MACE | {"steps": 120, "timesteps": "uniform"}),
    (
        "speed",
        "official",
        {"guide": "auto", "tokens": "last", "mean_over": "phrases", "prior_filter": True, "copies": 10}
        | {"filter_copies": True, "threshold": 0.1, "keep_scale": 1.0, "empty_scale": 0.0}
        | {"empty_centres": 3, "matrices": "v"},
    ),
    (
        "speed",
        "official-nudity",
        {"tokens": "all", "mean_over": "phrases", "retain": "empty", "keep_scale": 0.7, "empty_scale": 0.5}
        | {"guide": "auto", "copies": 10, "threshold": 0.1, "matrices": "v"},
    ),
    (
        "rece",
        "official",
        {"guide": "auto", "retain": "none", "erase_scale": 1.0, "retain_scale": 0.1, "keep_scale": 0.1}
        | {"first_edit": "old-uce", "rounds": None, "closeness": None},
    ),
    (
        "hirm",
        "official",
        {"target": "random", "norm": 5000.0, "norm_of": "all", "steps": 50, "learning_rate": 1e-4}
        | {"phrases": "canonical", "weight_decay": 1e-8},
    ),
    ("hirm", "paper", {"target": "random", "norm": 500.0, "norm_of": "token", "weight_decay": 1e-8}),
    ("hirm", "paper-anchor", {"target": "anchor", "norm": None}),
    (
        "adavd",
        "official",
        {"rows": "both", "shift": True, "steepness": 100.0, "centre": 0.93, "factor": 2.0, "tokens": "last"},
    ),
    ("adavd", "paper", {"rows": "conditional"}),
    ("safree", "official", {"sensitivity": 0.01, "most_steps": 10, "padding": False, "of_steps": None}),
    ("safree", "official", {"reattention": False, "inside_last": False}),
    ("safree", "paper", {"reattention": True, "inside_last": True, "wide_scale": 0.9, "narrow_scale": 0.2}),
    ("concept-prune", "official", PRUNED | AS_IN_CODE | {"skilled_steps": 10, "images": 20}),
    ("concept-prune", "official-nudity", PRUNED | AS_IN_CODE | {"skilled_steps": 9, "images": 18}),
    ("concept-prune", "paper", PRUNED | {"rows": "conditional", "unit_positions": False, "images": 20}),
    ("spm", "official", SPM | {"gate": "squared"}),
    ("spm", "paper", SPM | {"gate": "prompt"}),
    ("stereo", "official", STEREO | {"towards": 1.0, "away": 3.0}),
    ("stereo", "paper", STEREO | {"towards": 1.0, "away": 2.0}),
]
RECIPE = [
    ("compvis", "style", {"learning_rate": 1.6e-5, "batch_size": 8, "steps": 100, "regularised": "never"}),
    ("compvis", "object", {"learning_rate": 1.6e-5, "batch_size": 8, "steps": 100, "augment": True}),
    ("compvis", "memorised", {"learning_rate": 2e-6, "batch_size": 4, "steps": 400, "parameters": "full"}),
    ("compvis", "unsafe", {"learning_rate": 6.4e-5, "batch_size": 8, "steps": 400, "parameters": "attn"}),
    ("compvis", "memorised", {"regularised": "always", "regularisation": 0.2}),
    ("compvis", "object", {"batch_size_regularised": 4, "augment_anchors": True, "clip_norm": 0.0}),
    ("compvis", "memorised", {"batch_size_regularised": 2, "augment_anchors": False}),
    ("compvis", "unsafe", {"batch_size_regularised": None, "clip_norm": 1 / 4}),
    ("diffusers", "object", {"learning_rate_regularised": 3.2e-5, "regularisation": 1 / 4}),
    ("diffusers", "object", {"batch_size_regularised": None, "augment_anchors": False, "clip_norm": 1 / 4}),
    ("diffusers", "memorised", {"batch_size_regularised": None, "clip_norm": 1 / 4}),
]


@pytest.mark.parametrize(("name", "preset", "numbers"), NUMBERS)
def test_preset(name: str, preset: str, numbers: dict[str, object]) -> None:
    method = build_method(name, preset)
    assert {key: getattr(method, key) for key in numbers} == pytest.approx(numbers)


@pytest.mark.parametrize(("book", "kind", "numbers"), RECIPE)
def test_recipe(book: str, kind: str, numbers: dict[str, object]) -> None:
    recipe = RECIPES[book][kind]  # type: ignore[index]
    assert {key: getattr(recipe, key) for key in numbers} == pytest.approx(numbers)
