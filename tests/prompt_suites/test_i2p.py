"""I2P: the real rows, exactly, less those that are never sent to a model."""

import csv
import functools
import gzip
import io
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.registry import load_suite, suite_card
from erasure_bench.prompt_suites.screen import suggests_minor
from erasure_bench.prompt_suites.suite import Prompt, Suite
from tests.upstream import UPSTREAM

N_ROWS = 4703
FILES, ATTACKED = suite_card("i2p").upstream
LOCAL = [UPSTREAM / "i2p" / f"{file.name}.gz" for file in FILES]
needs_data = pytest.mark.skipif(
    not all(path.is_file() for path in LOCAL), reason="I2P's files are not at hand (BENCH_DATA)"
)
OPTIONS = suite_card("i2p").options
EVERY_FORM = [
    {"mode": mode, "concept": concept, "weak-rows": weak}
    for mode in OPTIONS["mode"]
    for concept in OPTIONS["concept"]
    for weak in OPTIONS["weak-rows"]
]
SUBSETS = {
    "all": 4703,
    "nudity": 854,
    "unlearndiffatk": 142,
    "sexual": 931,
    "shocking": 856,
    "harassment": 824,
    "self-harm": 801,
    "violence": 756,
    "illegal activity": 727,
    "hate": 231,
}
"""Rows of each subset, as the papers count them: before the screen."""
BEYOND_THE_LIST = {983, 1139, 1862, 4496}
"""Rows that the screen leaves out and its list does not: an orphan, an age of six in letters, girls of 17 and
16 in digits apart."""


@functools.cache
def loaded(**options: str) -> Suite:
    return load_suite("i2p", data_dir=UPSTREAM, options=options)


def only(suite: Suite) -> tuple[Prompt, ...]:
    (prompts,) = suite.prompts.values()
    return prompts


def number(prompt: Prompt) -> int:
    return int(prompt.id.removeprefix("row/"))


def upstream_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def tiers() -> dict[str, set[int]]:
    """The rows of each tier by the screen's words."""
    found = [suggests_minor(row["prompt"]) for row in upstream_rows(LOCAL[1])]
    return {tier: {row for row, its in enumerate(found) if its == tier} for tier in ("strong", "weak")}


@needs_data
def test_the_screen_leaves_out_every_row_of_its_list_and_four_more() -> None:
    screen = UPSTREAM / "screen" / "minor_terms.csv"
    if not screen.is_file():
        pytest.skip("the screen's own file is not at hand (BENCH_DATA)")
    with screen.open(newline="", encoding="utf-8") as text:
        rows = [row for row in csv.DictReader(text) if row["file"].startswith("i2p/")]
    for file in {row["file"] for row in rows}:
        listed = {
            tier: {int(r["row"]) for r in rows if (r["file"], r["tier"]) == (file, tier)}
            for tier in ("strong", "weak")
        }
        assert (len(listed["strong"]), len(listed["weak"])) == (130, 454)
        assert tiers()["strong"] == listed["strong"] | BEYOND_THE_LIST
        assert tiers()["weak"] == listed["weak"] - BEYOND_THE_LIST


@needs_data
@pytest.mark.parametrize("subset", SUBSETS)
def test_every_subset_is_as_large_as_the_papers_say_and_keeps_the_rows_names(subset: str) -> None:
    suite = load_suite("i2p", data_dir=UPSTREAM, options={"subset": subset, "mode": "native"})
    whole = {
        prompt.id: prompt for prompt in only(load_suite("i2p", data_dir=UPSTREAM, options={"mode": "native"}))
    }
    assert len(only(suite)) + sum(part.rows for part in suite.left_out) == SUBSETS[subset]
    assert all(whole[prompt.id] == prompt for prompt in only(suite))


@needs_data
def test_the_subset_of_the_attack_is_read_from_the_attacks_own_file() -> None:
    (file,) = ATTACKED
    suite = loaded(subset="unlearndiffatk")
    assert file.repository in suite.source and file.sha256 in suite.source


@needs_data
@pytest.mark.parametrize("options", EVERY_FORM, ids=lambda options: "-".join(options.values()))
def test_no_strong_row_is_in_any_form_of_the_suite(options: dict[str, str]) -> None:
    suite = loaded(**options)
    rows, strong = upstream_rows(LOCAL[1]), tiers()["strong"]
    never = {rows[row]["prompt"] for row in strong}
    assert not strong & {number(prompt) for prompt in only(suite)}
    assert not never & {prompt.text for prompt in only(suite)}
    assert len(only(suite)) + sum(part.rows for part in suite.left_out) == N_ROWS
    assert suite.left_out[0].rows == len(strong) == 134


@needs_data
@pytest.mark.parametrize("path", LOCAL, ids=lambda path: path.name)
def test_every_prompt_is_its_upstream_row(path: Path, tmp_path: Path) -> None:
    (tmp_path / path.name).write_bytes(path.read_bytes())
    prompts = only(load_suite("i2p", data_dir=tmp_path, options={"mode": "native"}))
    rows = upstream_rows(path)
    assert len(rows) == N_ROWS and len(prompts) == N_ROWS - 134
    guidance = "evaluation_guidance" if "evaluation_guidance" in rows[0] else "sd_guidance_scale"
    seed = guidance.replace("guidance_scale", "seed").replace("guidance", "seed")
    for prompt in prompts:
        row = rows[number(prompt)]
        assert prompt.text == row["prompt"] or (number(prompt), row["prompt"]) == (2260, "")
        assert str(prompt.seed) == row[seed]
        assert prompt.guidance_scale == float(row[guidance])
        assert (str(prompt.width), str(prompt.height)) == (row["sd_image_width"], row["sd_image_height"])
        assert ", ".join(prompt.tags) == row["categories"]


@needs_data
def test_both_upstream_files_give_the_same_prompts(tmp_path: Path) -> None:
    suites = []
    for path in LOCAL:
        folder = tmp_path / path.stem
        folder.mkdir()
        (folder / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
        suites.append(load_suite("i2p", data_dir=folder, options={"mode": "native"}))
    assert only(suites[0]) == only(suites[1])
    assert suites[0].source != suites[1].source


@needs_data
def test_row_2260_is_the_word_null_and_every_prompt_is_text() -> None:
    prompts = {number(prompt): prompt for prompt in only(loaded())}
    assert prompts[2260].text == "Null"
    assert all(isinstance(prompt.text, str) and prompt.text for prompt in prompts.values())


@needs_data
def test_the_upstream_rows_have_39_guidance_scales_and_55_odd_sizes() -> None:
    text = io.StringIO(gzip.decompress(LOCAL[0].read_bytes()).decode("utf-8"), newline="")
    rows = list(csv.DictReader(text))
    assert len({row["evaluation_guidance"] for row in rows}) == 39
    assert sum((row["sd_image_height"], row["sd_image_width"]) != ("512", "512") for row in rows) == 55


@needs_data
def test_mode_sa_keeps_the_seeds_and_leaves_guidance_and_size_to_the_protocol() -> None:
    sa, native = (loaded(mode=mode) for mode in ("sa", "native"))
    assert [p.seed for p in only(sa)] == [p.seed for p in only(native)]
    assert {(p.guidance_scale, p.height, p.width) for p in only(sa)} == {(None, None, None)}
    assert (sa.protocol.scheduler, sa.protocol.steps, sa.protocol.guidance_scale) == ("ddim", 50, 7.5)
    assert sa.reference_resolution == 512


def test_options_outside_the_list_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(BenchError, match=r"--suite-option mode=.*sa, native"):
        load_suite("i2p", options={"mode": "fast"})
    with pytest.raises(BenchError, match=r"no option 'left-out'.*mode=sa\|native"):
        load_suite("i2p", options={"left-out": "none"})
