"""The table of suites: light to import, and mistakes are answered with the right names."""

import subprocess
import sys

import pytest

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.registry import load_suite, suite_card, suite_names
from erasure_bench.prompt_suites.suite import Prompt, Protocol, Suite


def test_cards_of_all_suites_load_without_torch_or_pandas() -> None:
    code = (
        "import sys\n"
        "from erasure_bench.prompt_suites.registry import suite_card, suite_names\n"
        "cards = [suite_card(name) for name in suite_names()]\n"
        "assert all(card.title and card.concepts and card.description for card in cards)\n"
        "print([name for name in ('torch', 'pandas', 'numpy', 'diffusers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_each_card_is_listed_under_its_own_name() -> None:
    assert [suite_card(name).name for name in suite_names()] == list(suite_names())


def test_an_unknown_suite_suggests_the_right_one() -> None:
    with pytest.raises(UnknownName, match=r"did you mean microworld-memorized"):
        load_suite("microworld-memorised")


def test_an_option_of_a_suite_that_has_none_is_refused() -> None:
    with pytest.raises(BenchError, match=r"styles has no option 'mode' \(--suite-option\): valid: none"):
        load_suite("microworld-styles", options={"mode": "native"})


@pytest.mark.parametrize(("seed", "images"), [(2**63, 1), (2**63 - 1, 2), (-1, 1)])
def test_a_prompts_own_seed_must_leave_room_for_all_of_its_pictures(seed: int, images: int) -> None:
    concept = Concept(name="c", kind="object", targets=("c",), anchor="a")
    prompt = Prompt(id="p", text="t", role="target", subject="s", seed=seed)
    with pytest.raises(ValueError, match="prompt 'p': the seeds of its pictures"):
        Suite(
            name="n",
            version="1",
            title="t",
            description="d",
            concepts=(concept,),
            prompts={"c": (prompt,)},
            protocol=Protocol(scheduler="ddim", steps=1, guidance_scale=1.0, images_per_prompt=images),
            evaluators=(),
            model="m",
        )
