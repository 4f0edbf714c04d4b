"""What the models take is counted where they work, and is less than the run takes."""

import time

import pytest

from benchmarks.overhead import RUN, Timed, measure


def test_seconds_add_up_and_results_and_errors_come_through() -> None:
    timed = Timed(lambda seconds: time.sleep(seconds) or "done")
    assert timed(0.02) == timed(seconds=0.03) == "done"
    assert timed.seconds == pytest.approx(0.05, abs=0.03)
    with pytest.raises(ZeroDivisionError):
        Timed(lambda: 1 / 0)()


@pytest.mark.slow
@pytest.mark.usefixtures("microworld")
def test_a_run_takes_longer_than_its_models() -> None:
    few = ("--concepts", "grumpy-cat", "--methods", "negative-prompt", "--limit", "1")
    figures = measure((*RUN, *few, "--evaluators", "classifier"))
    models = figures["models_seconds"]
    assert models["drawing"] > 0 and models["scoring"] > 0 and models["erasing"] >= 0
    assert figures["wall_seconds"] > sum(models.values())
    assert figures["wall_over_models"] == pytest.approx(
        figures["wall_seconds"] / sum(models.values()), rel=0.05
    )
