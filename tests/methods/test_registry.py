"""The table of methods: light to import, clear about mistakes, and every preset can be built."""

import subprocess
import sys

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.foreign.targets import load_target
from erasure_bench.methods import registry
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit
from erasure_bench.methods.machinery import guidances
from erasure_bench.methods.machinery.guidances import GUIDANCES
from erasure_bench.methods.registry import METHODS, build_method, method_card, method_names
from erasure_bench.prompt_suites.concepts import Concept

HEAVY = ("torch", "diffusers", "transformers", "numpy", "pydantic")


def test_listing_methods_imports_nothing_heavy():
    listing = "from erasure_bench.methods.registry import method_names as names; names()"
    code = f"import sys; {listing}; print(set({HEAVY}) & set(sys.modules))"
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
        written = {
            key: ",".join(value) if isinstance(value, tuple) else str(value)
            for key, value in {**card.settings, **card.presets[preset]}.items()
        }
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
        ("uce", {"retain": "foo"}, r"'none' or 'neighbours'; a list is written as JSON: \["),
        ("uce", {"keep_scale": "inf"}, "keep_scale=inf: not a finite number"),
    ],
)
def test_bad_options_are_one_clear_line(name, options, message):
    with pytest.raises(BenchError, match=message) as refused:
        build_method(name, options=options)
    assert "\n" not in str(refused.value)
    assert str(refused.value).count("--method-option") == 1


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution as pip leaves it: two modules beside their `.dist-info` on the search path."""
    info = tmp_path / "their_erasure-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-erasure\nVersion: 1.2\n")
    (info / "RECORD").write_text("")
    (info / "entry_points.txt").write_text(
        f"[{registry.METHOD_ENTRY_POINTS}]\n"
        "theirs = their_erasure.method:CARD\n"
        "their-class = their_erasure.method:Theirs\n"
        "esd-x = their_erasure.method:CARD\n"
        "absent = their_erasure.absent:CARD\n"
        "nameless = their_erasure.method:NOTHING\n"
        "failing = their_erasure.failing:CARD\n"
        "no-method = their_erasure.method:number\n"
        f"[{guidances.GUIDANCE_ENTRY_POINTS}]\n"
        "their-guidance = their_erasure.method:Guide\n"
    )
    package = tmp_path / "their_erasure"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "failing.py").write_text("raise RuntimeError('no\\nGPU')\n")
    (package / "method.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "their_erasure"]:
        del sys.modules[name]


THEIRS = '''
from dataclasses import dataclass

from erasure_bench.methods.base import MethodCard
from erasure_bench.methods.edit import new_edit
from erasure_bench.models.guidance import Guided


@dataclass(frozen=True)
class Guide:
    strength: float
    unconditional_text: str = ""
    texts: tuple[str, ...] = ()

    def combine(self, step, state=None):
        return Guided(self.strength * step.unconditional)


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """Their way of erasing."""

    strength: float = 0.5

    def erase(self, model, concepts, context):
        return new_edit("theirs", self, model, concepts, guidance=Guide(self.strength))


CARD = MethodCard(
    name="theirs", title="T", paper="P", formula="F", build=Theirs, presets={"official": {"strength": 0.25}}
)
number = 1
'''


def test_methods_of_installed_packages_are_found_but_replace_none_of_ours(installed):
    others = ("theirs", "their-class", "absent", "nameless", "failing", "no-method")
    assert method_names() == (*METHODS, *others)
    assert method_card("theirs").title == "T"
    assert build_method("theirs").strength == 0.25
    assert build_method("theirs", options={"strength": "2"}).strength == 2.0
    assert method_card("esd-x").title != "T"


def test_a_package_may_register_the_bare_class(installed):
    card = method_card("their-class")
    assert (card.name, card.title) == ("their-class", "Their way of erasing")
    assert build_method("their-class").strength == 0.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", r"method 'absent' cannot be loaded from their_erasure\.absent:CARD: No module named"),
        ("nameless", r"method 'nameless' cannot be loaded from .*has no attribute 'NOTHING'"),
        ("failing", r"method 'failing' cannot be loaded from .*: RuntimeError: no GPU$"),
        ("no-method", r"method 'no-method' is no method: it is of type int"),
    ],
)
def test_what_is_wrong_with_a_package_is_one_clear_line(installed, name, message):
    with pytest.raises(BenchError, match=message) as refused:
        build_method(name)
    assert "\n" not in str(refused.value)


def test_a_packages_guidance_is_kept_with_its_edits(installed, tiny_model, tmp_path):
    concept = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
    edit = build_method("theirs").erase(tiny_model, (concept,), EraseContext())
    edit.save(tmp_path / "edit")

    assert Edit.load(tmp_path / "edit").guidance == edit.guidance
    assert '"their-guidance"' in (tmp_path / "edit" / "edit.json").read_text()
