"""The harness' benchmarks run and measure what they say; how fast is for them to tell."""

from benchmarks import cached_run, planning
from benchmarks.made_up import METHODS, ROLES, SEEDS


def test_planning_counts_every_task_of_every_cell() -> None:
    figures = planning.measure(METHODS * SEEDS)
    assert figures["cells"] == METHODS * SEEDS
    erased = (METHODS - 1) * SEEDS
    # An edit, three roles' pictures and two scores of each; the base model's edit is one for all seeds.
    assert figures["tasks"] == erased * 10 + 1 + SEEDS * 9
    assert figures["images_to_draw"] == METHODS * SEEDS * len(ROLES) * 10
    assert set(figures["seconds"]) == {"make_plan", "plan_id", "what_the_store_lacks"}


def test_a_run_whose_results_are_there_does_nothing_again() -> None:
    figures = cached_run.measure(cached_run.METHODS * SEEDS)
    assert set(figures["seconds"]) == {"plan", "what_the_store_lacks", "leaderboard", "files"}
    assert figures["seconds_in_all"]["on_a_core"] > 0
