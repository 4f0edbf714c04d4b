"""The gate's verdicts: decided by intervals and tests, and never passed by what was not measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erasure_bench.bench.comparing.finished import FinishedRun, read_finished
from erasure_bench.bench.comparing.gate import PICTURES, Finding, Gate, exit_code, hold
from erasure_bench.bench.comparing.policy import FORMAT, Policy, first_policy
from erasure_bench.errors import BenchError, UnknownName
from tests.bench.comparing.conftest import fake


def policy(**rule: object) -> Policy:
    whole = {"name": "gone", "role": "target", "metric": "brightness", **rule}
    return Policy.model_validate({"format": FORMAT, "rules": [whole]})


def finding(gate: Gate, rule: str = "gone") -> Finding:
    (one,) = [each for each in gate.findings if each.rule == rule]
    return one


def test_the_same_run_passes(before: FinishedRun) -> None:
    gate = hold(before, before, policy(allowed_worsening=0.0))
    assert gate.verdict == "PASS"
    assert "every score is the same" in finding(gate).why
    assert exit_code(gate, strict=True, blocked=1, undecided=2) == 0


def test_what_is_worse_for_certain_and_past_the_limit_is_blocked(
    before: FinishedRun, after: FinishedRun
) -> None:
    gate = hold(before, after, policy(allowed_worsening=0.05))
    assert gate.verdict == finding(gate).verdict == "BLOCK"
    assert exit_code(gate, strict=False, blocked=1, undecided=2) == 1


def test_what_is_better_passes(before: FinishedRun, after: FinishedRun) -> None:
    assert hold(after, before, policy(allowed_worsening=0.0)).verdict == "PASS"


def test_worse_within_what_is_allowed_warns(before: FinishedRun, after: FinishedRun) -> None:
    gate = hold(before, after, policy(allowed_worsening=0.9))
    assert gate.verdict == "WARN"
    assert exit_code(gate, strict=True, blocked=1, undecided=2) == 0


@pytest.mark.parametrize("tier", ["supporting", "advisory"])
def test_other_rules_than_critical_ones_warn(before: FinishedRun, after: FinishedRun, tier: str) -> None:
    gate = hold(before, after, policy(allowed_worsening=0.05, tier=tier))
    assert gate.verdict == "WARN"
    assert finding(gate).why.startswith("block: ")


def test_few_prompts_decide_nothing_and_the_gate_says_how_many_would(tmp_path: Path) -> None:
    old = read_finished(fake(tmp_path / "old", 0.8, prompts=2))
    new = read_finished(fake(tmp_path / "new", 0.5, prompts=2))
    found = finding(hold(old, new, policy(allowed_worsening=0.05)))
    assert found.verdict == "INCONCLUSIVE"
    assert found.needed is not None and found.needed >= 6, "2 / 2^6 is the first p value below .05"
    gate = hold(old, new, policy(allowed_worsening=0.05))
    assert exit_code(gate, strict=False, blocked=1, undecided=2) == 0
    assert exit_code(gate, strict=True, blocked=1, undecided=2) == 2


def test_scores_that_differ_need_more_prompts_than_scores_alike(tmp_path: Path) -> None:
    """The spread says how many would do, not the number on which a rare change would show."""
    before = read_finished(fake(tmp_path / "run", 0.8, prompts=6))
    scores = before.scores.copy()
    rows = scores.query("method == 'dim' and role == 'target' and metric == 'brightness'").index
    scores.loc[rows, "value"] = np.linspace(0, 1, len(rows))
    turned = scores.copy()
    turned.loc[rows, "value"] = np.random.default_rng(0).permutation(scores.loc[rows, "value"])
    old, new = (FinishedRun(before.folder, before.record, before.document, each) for each in (scores, turned))
    found = finding(hold(old, new, policy(allowed_worsening=0.1)))
    assert found.verdict == "INCONCLUSIVE" and found.needed is not None and found.needed > 16


def test_a_handful_that_scored_alike_says_nothing_of_the_others(tmp_path: Path) -> None:
    """Six prompts whose scores hardly differ have next to no spread: a test on that spread finds anything."""
    allowed = policy(allowed_worsening=0.1)
    for prompts, verdict in ((6, "INCONCLUSIVE"), (16, "PASS")):
        old = read_finished(fake(tmp_path / f"old {prompts}", 0.8, prompts=prompts))
        new = read_finished(fake(tmp_path / f"new {prompts}", 0.798, prompts=prompts))
        found = finding(hold(old, new, allowed))
        assert found.verdict == verdict
        assert found.needed == (16 if verdict == "INCONCLUSIVE" else None)


@pytest.mark.parametrize(
    ("limit", "verdict"), [("<= 0.9", "PASS"), ("<= 0.001", "BLOCK"), (">= 0.9", "BLOCK"), (">= 0", "PASS")]
)
def test_a_limit_is_kept_by_the_whole_interval(before: FinishedRun, limit: str, verdict: str) -> None:
    assert finding(hold(before, before, policy(limit=limit))).verdict == verdict


def test_a_limit_inside_the_interval_is_undecided(before: FinishedRun) -> None:
    gate = hold(before, before, policy(limit="<= 0.5"))
    value = next(
        row["value"]
        for row in before.document["rows"]
        if (row["method"], row["scope"], row["role"], row["metric"])
        == ("dim", "overall", "target", "brightness")
    )
    assert finding(gate).verdict == "PASS"
    inside = finding(hold(before, before, policy(limit=f"<= {value + 1e-4}")))
    assert inside.verdict == "INCONCLUSIVE"
    assert inside.needed is not None and inside.needed > 32


def test_a_number_that_lacks_scores_is_missing_and_blocks(before: FinishedRun) -> None:
    scores = before.scores.copy()
    first = scores.query("method == 'dim' and role == 'target' and metric == 'brightness'").index[0]
    scores.loc[first, "value"] = float("nan")
    scores.loc[first, "status"] = "missing"
    lacking = FinishedRun(before.folder, before.record, before.document, scores)
    gate = hold(before, lacking, policy(allowed_worsening=1.0))
    assert gate.verdict == "MISSING"
    assert exit_code(gate, strict=False, blocked=1, undecided=2) == 1


def test_collapsed_pictures_block_whatever_the_policy_says(before: FinishedRun) -> None:
    noise = FinishedRun(
        before.folder, before.record, {**before.document, "collapsed": {"dim": "noise"}}, before.scores
    )
    gate = hold(before, noise, policy(allowed_worsening=1.0))
    assert gate.verdict == finding(gate, PICTURES).verdict == "BLOCK"
    assert finding(hold(noise, noise, policy(allowed_worsening=1.0)), PICTURES).verdict == "BLOCK"


def test_each_concept_is_held_where_the_rule_says_so(before: FinishedRun, after: FinishedRun) -> None:
    gate = hold(before, after, policy(allowed_worsening=0.05, scope="concept"))
    own = [each for each in gate.findings if each.rule == "gone"]
    assert [each.concept for each in own] == ["red ball", "Blue Cube"]
    assert {each.verdict for each in own} == {"BLOCK"}


def without(run: FinishedRun, concept: str, *, failed: bool) -> FinishedRun:
    """The run whose method failed on the concept, or was never asked to erase it."""

    def other(row: Any) -> bool:
        return (row["method"], row["concept"]) != ("dim", concept)

    scores = run.scores[[other(row) for _, row in run.scores.iterrows()]]
    if failed:
        about = {"method": "dim", "concept": concept, "seed": 0, "stage": "erase", "reason": "it broke"}
        failure = {**about, "role": None, "evaluator": None, "trace": "", "losses": []}
        return replace(run, record={**run.record, "failures": [failure]}, scores=scores)
    rows = [row for row in run.document["rows"] if other(row)]
    cells = [cell for cell in run.record["cells"] if cell["concept"] != concept]
    concepts = [name for name in run.document["concepts"] if name != concept]
    return replace(
        run,
        record={**run.record, "cells": cells},
        document={**run.document, "rows": rows, "concepts": concepts},
        scores=scores,
    )


@pytest.mark.parametrize("scope", ["overall", "concept"])
def test_a_concept_on_which_the_candidate_failed_is_missing(before: FinishedRun, scope: str) -> None:
    """The others' mean is no number of the whole, however good it is."""
    broken = without(before, "Blue Cube", failed=True)
    gate = hold(before, broken, policy(allowed_worsening=1.0, scope=scope))
    (found,) = [each for each in gate.findings if each.verdict == "MISSING"]
    assert gate.verdict == "MISSING" and "it broke" in found.why
    assert found.concept == ("overall" if scope == "overall" else "Blue Cube")


@pytest.mark.parametrize("rule", [{"allowed_worsening": 1.0}, {"limit": "<= 1"}])
@pytest.mark.parametrize("scope", ["overall", "concept"])
def test_a_concept_that_the_candidate_was_not_asked_for_is_missing(
    before: FinishedRun, scope: str, rule: dict[str, object]
) -> None:
    fewer = without(before, "Blue Cube", failed=False)
    gate = hold(before, fewer, policy(**rule, scope=scope))
    (found,) = [each for each in gate.findings if each.verdict == "MISSING"]
    assert found.why == "the candidate has nothing of Blue Cube, which the baseline has (--concepts)"
    assert any(note.startswith("concepts only in") and "Blue Cube" in note for note in gate.notes)


def test_a_limit_holds_for_what_the_baseline_has_not(before: FinishedRun) -> None:
    fewer = without(before, "Blue Cube", failed=False)
    (_, first, second) = hold(fewer, before, policy(limit="<= 0.001", scope="concept")).findings
    assert {first.concept, second.concept} == {"red ball", "Blue Cube"}
    assert first.verdict == second.verdict == "BLOCK"


def test_where_nothing_tells_a_collapse_the_rule_is_missing_and_blocks(before: FinishedRun) -> None:
    """Noise would pass a gate that nobody gave the eyes for it."""
    evaluators = {name: about for name, about in before.document["evaluators"].items() if name != "blanks"}
    rows = [row for row in before.document["rows"] if row["evaluator"] != "blanks"]
    blind = replace(before, document={**before.document, "evaluators": evaluators, "rows": rows})
    gate = hold(before, blind, policy(allowed_worsening=1.0))
    assert gate.verdict == finding(gate, PICTURES).verdict == "MISSING"
    assert "target and anchor and retention pictures" in finding(gate, PICTURES).why
    partial = [
        {**row, "status": "partial"} if (row["evaluator"], row["role"]) == ("blanks", "target") else row
        for row in before.document["rows"]
    ]
    few = replace(before, document={**before.document, "rows": partial})
    undecided = finding(hold(before, few, policy(allowed_worsening=1.0)), PICTURES)
    assert undecided.verdict == "INCONCLUSIVE" and "target pictures" in undecided.why
    own = [
        {**row, "status": "ok"} if (row["method"], row["status"]) == ("none", "partial") else row
        for row in partial
    ]
    lacking = replace(before, document={**before.document, "rows": own})
    assert finding(hold(before, lacking, policy(allowed_worsening=1.0)), PICTURES).verdict == "MISSING"


def test_a_row_that_the_candidate_lacks_is_named(before: FinishedRun, tmp_path: Path) -> None:
    more = replace(before, document={**before.document, "methods": [*before.methods, "sa"]})
    gate = hold(more, before, policy(allowed_worsening=1.0))
    assert any(note.endswith("held to nothing: sa") for note in gate.notes)


def test_the_change_of_a_whole_sets_statistic_is_refused(before: FinishedRun) -> None:
    """No picture has a value of it, so that no two are pairs: of a level the leaderboard knows all."""
    about = before.document["evaluators"]["fake"]
    metrics = [
        {**one, "kind": "statistic"} if one["name"] == "brightness" else one for one in about["metrics"]
    ]
    document = {**before.document, "evaluators": {**before.document["evaluators"], "fake": {**about}}}
    document["evaluators"]["fake"]["metrics"] = metrics
    of_sets = replace(before, document=document)
    with pytest.raises(BenchError, match="brightness is of whole sets.*: give a limit"):
        hold(of_sets, of_sets, policy(allowed_worsening=0.1))
    gate = hold(of_sets, of_sets, policy(limit="<= 0.9"))
    assert finding(gate).verdict == "PASS"
    assert "fake: brightness of whole sets: no picture of them has a partner" in gate.notes
    assert "metric: brightness" not in first_policy(of_sets)


def test_a_rule_on_what_is_not_measured_is_refused(before: FinishedRun) -> None:
    with pytest.raises(UnknownName, match="metric of rule 'gone' 'brightnes'.*did you mean brightness"):
        hold(before, before, policy(metric="brightnes", allowed_worsening=0.1))
    with pytest.raises(BenchError, match="spots means nothing for retention; valid: "):
        hold(before, before, policy(metric="spots", role="retention", allowed_worsening=0.1))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"allowed_worsening": 5}, "brightness lies between 0 and 1 .* 0.05 is a twentieth"),
        ({"limit": "<= 5"}, "limit <= 5: brightness lies between 0 and 1"),
        ({"limit": ">= -1"}, "limit >= -1: brightness lies between 0 and 1"),
    ],
)
def test_points_for_shares_are_refused(before: FinishedRun, rule: dict[str, Any], said: str) -> None:
    """5 for five points: a rule that nothing can break lets a whole relapse pass."""
    with pytest.raises(BenchError, match=said):
        hold(before, before, policy(**rule))


def test_rows_of_a_policy_that_are_none_are_the_policys_mistake(before: FinishedRun) -> None:
    asked = policy(allowed_worsening=0.1).model_copy(update={"methods": ("nobody",)})
    with pytest.raises(UnknownName, match=r"'nobody' \(methods of --policy\)"):
        hold(before, before, asked)
