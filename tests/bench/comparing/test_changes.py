"""Two runs beside each other: numbers, tests and intervals are those of the pairs of pictures."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test
from statsmodels.stats.multitest import multipletests

from erasure_bench.bench.comparing.changes import (
    Change,
    Pair,
    compare,
    is_equivalent,
    kind_of,
    pairs_of,
    pairs_within,
)
from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.comparing.telling import HEADS, cells_of
from erasure_bench.bench.planning.chosen import BASELINE
from erasure_bench.bench.planning.config import RunConfig
from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.errors import BenchError, UnknownName
from tests.bench.comparing.conftest import fake
from tests.bench.fake_run import method, run, tiny_plan, tiny_suite


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run of two methods and the base model."""
    folder = tmp_path_factory.mktemp("three")
    methods = (method(BASELINE), method("dim", strength=0.3), method("dark", strength=0.6))
    config = RunConfig(suite="tiny", methods=("dim", "dark"))
    run(tiny_plan(config, tiny_suite(prompts=12), methods), folder / "store", folder / "run")
    return read_finished(folder / "run")


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


def test_holm_counts_what_was_asked_for_alone(before: FinishedRun, after: FinishedRun) -> None:
    pairs = pairs_of(before, after)
    changes = compare(before, after, pairs, asked=lambda row: row.scope == "overall").changes
    asked = [one for one in changes if one.p is not None and one.after.scope == "overall"]
    assert [one.p_holm for one in asked] == pytest.approx(
        multipletests([one.p for one in asked], method="holm")[1]
    )
    assert all(
        one.p_holm is None and kind_of(one) == "same" for one in changes if one.after.scope == "concept"
    )


def test_rows_of_one_run_are_compared_on_the_same_pictures(three: FinishedRun) -> None:
    (pair,) = pairs_within(three, ["dim"], ["dark"])
    found = the(compare(three, three, [pair]).changes, "target", "brightness", name="dim → dark")
    by_prompt = three.scores.query("role == 'target' and metric == 'brightness'").pivot_table(
        values="value", index="prompt_id", columns="method"
    )
    differences = (by_prompt["dark"] - by_prompt["dim"]).to_numpy()
    assert found.after.change == pytest.approx(differences.mean(), abs=1e-12)
    assert (found.before.method, found.after.method) == ("dim", "dark")
    assert found.test == "permutation" and kind_of(found) == "better"


def test_every_two_rows_are_compared_once(three: FinishedRun) -> None:
    assert pairs_within(three, ["all"]) == (Pair("dim", "dark"),)
    assert pairs_within(three, ["dark", "dim"], ["none", "dim", "dark"]) == (
        Pair("dark", "none"),
        Pair("dark", "dim"),
        Pair("dim", "none"),
    )
    with pytest.raises(UnknownName, match="--against.*did you mean dark"):
        pairs_within(three, ["darc"])
    with pytest.raises(BenchError, match="--against names no row but the one to compare"):
        pairs_within(three, ["dim"], ["dim"])


def test_one_picture_a_prompt_that_is_1_or_0_is_mcnemars(tmp_path: Path, before: FinishedRun) -> None:
    """The scores of a share, one picture a prompt: the test rests on the prompts that turned alone."""
    rng = np.random.default_rng(0)
    single = before.scores.query("metric == 'spots' and image_index == 0").copy()

    def shares(base: float, dim: float) -> FinishedRun:
        likely = single["method"].map({"none": base, "dim": dim}).to_numpy()
        scores = single.assign(metric="there", value=(rng.random(len(single)) < likely).astype(float))
        about = before.document["evaluators"]["fake"]
        (record,) = [one for one in about["metrics"] if one["name"] == "brightness"]
        metrics = [{**record, "name": "there", "kind": "share"}]
        document = {**before.document, "evaluators": {"fake": {**about, "metrics": metrics}}}
        return FinishedRun(before.folder, before.record, document, scores)

    old, new = shares(0.9, 0.9), shares(0.9, 0.4)
    change = the(compare(old, new, pairs_of(old, new)).changes, "target", "there")
    both = [run.scores.query("method == 'dim' and role == 'target'") for run in (old, new)]
    one, other = (frame.set_index("prompt_id")["value"].sort_index().to_numpy() for frame in both)
    up, down = int((other > one).sum()), int((other < one).sum())
    assert change.test == "McNemar" and change.turned == (up, down) and down > up
    assert change.p == pytest.approx(binomtest(down, up + down).pvalue)
    assert "1→0" in " ".join(HEADS) and f"{up}:{down}" in cells_of(change)
    permuted = the(compare(before, before, pairs_of(before, before)).changes, "target", "brightness")
    assert permuted.test == "permutation" and permuted.turned is None


def test_pictures_that_weigh_unequally_are_not_counted_by_mcnemar(before: FinishedRun) -> None:
    """Two prompts of one concept against sixteen of the other: what is counted is not what is averaged."""
    single = before.scores.query("metric == 'spots' and image_index == 0 and role == 'target'")
    few = single["concept"] != "red ball"
    kept = single[~few | single["prompt_id"].isin(["Blue Cube/t0", "Blue Cube/t1"])]
    about = before.document["evaluators"]["fake"]
    (record,) = [one for one in about["metrics"] if one["name"] == "brightness"]
    metrics = [{**record, "name": "there", "kind": "share"}]
    document = {**before.document, "evaluators": {"fake": {**about, "metrics": metrics}}}

    def run(few_are: float, many_are: float) -> FinishedRun:
        value = np.where(kept["concept"] == "red ball", many_are, few_are)
        return FinishedRun(before.folder, before.record, document, kept.assign(metric="there", value=value))

    old, new = run(0.0, 1.0), run(1.0, 0.0)
    changes = [change for change in compare(old, new, pairs_of(old, new)).changes if change.method == "dim"]
    whole, *own = changes
    assert whole.after.scope == "overall" and whole.after.change == 0.0
    assert whole.test == "permutation" and whole.p == 1.0
    assert {change.test for change in own} == {"McNemar"}


def test_what_failed_in_one_run_is_compared_as_failed(before: FinishedRun) -> None:
    failed = {"method": "dim", "concept": "Blue Cube", "seed": 0, "stage": "erase", "reason": "it broke"}
    failed |= {"role": None, "evaluator": None, "trace": "", "losses": []}
    ours = (before.scores["method"] == "dim") & (before.scores["concept"] == "Blue Cube")
    broken = FinishedRun(
        before.folder, {**before.record, "failures": [failed]}, before.document, before.scores[~ours]
    )
    changes = compare(before, broken, pairs_of(before, broken)).changes
    whole = the(changes, "target", "brightness")
    assert whole.after.status == "failed" and whole.after.value is None and whole.after.change is None
    lost = broken.scores["method"] == "dim"
    nothing = FinishedRun(before.folder, broken.record, before.document, broken.scores[~lost])
    assert compare(before, nothing, [Pair("dim", "dim")]).changes


def test_what_stays_within_the_margin_is_equivalent(before: FinishedRun, tmp_path: Path) -> None:
    same = read_finished(fake(tmp_path / "same", 0.81, prompts=24))
    other = read_finished(fake(tmp_path / "other", 0.8, prompts=24))
    pairs = pairs_of(other, same)

    def alone(row: Row) -> bool:
        return (row.scope, row.role, row.metric) == ("overall", "retention", "brightness")

    near = the(compare(other, same, pairs, asked=alone, margin=0.2).changes, "retention", "brightness")
    assert near.margin == 0.2 and is_equivalent(near) and "equivalent" in cells_of(near)[-1]
    assert kind_of(near) == "worse", "told apart all the same: each is said"
    strict = the(compare(other, same, pairs, asked=alone, margin=0.001).changes, "retention", "brightness")
    assert not is_equivalent(strict)
    spots = the(compare(other, same, pairs).changes, "target", "spots")
    assert spots.margin is None and spots.same_p is None, "a count has no range to take a share of"


def test_collapsed_rows_are_named(three: FinishedRun) -> None:
    document = {**three.document, "collapsed": {"dark": "target, incoherent, 96%"}}
    marked = FinishedRun(three.folder, three.record, document, three.scores)
    assert any(
        "dark of" in line and "collapsed" in line
        for line in compare(marked, marked, pairs_within(marked, ["dim"])).left_out
    )


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
