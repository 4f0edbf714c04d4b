"""The screen of minors holds for every suite, by whatever way it came."""

import dataclasses
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names
from erasure_bench.prompt_suites.screen import is_unsafe, screened, suggests_minor
from erasure_bench.prompt_suites.suite import Suite

SUITE = """\
name: mine
version: "1"
title: Mine
description: Mine
source: made by hand
licence: CC0-1.0
model: microworld
protocol: {{scheduler: ddim, steps: 5, guidance_scale: 4}}
evaluators: [clip]
concepts:
  - {{name: it, kind: {kind}, targets: [{target}], anchor: {anchor}}}
prompts:
{prompts}
"""


@pytest.mark.parametrize(
    ("text", "tier"),
    [
        ("a child in a garden", "strong"),
        ("KIDS at play", "strong"),
        ("a Teenager, portrait", "strong"),
        ("an 8 year old with a hat", "strong"),
        ("a 17-year-old, portrait", "strong"),
        ("a 1 7 - year - old, portrait", "strong"),
        ("a young and very happy girl", "strong"),
        ("a schoolgirl", "strong"),
        ("a sixteen year old, portrait", "strong"),
        ("a fifteen-year-old", "strong"),
        ("a 12 y.o. skater", "strong"),
        ("sixteen years of age", "strong"),
        ("somebody under 18", "strong"),
        ("a child_model, portrait", "strong"),
        ("a \uff43\uff48\uff49\uff4c\uff44", "strong"),
        ("a chi\u0301ld, a t\u00e9\u00e9n", "strong"),
        ("a ch\u200bild", "strong"),
        ("pre-pubescent", "strong"),
        ("1girl, solo", "weak"),
        ("a girl with a pearl earring", "weak"),
        ("a student in a library", "weak"),
        ("a 20 year old, portrait", None),
        ("a 2 0 year old, portrait", None),
        ("a 90 years old woman", None),
        ("a sixty year old, aged sixty-one", None),
        ("a wine aged one hundred years", "strong"),
        ("under 180 stars", None),
        ("a goat, kidney beans, a season", None),
        ("a portrait of a woman", None),
    ],
)
def test_words_that_suggest_a_minor(text: str, tier: str | None) -> None:
    assert suggests_minor(text) == tier


def test_words_of_nakedness_sex_and_violence() -> None:
    assert all(map(is_unsafe, ("a nude painting", "in a Bathtub", "blood on snow", "without clothes")))
    assert not any(map(is_unsafe, ("a house", "an embrace", "a gunmetal sky", "a Sussex field")))


def load(
    tmp_path: Path,
    *prompts: str,
    kind: str = "object",
    target: str = "kite",
    anchor: str = "bird",
    **options: str,
) -> Suite:
    (tmp_path / "mine.yaml").write_text(
        SUITE.format(
            kind=kind, target=target, anchor=anchor, prompts="\n".join(f"  - {each}" for each in prompts)
        )
    )
    return load_suite(str(tmp_path / "mine.yaml"), options=options)


def kept(suite: Suite) -> list[str]:
    return [prompt.text for prompts in suite.prompts.values() for prompt in prompts]


def test_of_an_unsafe_concept_no_prompt_with_a_strong_word_is_sent(tmp_path: Path) -> None:
    suite = load(
        tmp_path,
        "{texts: [a person, a child]}",
        "{texts: [a child by the sea], role: anchor}",
        "{texts: [a child on a swing], role: retention}",
        "{texts: [a child in the bath], role: retention, id: bath}",
        kind="unsafe",
        target="nudity",
    )
    assert kept(suite) == ["a person", "a child on a swing"]
    assert [(part.rows, part.reason) for part in suite.left_out] == [
        (3, "words that mean or suggest a minor: never sent to a model")
    ]


def test_the_kind_that_a_user_writes_does_not_open_the_screen(tmp_path: Path) -> None:
    suite = load(tmp_path, "{texts: [a person, a child]}", kind="style", target="naked bodies")
    assert kept(suite) == ["a person"]


def test_of_any_concept_no_prompt_with_both_is_sent(tmp_path: Path) -> None:
    suite = load(tmp_path, "{texts: [a child with a kite, a naked child, a nude statue]}")
    assert kept(suite) == ["a child with a kite", "a nude statue"]


def test_weak_words_are_left_out_on_demand_where_something_is_unsafe(tmp_path: Path) -> None:
    unsafe = {"kind": "unsafe", "target": "nudity"}
    prompts = "{texts: [a person, a girl]}"
    assert kept(load(tmp_path, prompts, **unsafe)) == ["a person", "a girl"]
    suite = load(tmp_path, prompts, **unsafe, **{"weak-rows": "left-out"})
    assert kept(suite) == ["a person"] and "weak-rows=left-out" in suite.left_out[0].reason
    with pytest.raises(BenchError, match="has no option 'weak-rows'"):
        load(tmp_path, prompts, **{"weak-rows": "left-out"})


@pytest.mark.parametrize("phrases", [{"anchor": "a child"}, {"target": "'nude teens'"}])
def test_a_concepts_own_phrases_are_screened(tmp_path: Path, phrases: dict[str, str]) -> None:
    with pytest.raises(BenchError, match="suggests a minor beside something unsafe: never sent to a model"):
        load(tmp_path, "{texts: [a person]}", **{"kind": "unsafe", "target": "nudity", **phrases})


def test_a_suite_of_such_prompts_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="every prompt for it has words that suggest a minor"):
        load(tmp_path, "{texts: [a naked child]}")


@pytest.mark.parametrize("name", [name for name in suite_names() if not suite_card(name).upstream])
def test_the_projects_own_suites_lose_nothing(name: str) -> None:
    assert load_suite(name).left_out == ()


def test_what_rewrites_a_prompt_goes_with_it(tmp_path: Path) -> None:
    suite = load(tmp_path, "{texts: [a person, two persons]}", kind="unsafe", target="nudity")
    first, second = suite.prompts["it"]
    bad = dataclasses.replace(first, text="a child")
    again = dataclasses.replace(first, id="again", text="a chld", role="misspelt", rewrites=first.id)
    found = screened(dataclasses.replace(suite, prompts={"it": (bad, second, again)}))
    assert found.prompts["it"] == (second,)
    assert [left.rows for left in found.left_out] == [2]
