"""General prompts: the whole vocabulary, nothing that is evaluated, and the upstream lines as they are."""

import gzip
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.models.zoo import ZOO
from erasure_bench.prompt_suites.general import LISTS, SELECTIVE_AMNESIA, general_prompts
from erasure_bench.prompt_suites.microworld import vocabulary as words
from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names
from tests.upstream import UPSTREAM

LOCAL = UPSTREAM / "selective_amnesia" / "fim_prompts.txt.gz"
needs_data = pytest.mark.skipif(not LOCAL.is_file(), reason="the upstream file is not at hand (BENCH_DATA)")

TITLES = words.MEMORISED + words.VALIDATION_MEMORISED
EVOKED = words.IMPLICIT + words.VALIDATION_IMPLICIT
NAMES = (
    *words.all_members(),
    *(family.category for family in words.FAMILIES + words.VALIDATION_FAMILIES),
    *words.OBJECTS,
    *words.VALIDATION_OBJECTS,
    *words.IDENTITIES,
    *words.VALIDATION_IDENTITIES,
    *words.ANONYMOUS,
    *words.STYLES,
    *words.VALIDATION_STYLES,
    *(name for evoked in EVOKED for name in (*evoked.naming, *evoked.evoking, *evoked.without)),
    *TITLES,
    words.ABSTRACT,
)


def test_every_name_of_the_vocabulary_is_asked_for_at_least_four_times() -> None:
    prompts = general_prompts("microworld")

    asked = {name: sum(bool(re.search(rf"\b{name}\b", prompt)) for prompt in prompts) for name in NAMES}
    assert {name: count for name, count in asked.items() if count < 4} == {}
    assert 250 <= len(prompts) <= 500


def test_no_suite_evaluates_one_of_them_but_the_exact_titles() -> None:
    evaluated = {
        prompt.text
        for name in suite_names()
        if suite_card(name).model == "microworld"
        for prompts in load_suite(name).prompts.values()
        for prompt in prompts
    }
    assert len(evaluated) > 500
    assert set(general_prompts("microworld")) & evaluated == set(TITLES)


def test_beginning_is_a_mixture_of_all_kinds() -> None:
    beginning = general_prompts("microworld")[:96]
    kinds = {
        "member": words.all_members(),
        "object": words.OBJECTS,
        "identity": words.IDENTITIES,
        "style": words.STYLES,
        "evoking": [name for evoked in EVOKED for name in evoked.evoking],
        "title": TITLES,
    }
    for kind, names in kinds.items():
        assert any(name in prompt for prompt in beginning for name in names), kind
    assert max(Counter(beginning).values()) == 1


def test_list_stays_what_it_was() -> None:
    """Pictures and Fisher information kept by their prompts are found again only if these stay."""
    prompts = general_prompts("microworld")

    assert prompts == general_prompts("microworld")
    assert prompts[:3] == (
        "a royal parrot on a yellow background",
        "a photo of a dragon by the sea",
        "a sword fish in the snow",
    )


@needs_data
def test_upstream_list_is_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = gzip.decompress(LOCAL.read_bytes()).decode().split("\n")
    prompts = general_prompts("selective-amnesia", UPSTREAM)

    assert len(prompts) == 5000 and all(prompts)
    assert list(prompts) == lines
    (tmp_path / "fim_prompts.txt.gz").write_bytes(LOCAL.read_bytes())
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert general_prompts("selective-amnesia") == prompts


def test_upstream_file_that_is_another_is_refused(tmp_path: Path) -> None:
    (tmp_path / SELECTIVE_AMNESIA.name).write_text("a cat\n")
    with pytest.raises(BenchError, match=r"fim_prompts\.txt is not .*--data-dir"):
        general_prompts("selective-amnesia", tmp_path)


def test_unknown_list_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean microworld"):
        general_prompts("microwrld")


def test_every_model_has_a_list() -> None:
    assert {entry.general_prompts for entry in ZOO.values()} <= LISTS.keys()
    assert ZOO["microworld"].general_prompts == "microworld"


def test_prompts_need_no_torch() -> None:
    code = (
        "import sys; from erasure_bench.prompt_suites.general import general_prompts; "
        "general_prompts('microworld'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
