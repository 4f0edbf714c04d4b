"""Further evaluators of a run: options are theirs alone, and those that were there keep their own."""

import pytest

from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.planning.more_evaluators import as_asked, with_evaluators
from erasure_bench.errors import BenchError

CONFIG = RunConfig(
    suite="tiny",
    evaluators=("clip", "nudity"),
    evaluator_options={"": {"batch_size": "4"}, "nudity": {"threshold": "0.5"}},
)


def test_what_was_said_for_all_stays_with_those_that_were_there() -> None:
    more = with_evaluators(CONFIG, CONFIG.evaluators, ["distance", "classifier"], {"": {"batch_size": "1"}})
    assert more.evaluators == ("clip", "nudity", "distance", "classifier")
    assert more.evaluator_options == {
        "clip": {"batch_size": "4"},
        "nudity": {"batch_size": "4", "threshold": "0.5"},
        "classifier": {"batch_size": "1"},
    }


@pytest.mark.parametrize("options", [{}, {"nudity": {"batch_size": "4", "threshold": "0.5"}}])
def test_one_that_is_there_with_the_same_options_is_no_other(options: dict[str, dict[str, str]]) -> None:
    more = with_evaluators(CONFIG, CONFIG.evaluators, ["nudity", "distance", "distance"], options)
    assert more.evaluators == ("clip", "nudity", "distance")
    assert more == with_evaluators(more, more.evaluators, ["distance"], {})


def test_one_that_is_there_takes_no_other_options_but_as_an_instance() -> None:
    other = {"threshold": "0.6"}
    with pytest.raises(BenchError, match=r"with batch_size=4, threshold=0\.5: name another .* nudity@LABEL"):
        with_evaluators(CONFIG, CONFIG.evaluators, ["nudity"], {"nudity": other})
    more = with_evaluators(CONFIG, CONFIG.evaluators, ["nudity@mine"], {"nudity@mine": other})
    assert more.evaluators[-1] == "nudity@mine" and more.evaluator_options["nudity@mine"] == other


def test_a_preset_is_an_instances_label() -> None:
    assert as_asked(["nudity", "clip@mine"], "v3") == ("nudity@v3", "clip@mine")
    assert as_asked(["nudity"], None) == ("nudity",)
