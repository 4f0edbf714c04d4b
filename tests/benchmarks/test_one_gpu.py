"""The benchmark of processes that share a device runs whole on a processor; how fast is for a GPU to tell."""

import pytest

from benchmarks import one_gpu


@pytest.mark.slow
@pytest.mark.usefixtures("microworld")
def test_one_and_two_processes_are_measured_side_by_side() -> None:
    found = one_gpu.measure("cpu", [1, 2], 0.1)
    alone, both = found["runs"]
    assert (alone["processes"], both["processes"]) == (1, 2)
    assert alone["times_as_many_steps"] == alone["times_as_many_pictures"] == 1.0
    assert both["steps_per_second"] > 0 and both["pictures_per_second"] > 0
