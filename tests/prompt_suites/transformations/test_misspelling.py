"""Misspelt prompts of any suite: which words change, that none names a concept, that the list is fixed."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.classes import FORGET
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names
from erasure_bench.prompt_suites.suite import Prompt, Protocol, Suite
from erasure_bench.prompt_suites.transformations.applying import transformed
from erasure_bench.prompt_suites.transformations.phrases import named_in, phrases_of, words_of_concepts


def concept(name: str, *targets: str, neighbours: tuple[str, ...] = (), anchor: str = "thing") -> Concept:
    return Concept(name=name, kind="object", targets=targets or (name,), anchor=anchor, neighbours=neighbours)


def suite(prompts: dict[Concept, list[str]], *, name: str = "s", version: str = "1") -> Suite:
    return Suite(
        name=name,
        version=version,
        title="t",
        description="d",
        concepts=tuple(prompts),
        prompts={
            one.name: tuple(
                Prompt(id=f"{one.name}/{number}", text=text, role="target", subject=one.name, seed=number)
                for number, text in enumerate(texts)
            )
            for one, texts in prompts.items()
        },
        protocol=Protocol(scheduler="ddim", steps=1, guidance_scale=1.0),
        evaluators=(),
        model="m",
    )


def misspelt(one: Concept, *texts: str, each: int = 1, others: tuple[Concept, ...] = ()) -> list[str]:
    """The texts of the new prompts."""
    whole = suite({one: list(texts), **{other: [f"a {other.name}"] for other in others}})
    made = transformed(whole, [f"misspelling:each={each}"], [one])
    return [prompt.text for prompt in made.prompts[one.name] if prompt.rewrites]


def rewordings(made: Suite) -> list[tuple[Prompt, Prompt]]:
    """New prompts with what they rewrite."""
    pairs = []
    for prompts in made.prompts.values():
        own = {prompt.id: prompt for prompt in prompts}
        pairs += [(prompt, own[prompt.rewrites]) for prompt in prompts if prompt.rewrites]
    return pairs


ASKED_IN_WORDS = [
    name for name in suite_names() if not suite_card(name).pinned and FORGET not in suite_card(name).options
]
"""Not by a class's name, which a class-conditional generator takes as it is and in no other words."""


@pytest.mark.parametrize("name", ASKED_IN_WORDS)
def test_a_misspelt_prompt_is_its_source_in_all_but_the_concepts_word(name: str) -> None:
    original = load_suite(name)
    made = transformed(original, ["misspelling:each=2"])
    assert rewordings(made)
    by_name = {one.name: one for one in made.concepts}
    for one, prompts in made.prompts.items():
        phrases = phrases_of(by_name[one])
        own = {prompt.id: prompt for prompt in prompts}
        for prompt in (prompt for prompt in prompts if prompt.rewrites):
            source = own[prompt.rewrites or ""]
            assert replace(prompt, id=source.id, text=source.text, role="target", rewrites=None) == source
            assert prompt.role == "misspelt" and not named_in(prompt.text, phrases)
            before, after = source.text.split(), prompt.text.split()
            (changed,) = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
            assert changed[0].lower().strip('.,"') in " ".join(phrases)
            assert changed[1].lower() not in words_of_concepts(made.concepts)
    assert {one: prompts[: len(original.prompts[one])] for one, prompts in made.prompts.items()} == dict(
        original.prompts
    )


@pytest.mark.parametrize("name", ASKED_IN_WORDS)
def test_what_is_left_out_is_named(name: str) -> None:
    made = transformed(load_suite(name), ["misspelling"])
    targets = [
        (one, prompt.id)
        for one, prompts in made.prompts.items()
        for prompt in prompts
        if prompt.role == "target" and prompt.rewrites is None
    ]
    assert sorted((each.concept, each.source) for each in made.rewritten) == sorted(targets)
    for each in made.rewritten:
        words = next(prompt.text for prompt in made.prompts[each.concept] if prompt.id == each.source)
        named = named_in(words, phrases_of(next(one for one in made.concepts if one.name == each.concept)))
        assert bool(named) == (each.prompt is not None)
        assert each.prompt or each.change == "the concept's phrases are not in it"


words = st.text("abcdefgh", min_size=4, max_size=7)
others = st.text("xyz", min_size=1, max_size=7)


@settings(deadline=None)
@given(
    name=st.lists(words, min_size=1, max_size=3), around=st.lists(others, max_size=4), each=st.integers(1, 4)
)
def test_one_character_of_one_of_its_words_and_nothing_else(
    name: list[str], around: list[str], each: int
) -> None:
    phrase = " ".join(name)
    one = concept(phrase)
    before, after = " ".join(around[:2]), " ".join(around[2:])
    for text in misspelt(one, f"{before} {phrase} {after}", each=each):
        start, end = f"{before} ", f" {after}"
        assert text.startswith(start) and text.endswith(end)
        new = text[len(start) : len(text) - len(end)].split()
        changed = [(a, b) for a, b in zip(name, new, strict=True) if a != b]
        assert len(changed) == 1 and abs(len(changed[0][0]) - len(changed[0][1])) <= 1


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30))
def test_no_misspelling_comes_again_before_all_were_there(each: int, prompts: int) -> None:
    one = concept("grumpy cat")
    texts = misspelt(one, *(f"a grumpy cat, {number}" for number in range(prompts)), each=each)
    counts = Counter(text.partition(",")[0] for text in texts)
    assert max(counts.values()) - min(counts.values()) <= (1 if len(counts) == 21 else 0)


def test_the_list_is_fixed() -> None:
    """Another list is another version of the transformation: change both, and this test."""
    ball, art = concept("red ball"), concept("hokusai", "葛飾北斎", "Hokusai")
    made = transformed(
        suite(
            {ball: ["a Red Ball", "RED BALL on red ground"], art: ["葛飾北斎の絵", "by Hokusai"]}, name="f"
        ),
        ["misspelling:each=2"],
    )
    assert [(prompt.id, prompt.text) for prompt, _ in rewordings(made)] == PINNED
    assert {each.transformation for each in made.rewritten} == {"misspelling"}
    assert made.version == "1 + misspelling 2 (each=2)"


PINNED = [
    ("red ball/0~Red Bill", "a Red Bill"),
    ("red ball/0~Red Baall", "a Red Baall"),
    ("red ball/1~RED BLAL", "RED BLAL on red ground"),
    ("red ball/1~RED BAL", "RED BAL on red ground"),
    ("hokusai/0~葛北斎", "葛北斎の絵"),
    ("hokusai/0~葛北飾斎", "葛北飾斎の絵"),
    ("hokusai/1~Hokusoi", "by Hokusoi"),
    ("hokusai/1~Okusai", "by Okusai"),
]


def test_the_list_hangs_on_suite_version_and_seed_alone() -> None:
    one, other = concept("grumpy cat"), concept("silver spoon")
    texts = [f"a grumpy cat {number}" for number in range(6)]

    def made(whole: Suite, seed: int = 0) -> list[str]:
        return [
            prompt.text for prompt, _ in rewordings(transformed(whole, [f"misspelling:seed={seed}"], [one]))
        ]

    first = made(suite({one: texts}))
    assert made(suite({one: texts})) == first
    assert made(suite({other: ["a silver spoon"], one: texts})) == first
    assert len({tuple(found) for found in (first, made(suite({one: texts}, version="2")))}) == 2
    assert len({tuple(found) for found in (first, made(suite({one: texts}), seed=1))}) == 2


def test_a_phrase_within_a_phrase_is_misspelt_too() -> None:
    fire = concept("fire", "fire", "a blazing fire")
    for text in misspelt(fire, "a drawing of a blazing fire at night", each=9):
        assert text.startswith("a drawing of a blazing ") and text.endswith(" at night")
        assert not re.search(r"\bfire\b", text)


def test_every_place_is_misspelt_alike_and_case_is_kept() -> None:
    (text,) = misspelt(concept("grumpy cat"), "Grumpy Cat, GRUMPY CAT and the grumpy   cat's bowl")
    first, second, third = re.findall(r"(\w+)\s+cat", text, re.IGNORECASE)
    assert first.lower() == second.lower() == third and first.istitle() and second.isupper()
    assert text.endswith("  cat's bowl")


def test_no_edit_makes_another_concepts_word() -> None:
    boat, others = concept("boat"), (concept("goat", neighbours=("bat", "oat")), concept("boot"))
    found = {text.split()[1] for text in misspelt(boat, "a boat", each=50, others=others)}
    assert "bat" not in found and "oat" not in found and len(found) > 8
    assert {"bat", "oat"} <= {text.split()[1] for text in misspelt(boat, "a boat", each=50)}


@pytest.mark.parametrize(
    ("targets", "text", "is_named"),
    [
        (("cat",), "a scatter of cats", False),
        (("cat",), "a cat-like cat.", True),
        (("Пикассо",), "картина ПИКАССО", True),
        (("葛飾北斎",), "葛飾北斎の絵", True),
        (("피카소",), "피카소의 그림", True),
        (("cafe",), "a cafe\u0301", False),
        (("c++ (art)",), "in c++ (art) style", True),
    ],
)
def test_a_concept_is_named_by_whole_words(targets: tuple[str, ...], text: str, is_named: bool) -> None:
    assert bool(named_in(text, phrases_of(concept(targets[0], *targets)))) == is_named


def artist(name: str, *neighbours: str, anchor: str = "art") -> Concept:
    return Concept(name=name, kind="style", targets=(name,), anchor=anchor, neighbours=neighbours)


@pytest.mark.parametrize(
    ("one", "text", "changes"),
    [
        (artist("Pablo Picasso", "Van Gogh"), "A bull, in Picasso's style", True),
        (artist("Vincent van Gogh"), "stars by Gogh and GOGH", True),
        (artist("Ellen O'Neill-Smith"), "a dog by O'Neill-Smith", True),
        (artist("Pablo Picasso"), "a Pablo Picasso, not a Picasso", True),
        (artist("Emma Stone"), "a house of stone", False),
        (artist("Ajin: Demi Human"), "a Human with Ajin", False),
        (artist("mosaic style"), "a house in some Style", False),
        (artist("Brad Pitt", "Michael Pitt"), "a portrait of Pitt", False),
        (artist("Pop Art"), "Art of the sixties", False),
        (concept("Grumpy Cat"), "a photo of a Cat", False),
    ],
)
def test_an_artists_last_name_alone_names_them(one: Concept, text: str, changes: bool) -> None:
    last = one.name.split()[-1]
    if not changes:
        with pytest.raises(BenchError, match="the concept's phrases are not in it"):
            misspelt(one, text)
        return
    for new in misspelt(one, text, each=9):
        assert new != text and new.split()[0] == text.split()[0]
        assert not named_in(new, phrases_of(one)) and (one.name in text or not named_in(new, [last]))


def test_a_word_that_stands_twice_is_misspelt_in_both_places_where_one_would_not_do() -> None:
    """Of the caption of a memorised picture the concept's name is but a word."""
    one = concept("marvel", "Captain Marvel, shown by Marvel")
    for text in misspelt(one, "Captain Marvel, shown by Marvel", each=9):
        first, second = re.fullmatch(r"Captain (\w+), shown by (\w+)", text).groups()  # type: ignore[union-attr]
        assert first == second != "Marvel"
    (text,) = misspelt(concept("well well"), "a well well")
    assert text.split().count("well") == 1


@pytest.mark.parametrize(
    ("words", "left_out"),
    [("artists --set famous", 0), ("artists --set modern", 2), ("memorized", 0)],
)
def test_the_papers_prompts_are_rewritten(words: str, left_out: int, upstream_data: Path) -> None:
    if not (upstream_data / "MANIFEST.json").is_file():
        pytest.skip("the upstream files are not at hand (BENCH_DATA)")
    name, *options = words.split(" --")
    whole = load_suite(name, data_dir=upstream_data, options=dict(option.split() for option in options))
    made = transformed(whole, ["misspelling"])
    assert sum(each.prompt is None for each in made.rewritten) == left_out


def test_words_of_another_script_stay_in_it() -> None:
    (text,) = misspelt(concept("Пикассо"), "картина Пикассо, a painting")
    changed = text.removeprefix("картина ").removesuffix(", a painting")
    assert changed[0].isupper() and re.fullmatch("[а-яё]+", changed.lower())


def test_what_cannot_be_misspelt_is_said() -> None:
    with pytest.raises(BenchError, match=r"nothing of s can be rewritten: the concept's phrases are not"):
        misspelt(concept("cat"), "a dog")
    with pytest.raises(BenchError, match=r"the concept's words have no misspelling: too short"):
        misspelt(concept("Bo"), "a picture of Bo")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("misspelling:each=0", "each must be at least 1"),
        ("misspelling:each", "write it as NAME or NAME:KEY=VALUE"),
        ("misspelling:each=1,each=2", "each KEY once"),
        ("misspelling:ech=2", "did you mean each"),
    ],
)
def test_a_slip_is_one_line(asked: str, says: str) -> None:
    with pytest.raises(BenchError, match=says):
        transformed(suite({concept("cat"): ["a cat"]}), [asked])


def test_unknown_and_doubled_ones_are_refused() -> None:
    whole = suite({concept("cat"): ["a cat"]})
    with pytest.raises(UnknownName, match="did you mean misspelling"):
        transformed(whole, ["mispelling"])
    with pytest.raises(BenchError, match="is given twice"):
        transformed(whole, ["misspelling", "misspelling:each=2"])


def test_a_rewriting_without_its_source_is_no_suite() -> None:
    whole = suite({concept("cat"): ["a cat"]})
    (prompt,) = whole.prompts["cat"]
    for bad, says in (
        (replace(prompt, id="x", rewrites="y"), "which is no prompt of the concept"),
        (replace(prompt, id="x", rewrites=prompt.id, role="anchor"), "should lose the concept"),
        (replace(prompt, id="x", rewrites=prompt.id, seed=7), "has not the seed of"),
    ):
        with pytest.raises(ValueError, match=says):
            replace(whole, prompts={"cat": (prompt, bad)})


def test_no_wording_brings_in_a_word_of_the_screen() -> None:
    """One letter turns a kild, should there be any, into what is never sent to a model."""
    kild = concept("kild")
    found = misspelt(kild, "a portrait of a kild", each=99)
    assert "a portrait of a kid" not in found and "a portrait of a kil" in found
    grail = suite({concept("garl"): ["a garl in the snow"]})
    made = transformed(grail, ["misspelling:each=99"])
    assert made.rewritten and not any("girl" in prompt.text for prompt, _ in rewordings(made))
