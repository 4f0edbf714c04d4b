"""`NAME@LABEL`: one evaluator several times in a run, each with settings of its own."""

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from erasure_bench.bench.planning.chosen import (
    choose_evaluator,
    evaluator_name,
    option_names,
    with_its_option,
)
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.preflight import check_evaluators
from erasure_bench.bench.planning.prepare import _evaluators, _no_stray_options
from erasure_bench.errors import BenchError, NotHere, UnknownName
from erasure_bench.evaluators.base import Evaluator
from erasure_bench.evaluators.instances import Instance, instance
from erasure_bench.evaluators.registry import EVALUATORS, build_evaluator, evaluator_card
from erasure_bench.models.zoo import ModelSource

SOURCE = ModelSource("fake", Path("."), None, "0" * 64)

OWN = '''
from dataclasses import dataclass
from erasure_bench.evaluators.base import Metric, by_role


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """How bright."""

    power: float = 1.0
    metrics = (Metric("brightness", "brightness", "share", (0.0, 1.0), by_role("neither", "neither")),)

    def protocol(self):
        return {"power": self.power}

    def prepare(self): ...

    def score(self, images): ...
'''


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("nudity", Instance("nudity", None)),
        ("nudity@640m", Instance("nudity", "640m")),
        ("nudity@v3.0", Instance("nudity", "v3.0")),
        ("./mine.py:Brightness", Instance("./mine.py:Brightness", None)),
        ("./mine.py:Brightness@dark", Instance("./mine.py:Brightness", "dark")),
        ("./at@home/mine.py:Brightness", Instance("./at@home/mine.py:Brightness", None)),
        ("./me@home.py", Instance("./me@home.py", None)),
        ("@640m", Instance("@640m", None)),
        ("nudity@", Instance("nudity@", None)),
    ],
)
def test_a_label_is_what_stands_after_the_name(written: str, meant: Instance) -> None:
    assert instance(written) == meant


def _setting(evaluator: Evaluator, name: str) -> object:
    return getattr(evaluator, name)


def test_an_instance_has_its_presets_settings_whatever_the_model_asks_for() -> None:
    plain, small = build_evaluator("clip", "official"), build_evaluator("clip@microworld", "official")

    assert evaluator_card("clip@microworld") is evaluator_card("clip")
    assert _setting(plain, "template") == "A photo depicts {}"
    assert _setting(small, "template") == "a picture of {}"
    # The suite's settings hold unless the preset, which the user named, says otherwise.
    suited = build_evaluator("clip@microworld", None, {}, {"template": "{}", "precision": "bf16"})
    assert (_setting(suited, "template"), _setting(suited, "precision")) == ("a picture of {}", "bf16")
    assert _setting(build_evaluator("clip@mine", None, {}, {"template": "{}"}), "template") == "{}"


def test_two_of_one_evaluator_stand_side_by_side(fake: ModuleType) -> None:
    suite = replace(fake.tiny_suite(), evaluators=())
    config = RunConfig(
        suite="tiny",
        methods=("none",),
        evaluators=("nudity", "nudity@strict"),
        evaluator_options={"nudity@strict": {"threshold": "0.75"}},
    )

    (plain, strict), _ = _evaluators(config, suite, SOURCE)

    assert (plain.name, strict.name) == ("nudity", "nudity@strict")
    assert (plain.protocol["threshold"], strict.protocol["threshold"]) == (0.6, 0.75)
    assert plain.code == strict.code
    again = build_evaluator(strict.registered, strict.preset, strict.options, strict.settings)
    assert again.protocol()["threshold"] == 0.75


def test_a_label_that_says_nothing_is_refused(fake: ModuleType) -> None:
    suite = fake.tiny_suite()
    config = RunConfig(suite="tiny", methods=("none",), evaluators=("clip@microwrld",))

    with pytest.raises(UnknownName, match="unknown preset 'microwrld'.*did you mean microworld"):
        _evaluators(config, suite, SOURCE)
    with pytest.raises(UnknownName, match="did you mean nudity"):
        evaluator_card("nudty@640m")
    doubled = config.model_copy(update={"evaluators": ("clip@microworld", "clip@microworld")})
    with pytest.raises(BenchError, match="already"):
        _evaluators(doubled, suite, SOURCE)


def test_an_option_without_a_name_is_for_those_that_have_it(
    fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suite brings evaluators that the user never named: their weights need not be here for it."""
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    suite = replace(fake.tiny_suite(), evaluators=("nudity", "nudity@v2", "distance"))
    config = RunConfig(suite="tiny", methods=("none",), evaluator_options={"": {"device": "cpu"}})

    _no_stray_options(config, suite, ())
    chosen, skipped = _evaluators(config, suite, SOURCE)

    assert {each.name: dict(each.options) for each in chosen} == {"nudity": {"device": "cpu"}, "distance": {}}
    assert len(skipped) == 1 and "nudity@v2.weights" in skipped[0]
    nobodys = config.model_copy(update={"evaluator_options": {"": {"devise": "cpu"}}})
    with pytest.raises(UnknownName, match="option of nudity, nudity@v2, distance 'devise'.*device"):
        _no_stray_options(nobodys, suite, ())
    named = config.model_copy(update={"evaluator_options": {"nudity@v2": {"device": "cpu"}}})
    with pytest.raises(NotHere, match=r"nudity@v2\.weights"):
        _evaluators(named, suite, SOURCE)


def test_a_users_own_has_instances_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    written = f"{tmp_path}/mine.py:Brightness"

    plain, dark = (
        choose_evaluator(written, None, {}, {}),
        choose_evaluator(f"{written}@dark", None, {"power": "2"}, {}),
    )

    assert evaluator_name(f"{written}@dark") == dark.name == "Brightness@dark"
    assert dark.registered == f"{written}@dark" and dark.file == plain.file
    assert dark.code == plain.code and dark.protocol["power"] == 2.0
    assert build_evaluator(dark.registered, None, dark.options).protocol() == {"power": 2.0}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("celebrity@giphy", "--evaluator-option celebrity@giphy.model=FILE"),
        ("celebrity@official", "--evaluator-option celebrity@official.pack=FOLDER"),
        ("celebrity", "--evaluator-option celebrity.pack=FOLDER"),
    ],
)
def test_an_error_names_the_option_as_the_run_takes_it(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BenchError, match=said):
        choose_evaluator(name, None, {}, {})


def test_an_error_on_loading_names_it_so_too(tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "one.onnx").write_bytes(b"no network at all, but long enough to be taken for one")
    chosen = choose_evaluator("celebrity@own", None, {"pack": str(pack)}, {})
    with pytest.raises(BenchError, match="celebrity@own.pack=FOLDER"):
        check_evaluators([chosen])


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("no file (--evaluator-option weights=PATH)", "no file (--evaluator-option nudity@v2.weights=PATH)"),
        ("--evaluator-option nudity.weights", "--evaluator-option nudity@v2.weights"),
        ("--evaluator-option nudity@v2.device=cpu.", "--evaluator-option nudity@v2.device=cpu."),
        ("--evaluator-option clip.weights=PATH", "--evaluator-option clip.weights=PATH"),
        ("or --evaluator-option batch_size=8, else", "or --evaluator-option nudity@v2.batch_size=8, else"),
        ("set it with --evaluator-option NAME=VALUE", "set it with --evaluator-option NAME=VALUE"),
        ("of its options (--evaluator-option)", "of its options (--evaluator-option)"),
    ],
)
def test_an_option_in_an_error_is_named_for_the_evaluator_that_wants_it(said: str, named: str) -> None:
    with pytest.raises(BenchError) as error, with_its_option("nudity@v2"):
        raise BenchError(said)
    assert str(error.value) == named


def test_every_evaluator_that_is_not_here_says_an_option_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed as it stands, an option without a name would be another evaluator's as well."""
    for folder in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME", "BENCH_MODELS"):
        monkeypatch.setenv(folder, str(tmp_path))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    told = 0
    for name in EVALUATORS:
        for label in ("", *(f"@{preset}" for preset in evaluator_card(name).presets)):
            try:
                choose_evaluator(f"{name}{label}", None, {}, {})
            except NotHere as error:
                for written, option in re.findall(r"--evaluator-option ([\w@.-]+)\.([a-z_]+)", str(error)):
                    assert written == f"{name}{label}", str(error)
                    assert option in option_names(name), str(error)
                    told += 1
                assert not re.search(r"--evaluator-option [a-z_]+(=|\s|\))", str(error)), str(error)
    assert told > 8
