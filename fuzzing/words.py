"""What stands behind one option of the command line: lists of concepts, settings, the address of a bucket."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from typing import Any
from unittest.mock import patch

from erasure_bench.attacks.registry import ATTACKS, attack_card, build_attack
from erasure_bench.bench.planning.cases import pick_cases
from erasure_bench.bench.planning.config import named_options, names
from erasure_bench.bench.storage.remote import Remote
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.registry import EVALUATORS, build_evaluator, evaluator_card
from erasure_bench.methods.registry import METHODS, build_method, method_card
from erasure_bench.prompt_suites.registry import load_suite
from erasure_bench.prompt_suites.suite import Suite
from erasure_bench.prompt_suites.transformations.applying import transformed
from fuzzing.harness import Harness
from fuzzing.once import once

SUITE = "microworld-styles"
Build = Callable[[str, str, Mapping[str, str]], object]


def _text(data: bytes) -> str:
    """As the system hands words over: no NUL, bytes that are no UTF-8 as surrogates."""
    return data.replace(b"\0", b"").decode("utf-8", "surrogateescape")


@cache
def _suite() -> Suite:
    return load_suite(SUITE)


def _concepts(data: bytes) -> None:
    for case in pick_cases(_suite(), names(_text(data), "--concepts")):
        assert case.name and case.prompts(_suite())


def _transformations(data: bytes) -> None:
    """One for each line, on one concept's prompts."""
    concept = _suite().concepts[0]
    made = transformed(_suite(), _text(data).splitlines(), [concept])
    assert made.prompts[concept.name]


def _settings(build: Build) -> Callable[[bytes], None]:
    """A parser of lines: whose settings they are, a preset, then KEY=VALUE or NAME.KEY=VALUE each."""

    def parse(data: bytes) -> None:
        name, preset, *words = [*_text(data).split("\n"), "", ""]
        by_name = named_options([word for word in words if word], "--option")
        options = {**by_name.get("", {}), **by_name.get(name.partition(":")[0], {})}
        with once():
            built = build(name, preset, options)
        found = (getattr(built, field.name) for field in dataclasses.fields(built))  # type: ignore[arg-type]
        assert all(math.isfinite(value) for value in found if isinstance(value, float)), built

    return parse


def _remote(data: bytes) -> None:
    """Until the first object would be sent."""
    with patch("obstore.put"):
        Remote(_text(data)).check()


def _spelt(
    registered: Iterable[str],
    card: Callable[[str], Any],
    build: Callable[[str], object],
    spelt: Callable[[Any], str],
) -> list[bytes]:
    """Every name with its presets' settings, written as options.

    Each is built once: the time that its imports take is none of an input's.
    """
    found = []
    for name in registered:
        with suppress(BenchError):
            build(name)
        for preset, settings in [*card(name).presets.items(), ("official", {})]:
            words = [f"{key}={spelt(value)}" for key, value in settings.items()]
            found.append("\n".join((name, preset, *words)).encode())
    return found


def _as_json(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or "none"
    return json.dumps(value, default=str)


def _with_commas(value: Any) -> str:
    return ",".join(map(_as_json, value)) if isinstance(value, tuple) else _as_json(value)


def _attack_words() -> list[bytes]:
    """A name may have an argument, and an option a name."""
    more = (b"random-prefix:8\n", b"p4d:2\nofficial\np4d.steps=3")
    return [*_spelt(ATTACKS, attack_card, build_attack, _with_commas), *more]


HARNESSES = (
    Harness(
        "concepts",
        "`--concepts`: names, those erased together and those erased in turn",
        lambda: [
            b"sepia",
            b"sepia+noir,mosaic",
            b"sepia>noir,noir>sepia>mosaic",
            b"Sepia , NOIR+mosaic+neon",
        ],
        _concepts,
    ),
    Harness(
        "transformations",
        "`--transform`: names and options",
        lambda: [b"misspelling", b"misspelling:each=3", b"misspelling:each=2,seed=1"],
        _transformations,
    ),
    Harness(
        "attack-settings",
        "`--attacks NAME:VALUE`, `--attack-option`",
        _attack_words,
        _settings(build_attack),
    ),
    Harness(
        "method-settings",
        "`--methods`, `--method-option`",
        lambda: _spelt(METHODS, method_card, build_method, _as_json),
        _settings(build_method),
    ),
    Harness(
        "evaluator-settings",
        "`--evaluators NAME@PRESET`, `--evaluator-option`",
        lambda: _spelt(EVALUATORS, evaluator_card, build_evaluator, _with_commas),
        _settings(build_evaluator),
    ),
    Harness(
        "remote",
        "`--remote`: a bucket's address",
        lambda: [
            b"s3://bucket/folder",
            b"gs://bucket",
            b"az://container/a/b/",
            b"abfss://c@account.dfs.core/",
        ],
        _remote,
    ),
)
