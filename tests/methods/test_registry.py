"""The table of methods: light to import, clear about mistakes, and every preset can be built."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from methods import registry
from methods.registry import GUIDANCES, METHODS, build_method, load_target, method_card, method_names
from prompt_suites.errors import BenchError

HEAVY = ("torch", "diffusers", "transformers", "numpy", "pydantic")


def test_listing_methods_imports_nothing_heavy():
    code = f"import sys, methods.registry as r; r.method_names(); print(set({HEAVY}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", METHODS)
def test_card_is_complete(name):
    card = method_card(name)

    assert card.name == name
    assert card.title and card.formula
    assert "official" in card.presets
    for preset in card.presets:
        method = build_method(name, preset)
        assert isinstance(method, card.build)
        written = {key: str(value) for key, value in {**card.settings, **card.presets[preset]}.items()}
        assert build_method(name, preset, written) == method, "presets hold values that options may take"


@pytest.mark.parametrize("target", GUIDANCES.values())
def test_guidances_can_be_loaded(target):
    assert isinstance(load_target(target, "guidance"), type)


def test_unknown_method_suggests_the_right_one():
    with pytest.raises(BenchError, match=r"unknown method 'esdx' \(--methods\): did you mean esd-x"):
        build_method("esdx")


def test_preset_falls_back_to_official():
    assert build_method("esd-x-strict", "paper") == build_method("esd-x-strict")
    assert build_method("esd-u", "paper") != build_method("esd-u")


def test_official_and_paper_presets_of_esd():
    official, paper = build_method("esd-u"), build_method("esd-u", "paper")

    assert (official.parameters, official.sampled_by) == ("u", "base")
    assert (official.steps, official.learning_rate) == (200, 5e-5)
    assert (paper.parameters, paper.sampled_by) == ("noxattn", "edited")
    assert (paper.steps, paper.learning_rate) == (1000, 1e-5)
    assert official.eta == paper.eta == 1.0
    assert official.guidance_scale == paper.guidance_scale == 3.0
    assert official.denoise_steps == paper.denoise_steps == 50
    assert build_method("esd-all", "paper").parameters == "full"


def test_options_win_over_presets_and_are_parsed():
    method = build_method("esd-x", "paper", {"steps": "7", "learning_rate": "1e-3", "micro_batch": "2"})

    assert (method.steps, method.learning_rate, method.micro_batch) == (7, 1e-3, 2)
    assert build_method("esd-x", options={"micro_batch": "none"}).micro_batch is None
    assert build_method("sld-max", options={"text_prefix": "5"}).text_prefix == "5"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("esd-x", {"step": "5"}, r"unknown setting of esd-x 'step' \(--method-option\): did you mean steps"),
        ("esd-x", {"steps": "many"}, r"esd-x: --method-option steps=many: input should be a valid integer"),
        ("esd-x", {"steps": "-1"}, "greater than or equal to 0"),
        ("esd-x", {"learning_rate": "0"}, "greater than 0"),
        ("esd-x", {"parameters": "everything"}, "'xattn', 'xattn-strict'.*'full'"),
        ("esd-x", {"trajectories": "4", "sampled_by": "edited"}, "esd-x: trajectories.*--method-option"),
        ("sld-max", {"warmup_steps": "1.5"}, "valid integer"),
        ("none", {"steps": "5"}, "none has no settings"),
    ],
)
def test_bad_options_are_one_clear_line(name, options, message):
    with pytest.raises(BenchError, match=message) as refused:
        build_method(name, options=options)
    assert "\n" not in str(refused.value)


def test_methods_of_other_packages_are_found_but_replace_none_of_ours(monkeypatch):
    points = [
        EntryPoint("theirs", "methods.none:NONE", registry.METHOD_ENTRY_POINTS),
        EntryPoint("esd-x", "methods.none:NONE", registry.METHOD_ENTRY_POINTS),
        EntryPoint("broken", "nowhere:NONE", registry.METHOD_ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: [p for p in points if p.group == group])

    assert method_names() == (*METHODS, "theirs", "broken")
    assert method_card("theirs") is method_card("none")
    assert method_card("esd-x").name == "esd-x"
    with pytest.raises(BenchError, match="'broken' cannot be loaded from nowhere:NONE"):
        method_card("broken")
