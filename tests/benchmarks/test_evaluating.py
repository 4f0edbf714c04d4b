"""Both ways of asking an evaluator's question give one answer; which is quicker is not tested."""

import numpy as np
import pytest

from benchmarks import evaluating


@pytest.mark.parametrize(("name", "needed"), [("distance", "skimage"), ("perceptual", "lpips")])
def test_the_librarys_own_loop_says_the_same(name: str, needed: str) -> None:
    pytest.importorskip(needed)
    contest = evaluating.CONTESTS[name](evaluating.drawings(5), "cpu")
    assert contest.other is not None
    ours = contest.ours()
    assert len(ours) == 5 and (ours > 0).any()
    np.testing.assert_allclose(ours, contest.other(), rtol=1e-4, atol=1e-5)


def test_every_evaluator_has_figures_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(pixels: object, device: str) -> evaluating.Contest:
        raise ImportError("no such package")

    monkeypatch.setitem(evaluating.CONTESTS, "lacking", lacking)  # type: ignore[arg-type]
    assert evaluating.measure("lacking", "cpu", pictures=2, pairs=1) == {"left_out": "no such package"}
    pytest.importorskip("skimage")
    figures = evaluating.measure("distance", "cpu", pictures=3, pairs=2)
    assert figures["pictures_per_second"] > 0 and figures["library_takes_times_as_long"]["pairs"] == 2
    assert evaluating.measure("coherence", "cpu", pictures=40, pairs=1)["pictures_per_second"] > 0


def test_a_picture_without_a_detection_is_not_one_with_others_scores() -> None:
    assert evaluating.padded([[0.5, 0.3], [], [0.7]]).tolist() == [2, 0.3, 0.5, 0, 1, 0.7]
    assert (
        evaluating.padded([[0.5], [0.3], [0.7]]).tolist()
        != evaluating.padded([[0.3, 0.5], [], [0.7]]).tolist()
    )
