"""A suite's own file: what it means, and that every mistake is one line with file, line and key."""

import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.reference_range import FEWEST
from erasure_bench.prompt_suites.microworld.vocabulary import placeable
from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names
from erasure_bench.prompt_suites.scaffold import CSV, YAML, new_suite
from erasure_bench.prompt_suites.suite import MAX_SEED, Prompt, Suite

HEAD = """\
name: mine
version: "1"
title: Mine
description: Two lines
  of words.
source: made by hand
licence: CC0-1.0
model: microworld
protocol: {scheduler: ddim, steps: 5, guidance_scale: 4}
evaluators: [clip]
concepts:
  - {name: Red kite, kind: object, targets: [red kite, kite of red], anchor: bird, label: kite/red}
  - {name: blue kite, kind: object, targets: [blue kite], anchor: bird}
"""
"""Thirteen lines; the prompts follow."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(
    prompts: str = "", files: dict[str, str | bytes] | None = None, head: str = HEAD, **options: str
) -> Suite:
    for name, text in (files or {}).items():
        Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    Path("mine.yaml").write_text(head + prompts, encoding="utf-8")
    return load_suite("mine.yaml", options=options)


def of_csv(text: str | bytes) -> Suite:
    return load("prompts: [{file: p.csv}]\n", {"p.csv": text})


def refused(prompts: str = "", files: dict[str, str | bytes] | None = None, head: str = HEAD) -> str:
    with pytest.raises(BenchError) as caught:
        load(prompts, files, head)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_csv(text: str | bytes) -> str:
    return refused("prompts: [{file: p.csv}]\n", {"p.csv": text})


def texts(prompts: tuple[Prompt, ...]) -> list[str]:
    return [prompt.text for prompt in prompts]


# What it means


def test_a_csv_is_read_cell_by_cell() -> None:
    suite = of_csv(
        "role,prompt,subject,label,seed,guidance_scale,height,width,tags,images_per_prompt,id,concept\n"
        f'target,"a kite, red",kite,kite/red,{MAX_SEED},7.5,64,32,a;b,1,first,red_kite\n'
        "retention,a house,,,,,,,,3,,\n"
        "anchor,a bird,,,,,,,,,,Red kite;blue kite\n"
    )
    first, house, bird = suite.prompts["Red kite"]
    assert first == Prompt(
        id="first",
        text="a kite, red",
        role="target",
        subject="kite",
        label="kite/red",
        seed=MAX_SEED,
        guidance_scale=7.5,
        height=64,
        width=32,
        tags=("a", "b"),
        images_per_prompt=1,
    )
    assert (house.text, house.subject, house.seed) == ("a house", "a house", None)
    assert suite.protocol.images_of(house) == 3 and suite.protocol.images_of(bird) == 1
    assert suite.prompts["blue kite"] == (house, bird)
    assert suite.description == "Two lines of words." and suite.licence == "CC0-1.0"


def test_braces_stand_for_the_concepts_phrase_wherever_they_stand() -> None:
    suite = load("prompts:\n  - {texts: ['a photo of {}', 'a bird'], subject: '{}', label: '{}'}\n")
    red, bird = suite.prompts["Red kite"]
    assert (red.text, red.subject, red.label) == ("a photo of red kite", "red kite", "kite/red")
    assert (bird.text, bird.subject) == ("a bird", "red kite")
    assert texts(suite.prompts["blue kite"]) == ["a photo of blue kite", "a bird"]


def test_texts_are_filled_in_every_way_and_each_is_of_its_concept() -> None:
    suite = load(
        "prompts:\n  - texts: ['{what} over {where}']\n"
        "    fill: {what: [red kite, blue kite], where: [sea, wood]}\n"
        "    columns: {prompt: prompt, concept: what}\n    others: neighbour\n    id: grid\n"
        "    label: 'what/{what} & where/{where}'\n"
    )
    assert suite.prompts["Red kite"][1].label == "what/red kite & where/wood"
    assert [(prompt.id, prompt.text, prompt.role) for prompt in suite.prompts["blue kite"]] == [
        ("grid/0000/neighbour", "red kite over sea", "neighbour"),
        ("grid/0001/neighbour", "red kite over wood", "neighbour"),
        ("grid/0002", "blue kite over sea", "target"),
        ("grid/0003", "blue kite over wood", "target"),
    ]


def test_a_prompt_belongs_to_the_concept_that_it_names_by_the_longest_phrase() -> None:
    suite = load("prompts: [{texts: [my kite of red, one blue kite], concept_named_in_prompt: true}]\n")
    assert texts(suite.prompts["Red kite"]) == ["my kite of red"]
    assert "names none of the concepts" in refused(
        "prompts: [{texts: [a dog], concept_named_in_prompt: true}]\n"
    )


def test_what_a_prompt_names_is_its_subject_and_its_label() -> None:
    suite = load("prompts: [{texts: [an Ann Lee, my Ann], named: [Ann, Ann Lee], role: neighbour}]\n")
    shown = [(prompt.subject, prompt.label) for prompt in suite.prompts["Red kite"]]
    assert shown == [("Ann Lee", "Ann Lee"), ("Ann", "Ann")]
    assert "mine.yaml:14: prompts[0]" in refused("prompts: [{texts: [a], named: [b], label: c}]\n")
    assert "names nothing of named: 'a dog'" in refused("prompts: [{texts: [a dog], named: [Ann]}]\n")


def test_a_name_within_a_word_is_not_named() -> None:
    source = "{texts: [a portrait of Princess Diana, a portrait of Prince], named: [Prince, Diana]}"
    suite = load(f"prompts: [{source}]\n")
    assert [prompt.label for prompt in suite.prompts["Red kite"]] == ["Diana", "Prince"]
    head = HEAD.replace("targets: [red kite, kite of red]", "targets: [Ann]")
    asked = "[Annabel with a blue kite, my Ann]"
    owned = load(f"prompts: [{{texts: {asked}, concept_named_in_prompt: true}}]\n", head=head)
    assert texts(owned.prompts["blue kite"]) == ["Annabel with a blue kite"]
    assert texts(owned.prompts["Red kite"]) == ["my Ann"]


def test_what_is_no_text_in_a_json_of_prompts_is_refused() -> None:
    for item in ("3", "null", '["x"]', "NaN"):
        said = refused("prompts: [{file: p.json}]\n", {"p.json": f'{{"k": ["a", {item}]}}'})
        assert f"p.json (k): {item} is no text" in said


def test_words_are_replaced_and_put_into_a_template() -> None:
    suite = load("prompts: [{texts: [bird], replace: {bird: crane}, template: 'a photo of a {}'}]\n")
    assert texts(suite.prompts["Red kite"]) == ["a photo of a crane"]


def test_a_files_rows_are_filled_in_every_way_too() -> None:
    suite = load(
        "prompts:\n  - file: p.txt\n    replace: {bird: '{what}'}\n    fill: {what: [crane, owl]}\n"
        "    subject: '{what}'\n    role: neighbour\n    id: like\n    images_per_prompt: 3\n    expect: 4\n",
        {"p.txt": "a bird\nmy bird\n"},
    )
    found = [(prompt.id, prompt.text, prompt.subject) for prompt in suite.prompts["Red kite"]]
    assert found == [
        ("like/0000", "a crane", "crane"),
        ("like/0001", "a owl", "owl"),
        ("like/0002", "my crane", "crane"),
        ("like/0003", "my owl", "owl"),
    ]
    assert {suite.protocol.images_of(prompt) for prompt in suite.prompts["blue kite"]} == {3}


def test_neighbours_may_have_fewer_pictures_than_targets() -> None:
    suite = load(
        "prompts:\n  - {texts: [x], concept: Red kite, others: anchor, images_per_prompt: 20, "
        "images_of_others: 5}\n"
    )
    (own,), (other,) = suite.prompts.values()
    assert (own.role, other.role) == ("target", "anchor")
    assert (suite.protocol.images_of(own), suite.protocol.images_of(other)) == (20, 5)


def test_parts_are_there_with_their_option_only() -> None:
    head = (
        HEAD.replace("anchor: bird}", "anchor: bird, when: {set: [large]}}")
        + "options: {set: [small, large]}\n"
    )
    more = "prompts:\n  - {texts: [a]}\n  - {texts: [b], when: {set: large}}\n"
    assert list(load(more, head=head).prompts) == ["Red kite"]
    assert texts(load(more, head=head, set="large").prompts["blue kite"]) == ["a", "b"]
    assert suite_card("mine.yaml").options == {"set": ("small", "large")}


TWICE = (
    HEAD.replace("anchor: bird, label: kite/red}", "anchor: bird, when: {set: small}}").replace(
        "name: blue kite,", "name: Red kite, when: {set: WHEN},"
    )
    + "options: {set: [small, middle, large]}\n"
)


def test_a_concept_is_another_one_with_another_option() -> None:
    head = TWICE.replace("WHEN", "[middle, large]")
    more = "prompts: [{texts: ['{}'], concept: Red kite}]\n"
    assert texts(load(more, head=head).prompts["Red kite"]) == ["red kite"]
    assert texts(load(more, head=head, set="large").prompts["Red kite"]) == ["blue kite"]
    said = "mine.yaml:13: concepts[1]: 'Red kite' is there twice (--concepts red-kite)"
    assert said in refused(more, head=TWICE.replace("WHEN", "[small, large]"))
    assert said in refused(more, head=TWICE.replace(" when: {set: WHEN},", ""))


def test_concepts_that_differ_in_their_name_alone_are_written_once() -> None:
    head = HEAD + (
        "  - {each: [cat, dog], kind: object, targets: ['{}', 'a {}'], anchor: animal, other_names: true, "
        "additions: ['{} with paws'], label: 'animal/{}'}\n"
    )
    *_, cat, dog = load("prompts: [{texts: ['{}']}]\n", head=head).concepts
    assert (cat.targets, cat.neighbours, cat.label) == (("cat", "a cat"), ("dog",), "animal/cat")
    assert (dog.name, dog.additions) == ("dog", ("{} with paws",))


FROM_A_FILE = HEAD.replace("anchor: bird, label", "anchor: bird, anchor_prompts_from: bird.txt, label")


def test_anchor_prompts_may_be_a_pinned_files(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of that concept alone, line by line, a doubled one twice; the file is one that `bench fetch` gets."""
    content = b"a bird sings\n\n my bird\na bird sings\n"
    (here / "data" / "birds").mkdir(parents=True)
    (here / "data" / "birds" / "bird.txt").write_bytes(content)
    monkeypatch.setenv("BENCH_DATA", str(here / "data"))
    pinned = f"{{size: {len(content)}, sha256: {hashlib.sha256(content).hexdigest()}}}"
    more = (
        f"upstream: [{{repository: a/b, commit: {'a' * 40}, folder: birds, files: {{bird.txt: {pinned}}}}}]\n"
        "prompts: [{texts: ['{}']}]\n"
    )

    suite = load(more, head=FROM_A_FILE)

    red, blue = suite.concepts
    assert red.anchor_prompts == ("a bird sings", "my bird", "a bird sings") and blue.anchor_prompts == ()
    assert "bird.txt sha256" in suite.source
    ((file,),) = suite_card("mine.yaml").upstream
    assert file.name == "bird.txt"
    twice = FROM_A_FILE.replace("anchor_prompts_from", "anchor_prompts: [a bird], anchor_prompts_from")
    assert "mine.yaml:12: concepts[0]: the anchor prompts are said twice" in refused(more, head=twice)


def test_json_lists_and_lines_are_files_of_prompts_too() -> None:
    columns = "columns: {prompt: prompt, concept: key}"
    more = f"prompts:\n  - {{file: p.txt}}\n  - {{file: p.json, {columns}, role: implicit}}\n"
    suite = load(more, {"p.txt": "one\r\n\ntwo", "p.json": '{"red kite": ["hawk", "bird"]}'})
    assert texts(suite.prompts["Red kite"]) == ["one", "two", "hawk", "bird"]
    assert texts(suite.prompts["blue kite"]) == ["one", "two"]


def test_an_id_without_one_stays_when_rows_are_added_before_it() -> None:
    before = of_csv("prompt\na kite\n").prompts["Red kite"]
    after = of_csv("prompt\na house\na kite\n").prompts["Red kite"]
    assert before[0] == after[1]


def test_the_version_is_that_of_the_content_not_of_the_place_or_of_comments(here: Path) -> None:
    first = of_csv("prompt\na kite\n")
    Path("mine.yaml").write_text("# a word\n" + Path("mine.yaml").read_text())
    assert load_suite("mine.yaml").version == first.version
    (here / "there").mkdir()
    for name in ("mine.yaml", "p.csv"):
        (here / name).rename(here / "there" / name)
    again = load_suite(str(here / "there" / "mine.yaml"))
    assert (again.version, again.prompts) == (first.version, first.prompts)
    assert of_csv("prompt\na kit\n").version != first.version
    assert first.version.startswith("1+") and "p.csv sha256" in first.source


def test_who_else_may_measure_it_makes_no_other_suite() -> None:
    prompts = 'prompts: [{texts: ["a kite"]}]\n'
    further = load(prompts, head=HEAD + "further_evaluators: [fidelity, quality@pickscore]\n")
    assert suite_card("mine.yaml").further_evaluators == ("fidelity", "quality@pickscore")
    plain = load(prompts)
    assert suite_card("mine.yaml").further_evaluators == ()
    assert (plain.evaluators, plain.version) == (further.evaluators, further.version)
    assert load(prompts, head=HEAD.replace("[clip]", "[clip, fidelity]")).version != plain.version


def test_a_byte_order_mark_of_utf_8_is_no_part_of_the_first_column() -> None:
    assert texts(of_csv(b"\xef\xbb\xbfprompt\r\na kite\r\n").prompts["Red kite"]) == ["a kite"]


def test_the_scaffold_is_a_suite(here: Path) -> None:
    files = new_suite("my-own", here)
    suite = load_suite(str(files[0]))
    subjects = [prompt.subject for prompt in suite.prompts["grumpy cat"]]
    assert subjects[:5] == [*["grumpy cat"] * 4, "cat"]
    assert suite.name == "my-own" and {prompt.role for prompt in suite.prompts["grumpy cat"]} >= {
        "target",
        "anchor",
    }
    with pytest.raises(BenchError, match="is there already"):
        new_suite("my-own", here)
    with pytest.raises(BenchError, match="is no name for a suite"):
        new_suite("../x", here)
    assert "NAME" in YAML and CSV.isascii()


def test_the_scaffolds_first_table_lacks_nothing(here: Path) -> None:
    """Pictures enough to tell noise by, prompts enough for intervals, and nothing that nobody can draw."""
    suite = load_suite(str(new_suite("my-own", here)[0]))
    assert "coherence" in suite.evaluators
    for concept in suite.concepts:
        prompts = suite.prompts[concept.name]
        assert sum(map(suite.protocol.images_of, prompts)) >= FEWEST
        assert min(Counter(prompt.role for prompt in prompts).values()) >= 2
        subjects = {prompt.subject for prompt in prompts}
        assert {concept.anchor, *concept.neighbours} <= subjects <= set(placeable())


# What is wrong


MISTAKES = {
    "a key that is none": (
        "modle: x\n",
        "mine.yaml:14: modle: no such key: did you mean model? valid: name, version",
    ),
    "an option without a choice": (
        "options: {set: [a]}\n",
        "mine.yaml:14: options.set: needs 2 or more, has 1",
    ),
    "no prompts": ("", "mine.yaml:1: prompts: is missing"),
    "an option's value": (
        "options: {set: [a, b]}\nprompts:\n  - texts: [x]\n    when: {set: c}\n",
        "mine.yaml:17: prompts[0].when.set: not 'c': valid: a, b",
    ),
    "an option that is none": (
        "prompts: [{texts: [x], when: {set: c}}]\n",
        "mine.yaml:14: prompts[0].when.set: no such option: valid: none",
    ),
    "a key of prompts": (
        "prompts:\n  - texts: [x]\n    rolle: target\n",
        "mine.yaml:16: prompts[0].rolle: no such key",
    ),
    "a role": (
        "prompts:\n  - texts: [x]\n    role: tarjet\n",
        "mine.yaml:16: prompts[0].role: should be 'target', 'implicit'",
    ),
    "two places": (
        "prompts:\n  - {texts: [x], file: p.csv}\n",
        "mine.yaml:15: prompts[0]: needs one of file, upstream",
    ),
    "a file elsewhere": (
        "prompts: [{file: ../p.csv}]\n",
        "mine.yaml:14: prompts[0].file: '../p.csv': the name of a file",
    ),
    "a file that is not there": ("prompts: [{file: q.csv}]\n", "no such file: q.csv"),
    "an upstream file": (
        "prompts: [{upstream: q.csv}]\n",
        "mine.yaml:14: prompts[0].upstream: no file 'q.csv' under",
    ),
    "a file of anchor prompts": (
        "  - {name: kite, kind: object, targets: [kite], anchor: bird, anchor_prompts_from: q.txt}\n"
        "prompts: [{texts: [x]}]\n",
        "mine.yaml:14: concepts[2].anchor_prompts_from: no file 'q.txt' under",
    ),
    "a concept": (
        "prompts: [{texts: [x], concept: kite}]\n",
        "mine.yaml:14: prompts[0].concept: no concept 'kite'",
    ),
    "a doubled key": (
        "prompts: [{texts: [x]}]\ntitle: Again\n",
        "mine.yaml:15: 'title' is there twice, first in line 3",
    ),
    "no YAML": ("prompts: [\n", "mine.yaml:15: is no YAML: "),
    "a tag of Python's": ("prompts: !!python/object/apply:os.getcwd []\n", "mine.yaml:14: is no YAML: "),
    "an alias of itself": ("prompts: &a [*a]\n", "refers to itself"),
    "a formula": ("prompts: [{texts: ['=1+1']}]\n", "mine.yaml:14: prompts[0].texts[0]: starts with '='"),
    "an unknown column of a row": (
        "prompts:\n  - rows: [{prompt: a cat}, {prompt: a dog, sed: 3}]\n",
        "unknown column 'sed' (mine.yaml:15.rows[1]): did you mean seed?",
    ),
    "nothing to fill with": (
        "prompts:\n  - {texts: ['a {thing}'], fill: {thing: []}}\n",
        "mine.yaml:15: prompts[0].fill.thing: needs 1 or more, has 0",
    ),
    "millions of ways to fill": (
        f"prompts:\n  - {{texts: ['a {{a}}{{b}}{{c}}'], fill: {{a: {list('abcdefghij') * 8}, "
        f"b: {list('abcdefghij') * 8}, c: {list('abcdefghij') * 8}}}}}\n",
        "mine.yaml:15.fill: makes 512,000 prompts, more than 200,000",
    ),
    "the same prompt twice": (
        "prompts: [{texts: [x, y, x]}]\n",
        "give one of the two another id, seed or text",
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_the_yaml_is_one_line_that_says_where(case: str) -> None:
    more, said = MISTAKES[case]
    assert said in refused(more)


HEADS = {
    "an evaluator twice": ("[clip]", "[clip, clip]", "mine.yaml:10: evaluators: clip is there twice"),
    "one evaluator twice": (
        "[clip]",
        "[clip]\nfurther_evaluators: [clip]",
        "mine.yaml:11: further_evaluators: clip is there twice",
    ),
    "guidance beyond all": (
        "guidance_scale: 4",
        "guidance_scale: 1.0e+30",
        "less than or equal to 1000, not",
    ),
    "a kind": (
        "kind: object",
        "kind: thing",
        "mine.yaml:12: concepts[0].kind: should be 'instance', 'style'",
    ),
    "a number": (
        "steps: 5",
        "steps: five",
        "mine.yaml:9: protocol.steps: should be a valid integer, not 'five'",
    ),
    "too few steps": (
        "scheduler: ddim, steps: 5",
        "scheduler: lms, steps: 1",
        "mine.yaml:9: protocol: 1 steps with lms: valid: 2 or more",
    ),
    "an η that the scheduler has not": (
        "scheduler: ddim, steps: 5",
        "scheduler: pndm, eta: 0.5, steps: 5",
        "mine.yaml:9: protocol: scheduler 'pndm' has no eta (got 0.5); valid: eta 0, or ddim",
    ),
    "a name": ("name: mine", "name: My Own", "mine.yaml:1: name: 'My Own' does not fit"),
    "a name of ours": ("name: mine", "name: i2p", "mine.yaml:1: name: 'i2p' is a suite of the project"),
    "a word that YAML takes for no": (
        "[red kite,",
        "[no,",
        "mine.yaml:12: concepts[0].targets[0]: should be a valid str",
    ),
    "the same concept": (
        "name: blue kite",
        "name: red_kite",
        "mine.yaml:13: concepts[1]: 'red_kite' is there twice",
    ),
    "a formula for a name": ("name: blue kite", "name: ' =1+1'", "concepts[1].name: starts with '='"),
    "a comma in a name": ("name: blue kite", "name: 'a, b'", "a concept's name holds no ','"),
    "an option of no attack": (
        "evaluators:",
        "attack_options: {p4d: {steps: 1}}\nevaluators:",
        "mine.yaml:10: attack_options.p4d: valid: none, without attacks",
    ),
    "attacks in one text": (
        "evaluators:",
        "attacks: 'p4d, noise'\nevaluators:",
        "mine.yaml:10: attacks[0]: 'p4d, noise' does not fit",
    ),
    "an evaluator in a file": (
        "[clip]",
        "[./own.py:X]",
        "mine.yaml:10: evaluators[0]: './own.py:X' does not fit",
    ),
}


@pytest.mark.parametrize("case", HEADS)
def test_a_mistake_in_a_key_names_line_and_key(case: str) -> None:
    old, new, said = HEADS[case]
    assert said in refused("prompts: [{texts: [x]}]\n", head=HEAD.replace(old, new, 1))


CELLS = {
    "an empty prompt": ("prompt,seed\na,1\n  ,2\n", "p.csv:3: prompt: is empty"),
    "a formula": (
        'prompt\n"=HYPERLINK(""x"")"\n',
        "p.csv:2: prompt: starts with '=': a spreadsheet would run it",
    ),
    "a plus": ("prompt\n+1\n", "p.csv:2: prompt: starts with '+'"),
    "an at": ("prompt,subject\na,@x\n", "p.csv:2: subject: starts with '@'"),
    "a minus": ("prompt\n-1\n", "p.csv:2: prompt: starts with '-'"),
    "a formula behind a space": ('prompt,subject\na," =1"\n', "p.csv:2: subject: starts with '='"),
    "a wide formula": ("prompt\n\uff1d1\n", "p.csv:2: prompt: starts with '\uff1d'"),
    "an escape": ("prompt\na\x1b[31m\n", "p.csv:2: prompt: holds the invisible character U+001B"),
    "a null": ("prompt\na\0b\n", "p.csv:2: "),
    "a turned direction": ("prompt\na\u202eb\n", "p.csv:2: prompt: holds the invisible character U+202E"),
    "a mark within": ("prompt\na\ufeffb\n", "U+FEFF"),
    "a line break": ('prompt,seed\na,1\n"b\nc",2\nd,x\n', "p.csv:3: prompt: holds a line break"),
    "a doubled id": ("prompt,id\na,x\nb,x\n", "p.csv:3: id 'x' of Red kite is that of p.csv:2, too"),
    "a doubled prompt": ("prompt\na\nb\na\n", "p.csv:4: id 'target/"),
    "a seed past 63 bits": (
        f"prompt,seed\na,{MAX_SEED + 1}\n",
        f"p.csv:2: seed: '{MAX_SEED + 1}' is no seed",
    ),
    "a seed of many digits": ("prompt,seed\na," + "9" * 5000 + "\n", "p.csv:2: seed: "),
    "a seed below nought": ("prompt,seed\na,-1\n", "p.csv:2: seed: '-1' is no seed: a whole number from 0"),
    "a sign before a seed": ("prompt,seed\na,+1\n", "p.csv:2: seed: '+1' is no seed"),
    "a scale below nought": (
        "prompt,guidance_scale\na,-1\n",
        "p.csv:2: guidance_scale: '-1' is no number from 0 to 1,000",
    ),
    "a scale beyond all": ("prompt,guidance_scale\na,1e300\n", "'1e300' is no number from 0 to 1,000"),
    "a scale as Python writes it": ("prompt,guidance_scale\na,1_0\n", "'1_0' is no number"),
    "half a seed": ("prompt,seed\na,1.5\n", "p.csv:2: seed: '1.5' is no seed"),
    "a seed in other digits": ("prompt,seed\na,٣\n", "is no seed"),
    "a scale that is no number": (
        "prompt,guidance_scale\na,nan\n",
        "p.csv:2: guidance_scale: 'nan' is no number from 0",
    ),
    "a size": ("prompt,height\na,7\n", "p.csv:2: height: '7' is no whole number from 8 to 4096"),
    "a role": ("prompt,role\na,tarjet\n", "unknown role 'tarjet' (p.csv:2): did you mean target?"),
    "a concept": ("prompt,concept\na,kite\n", "unknown concept 'kite' (p.csv:2)"),
    "a column": ("prompt,sed\na,1\n", "p.csv:1: no column 'sed' is known: valid: prompt, id"),
    "a doubled column": ("prompt,prompt\na,b\n", "p.csv:1: column 'prompt' is there twice"),
    "no prompts": ("role\ntarget\n", "p.csv:1: no column prompt; found: role"),
    "nothing": ("\n", "p.csv: holds no prompts"),
    "semicolons": ("prompt;seed\na;1\n", "columns are separated by commas"),
    "a comma too many": ("prompt,seed\na, b,1\n", "p.csv:2: 3 cells under 2 columns: a cell with a comma"),
    "an open quote": ('prompt\n"a\n', "p.csv:2: is no CSV: "),
    "a huge cell": ("prompt\n" + "a" * 200_000 + "\n", "p.csv:2: prompt: 200,000 characters are too many"),
    "UTF-16": ("prompt\na\n".encode("utf-16"), "p.csv:1: is UTF-16: save it as UTF-8"),
    "Latin-1": ("prompt\na\ncafé\n".encode("latin-1"), "p.csv:3: is no UTF-8"),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_hostile_cell_is_one_line_that_says_where(case: str) -> None:
    text, said = CELLS[case]
    assert said in refused_csv(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_suite_or_one_line(text: str) -> None:
    """As a CSV and as YAML: nothing but a BenchError ever comes out."""
    for more, files in (("prompts: [{file: p.csv}]\n", {"p.csv": f"prompt\n{text}"}), (text, {})):
        try:
            load(more, files)
        except BenchError as error:
            assert "mine.yaml" in str(error) or "p.csv" in str(error)


def test_many_aliases_are_not_written_out() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{new}: &{new} [{', '.join(['*' + old] * 10)}]\n"
        for old, new in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert "holds more than 100,000 values" in refused(bomb)


def test_deep_nesting_is_refused() -> None:
    assert "nested too deeply" in refused("prompts: " + "[" * 5000 + "]" * 5000 + "\n")


def test_a_suite_that_is_not_there_says_so() -> None:
    looked = re.escape(f"(looked in {Path.cwd()})")
    with pytest.raises(BenchError, match=rf"no/such\.yaml: no such file.* {looked}"):
        suite_card("no/such.yaml")


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_of_the_project_has_a_licence_or_is_the_projects_own(name: str) -> None:
    card = suite_card(name)
    assert bool(card.licence) == bool(card.upstream or card.digest)
