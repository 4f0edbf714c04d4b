"""Two runs beside each other: numbers, tests and intervals are those of the pairs of pictures."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test

from erasure_bench.bench.comparing.changes import Change, Pair, compare, kind_of, pairs_of
from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.errors import BenchError, UnknownName
from tests.bench.comparing.conftest import fake


def the(
    changes: tuple[Change, ...], role: str, metric: str, scope: str = "overall", name: str = "dim"
) -> Change:
    (one,) = [
        change
        for change in changes
        if (change.method, change.after.role, change.after.metric, change.after.scope)
        == (name, role, metric, scope)
    ]
    return one


def values(run: FinishedRun, role: str, metric: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """By prompt, over both concepts."""
    of = run.scores.query("method == 'dim' and role == @role and metric == @metric")
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = of.groupby("prompt_id")["value"].mean().to_numpy()
    return found


def test_a_run_beside_itself_has_not_changed(before: FinishedRun) -> None:
    comparison = compare(before, before, pairs_of(before, before))
    assert comparison.left_out == ()
    for change in comparison.changes:
        assert change.after.change == 0
        assert change.equal and change.after.pairs > 0
        assert kind_of(change) == "same"


def test_the_change_is_the_mean_of_the_paired_differences(before: FinishedRun, after: FinishedRun) -> None:
    found = the(compare(before, after, pairs_of(before, after)).changes, "target", "brightness")
    differences = values(after, "target", "brightness") - values(before, "target", "brightness")
    assert found.after.change == pytest.approx(differences.mean(), abs=1e-12)
    assert found.effect == pytest.approx(differences.mean() / differences.std(ddof=1), rel=1e-9)
    assert found.worse == found.after.change
    assert found.worse_ends is not None
    low, high = found.worse_ends
    assert low < differences.mean() < high
    assert kind_of(found) == "worse"


def test_what_is_kept_gets_worse_by_falling(before: FinishedRun, after: FinishedRun) -> None:
    found = the(compare(after, before, pairs_of(after, before)).changes, "retention", "brightness")
    assert found.after.change is not None and found.after.change < 0
    assert found.worse == -found.after.change
    assert kind_of(found) == "worse"


def test_the_p_value_is_scipys(tmp_path: Path, before: FinishedRun) -> None:
    few = read_finished(fake(tmp_path / "few", 0.799, prompts=5))
    small = read_finished(fake(tmp_path / "small", 0.8, prompts=5))
    change = the(compare(small, few, pairs_of(small, few)).changes, "target", "brightness")
    differences = values(few, "target", "brightness") - values(small, "target", "brightness")
    expected = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert change.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_holm_counts_everything_that_was_asked_for(before: FinishedRun, after: FinishedRun) -> None:
    changes = [one for one in compare(before, after, pairs_of(before, after)).changes if one.p is not None]
    least = min(changes, key=lambda one: one.p or 0)
    assert least.p_holm == pytest.approx(min(1.0, (least.p or 0) * len(changes)))


def test_rows_of_other_names_are_compared_where_the_user_says_so(tmp_path: Path, before: FinishedRun) -> None:
    renamed = read_finished(fake(tmp_path, 0.8, name="dimmer"))
    assert pairs_of(before, renamed) == (Pair("none", "none"),)
    pairs = pairs_of(before, renamed, ["dim=dimmer"])
    found = the(compare(before, renamed, pairs).changes, "target", "brightness", name="dim → dimmer")
    assert found.after.change == 0


def test_an_unknown_row_is_named(before: FinishedRun, after: FinishedRun) -> None:
    with pytest.raises(UnknownName, match="dimm.*did you mean dim"):
        pairs_of(before, after, ["dimm"])


def test_runs_without_a_picture_in_common_are_refused(before: FinishedRun, after: FinishedRun) -> None:
    moved = after.scores.assign(concept="green cone")
    other = FinishedRun(after.folder, after.record, after.document, moved)
    with pytest.raises(BenchError, match="no picture of the same concept"):
        compare(before, other, pairs_of(before, other))


def test_another_protocol_is_never_compared(before: FinishedRun, after: FinishedRun) -> None:
    evaluators = {name: {**about, "key": "another"} for name, about in after.document["evaluators"].items()}
    other = FinishedRun(
        after.folder, after.record, {**after.document, "evaluators": evaluators}, after.scores
    )
    with pytest.raises(BenchError, match="share no evaluator of the same protocol"):
        compare(before, other, pairs_of(before, other))
