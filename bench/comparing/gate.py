"""May the newer run go out? One verdict for each rule and row, from intervals and tests, never from points.

- BLOCK: a critical rule is broken, for certain. WARN: one of a lower tier is; or a number is worse for
  certain, but by no more than is allowed.
- INCONCLUSIVE: broken or kept, the pictures do not say; `needed` prompts would.
- MISSING: the number is not there, or not whole, or lacks a concept that the baseline has. It blocks as a
  broken rule does: what is not measured is not good.
- PASS: kept, for certain; or a worsening of what is allowed would have been found with a power of .8 and
  none was, on so many prompts that one of them would have shown it had it been a few prompts' alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from erasure_bench.bench.comparing.changes import Change, Pair, compare, pairs_of, significant
from erasure_bench.bench.comparing.finished import FinishedRun
from erasure_bench.bench.comparing.policy import Limit, Policy, Rule, Tier, check_rules, owner_of
from erasure_bench.bench.statistics.bars import at_least, at_most
from erasure_bench.bench.statistics.best import holm
from erasure_bench.bench.statistics.detectable import prompts_to_show, rare_change
from erasure_bench.bench.words.numbers import decimals_for, number, p_value

GateVerdict = Literal["BLOCK", "MISSING", "INCONCLUSIVE", "WARN", "PASS"]
VERDICTS: tuple[GateVerdict, ...] = ("BLOCK", "MISSING", "INCONCLUSIVE", "WARN", "PASS")
"""The worst first."""
PICTURES = "the pictures are pictures"
"""The rule that no policy needs to name: noise erases everything."""
_ROUNDING = 1e-12


class Finding(NamedTuple):
    """What became of one rule for one row, and of one concept where the rule's scope is that.

    `why` is one line with the numbers. `needed` is about how many prompts would decide, where so many do not.
    """

    rule: str
    tier: Tier
    demand: str
    method: str
    concept: str
    verdict: GateVerdict
    why: str
    needed: int | None = None


class Gate(NamedTuple):
    """All findings, and in words what the runs do not share."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def verdict(self) -> GateVerdict:
        """The worst of all findings; what is no critical rule's does worse than warn nowhere."""
        return min((finding.verdict for finding in self.findings), key=VERDICTS.index)

    def count(self, verdict: GateVerdict) -> int:
        return sum(finding.verdict == verdict for finding in self.findings)


def hold(before: FinishedRun, after: FinishedRun, policy: Policy) -> Gate:
    """Holds the run `after` against the run `before` by the policy.

    With n prompts no permutation test gives less than 2 / 2^n: so many prompts are `needed` in any case that
    this reaches the significance after Holm.

    Raises BenchError for rules on what is not measured, and for runs that share no picture.
    """
    check_rules(policy, after)
    pairs = _pairs(before, after, policy)
    comparison = compare(before, after, pairs)
    by_name = {_name(change): change for change in comparison.changes}
    asked = [
        (rule, pair, concept)
        for rule in policy.rules
        for pair in pairs
        for concept in _concepts(rule, before, after, pair)
    ]
    changes = [
        by_name.get((pair.name, rule.scope, concept, rule.role, owner_of(rule, after), rule.metric))
        for rule, pair, concept in asked
    ]
    findings = [_collapse(before, after, pair) for pair in pairs]
    tests = sum(rule.level is None for rule, _, _ in asked)
    least = math.ceil(math.log2(2 * max(1, tests) / policy.significance))
    for (rule, pair, concept), change, p in zip(asked, changes, _adjusted(asked, changes), strict=True):
        own = _own_row(after, pair.after, rule, concept)
        lack = _lack(rule, pair, concept, before, after, own, change)
        if lack is not None:
            found = Finding(rule.name, rule.tier, rule.demand, pair.name, concept, "MISSING", lack)
        else:
            found = _judged(rule, pair, concept, own, change, p, policy.significance, comparison.margin)
        if found.needed is not None and rule.level is None:
            found = found._replace(needed=max(found.needed, least))
        findings.append(_of_tier(found))
    return Gate(tuple(findings), (*_unheld(before, after, policy), *comparison.left_out))


def _pairs(before: FinishedRun, after: FinishedRun, policy: Policy) -> tuple[Pair, ...]:
    """The policy's rows; without any, all that both runs have but the base model's."""
    if policy.methods:
        return pairs_of(before, after, policy.methods, "methods of --policy")
    found = pairs_of(before, after)
    return tuple(pair for pair in found if pair.after != after.baseline) or found


def _unheld(before: FinishedRun, after: FinishedRun, policy: Policy) -> list[str]:
    """Which of the baseline's rows are held to nothing, as the policy names none and the candidate lacks
    them."""
    lost = [] if policy.methods else [name for name in before.methods if name not in after.methods]
    return [f"rows only in {before.folder}, held to nothing: {', '.join(lost)}"] if lost else []


def _concepts(rule: Rule, before: FinishedRun, after: FinishedRun, pair: Pair) -> list[str]:
    """What a rule looks at: the overall number, or each concept that has the role. A level is kept by all of
    the candidate's, a change can only be seen in the baseline's."""
    if rule.scope == "overall":
        return ["overall"]
    found = [*(_having(after, pair.after, rule) if rule.level else ()), *_having(before, pair.before, rule)]
    return list(dict.fromkeys(found)) or ["every concept"]


def _having(run: FinishedRun, method: str, rule: Rule) -> list[str]:
    """The concepts of which the row has prompts of the rule's role, scored or failed."""
    rows = (row for row in run.document["rows"] if row["scope"] == "concept" and row["role"] == rule.role)
    return list(dict.fromkeys(row["concept"] for row in rows if row["method"] == method))


def _own_row(run: FinishedRun, method: str, rule: Rule, concept: str) -> Mapping[str, Any] | None:
    """The run's own number, as its leaderboard shows it."""
    key = (method, rule.scope, concept, rule.role, owner_of(rule, run), rule.metric)
    names = ("method", "scope", "concept", "role", "evaluator", "metric")
    return next((row for row in run.document["rows"] if tuple(row[name] for name in names) == key), None)


def _name(change: Change) -> tuple[str, ...]:
    row = change.after
    return change.method, row.scope, row.concept, row.role, row.evaluator, row.metric


def _adjusted(
    asked: Sequence[tuple[Rule, Pair, str]], changes: Sequence[Change | None]
) -> list[float | None]:
    """The p values after Holm over the comparisons that the policy makes."""
    p = [
        None if change is None or rule.level is not None else change.p
        for (rule, _, _), change in zip(asked, changes, strict=True)
    ]
    tested = [place for place, value in enumerate(p) if value is not None]
    found: list[float | None] = [None] * len(p)
    for place, value in zip(tested, holm(np.array([p[place] for place in tested], float)), strict=True):
        found[place] = float(value)
    return found


def _judged(
    rule: Rule,
    pair: Pair,
    concept: str,
    own: Mapping[str, Any] | None,
    change: Change | None,
    p: float | None,
    level: float,
    margin: float,
) -> Finding:
    """Of a number that is there and whole: a limit is held against the candidate's `own`."""
    if (limit := rule.level) is not None:
        assert own is not None
        verdict, why, needed = _limited(own, limit)
    else:
        assert change is not None
        verdict, why, needed = _compared(change, float(rule.allowed_worsening or 0.0), p, level, margin)
    return Finding(rule.name, rule.tier, rule.demand, pair.name, concept, verdict, why, needed)


def _lack(
    rule: Rule,
    pair: Pair,
    concept: str,
    before: FinishedRun,
    after: FinishedRun,
    own: Mapping[str, Any] | None,
    change: Change | None,
) -> str | None:
    """Why a number is not there or not whole."""
    there = _having(after, pair.after, rule)
    looked_at = [
        name for name in _having(before, pair.before, rule) if rule.scope == "overall" or name == concept
    ]
    if there and (lost := [name for name in looked_at if name not in there]):
        return f"the candidate has nothing of {', '.join(lost)}, which the baseline has (--concepts)"
    if rule.level is not None:
        if own is None:
            return "the candidate has no such number"
        return None if own["status"] == "ok" else _not_whole("candidate", own["status"], own["reason"])
    if change is None:
        return "the runs have no such number in common"
    for side, row in (("candidate", change.after), ("baseline", change.before)):
        if row.status != "ok":
            return _not_whole(side, row.status, row.reason)
    return None if change.after.pairs else "no picture of the candidate has a partner in the baseline"


def _not_whole(side: str, status: str, reason: str) -> str:
    return f"the {side}'s number is {status}: {reason or 'nothing was scored'}"


def _limited(row: Mapping[str, Any], limit: Limit) -> tuple[GateVerdict, str, int | None]:
    """Of a level: the whole interval must keep it."""
    value, low, high, prompts = (row[name] for name in ("value", "low", "high", "prompts"))
    holds = (at_most if limit.at_most else at_least)(limit.value, low, high)
    why = f"{_interval(value, low, high)} on {prompts} prompts"
    if holds == "met":
        return "PASS", why, None
    if holds == "missed":
        return "BLOCK", why, None
    if value is None or low is None or high is None:
        return "INCONCLUSIVE", f"{why}: too few for an interval", None
    end = high if limit.at_most else low
    room = abs(limit.value - value)
    needed = _more(prompts, abs(end - value), room)
    return "INCONCLUSIVE", f"{why}: the limit lies inside", needed


def _compared(
    change: Change, allowed: float, p: float | None, level: float, margin: float
) -> tuple[GateVerdict, str, int | None]:
    """Of a change: see the module's words; `margin` is the share of the metric's range that its own is."""
    row, worse, ends = change.after, change.worse, change.worse_ends
    if change.equal:
        return "PASS", f"every score is the same on {row.pairs} pictures", None
    if worse is None or ends is None:
        return "INCONCLUSIVE", f"{row.pairs} pictures give no interval", None
    said = "" if p is None else f", p {p_value(p, 3)}"
    why = (
        f"{number(change.before.value or 0.0, decimals_for([change.before.value or 0.0]))} → "
        f"{number(row.value or 0.0, decimals_for([row.value or 0.0]))}, worse by "
        f"{_interval(worse, *ends)} on {row.prompts} prompts{said}"
    )
    surely = significant(p, level) and worse > 0
    if surely and worse > allowed + _ROUNDING:
        return "BLOCK", why, None
    if surely and ends[0] > 0:
        return "WARN", f"{why}: worse, within what is allowed", None
    if ends[1] <= allowed + _ROUNDING:
        return "PASS", why, None
    smallest = row.detectable
    if smallest is not None and smallest <= allowed and worse <= allowed:
        return "PASS", f"{why}; {number(smallest, 3)} would have been found", None
    if worse > allowed:  # to be worse for certain the interval must leave no change out
        needed = _more(row.prompts, worse - ends[0], worse)
    else:
        needed = _more(row.prompts, ends[1] - worse, allowed - worse)
        if needed is not None and smallest is not None and change.margin is not None:
            width = change.margin / margin
            shown = prompts_to_show(allowed, width)
            if shown is not None and smallest <= rare_change(row.prompts, width):
                needed = min(needed, shown)  # with so little spread only prompts are lacking
    return "INCONCLUSIVE", f"{why}: too few to tell", needed


def _of_tier(finding: Finding) -> Finding:
    """What is no critical rule's warns at most; an advisory one's is only said."""
    if finding.tier == "critical" or finding.verdict in ("PASS", "WARN"):
        return finding
    return finding._replace(verdict="WARN", why=f"{finding.verdict.lower()}: {finding.why}")


def _collapse(before: FinishedRun, after: FinishedRun, pair: Pair) -> Finding:
    """Whether the row's pictures are any; where nothing was measured that tells it, the number is missing."""
    now = after.document["collapsed"].get(pair.after)
    then = before.document["collapsed"].get(pair.before)
    verdict: GateVerdict = "PASS" if now is None else "BLOCK"
    why = "no role's pictures have collapsed" if now is None else f"collapsed: {now}"
    if now is not None and then is not None:
        why += "; the baseline's have, too"
    if now is None:
        unseen, few = _unseen(after, pair.after)
        if unseen:
            verdict = "MISSING"
            why = (
                f"no whole number tells whether the {' and '.join(unseen)} pictures are any: add one "
                "(bench score RUN --evaluators coherence), or what its scores lack"
            )
        elif few:
            verdict = "INCONCLUSIVE"
            why = f"nothing tells whether the {' and '.join(few)} pictures are any, nor the base model's"
    return Finding(PICTURES, "critical", "not collapsed", pair.name, "overall", verdict, why)


def _unseen(run: FinishedRun, method: str) -> tuple[list[str], list[str]]:
    """The roles of the method's pictures that no whole number tells the collapse of; and those of which the
    base model lacks that number as well, as where pictures are too few to tell."""
    telling = {
        (name, metric.name)
        for name, metrics in run.metrics.items()
        for metric in metrics
        if metric.tells_collapse
    }
    rows = [row for row in run.document["rows"] if row["scope"] == "overall"]
    whole: dict[tuple[str, str], list[bool]] = {}
    for row in rows:
        if (row["evaluator"], row["metric"]) in telling:
            whole.setdefault((row["method"], row["role"]), []).append(row["status"] == "ok")
    lacking = [
        role
        for role in dict.fromkeys(row["role"] for row in rows if row["method"] == method)
        if not any(whole.get((method, role), ()))
    ]
    few = [role for role in lacking if (base := whole.get((run.baseline, role))) and not any(base)]
    return [role for role in lacking if role not in few], few


def _more(prompts: int, found: float, wanted: float) -> int | None:
    """About how many prompts make half an interval `wanted` where so many make it `found`."""
    if not wanted > 0 or not math.isfinite(found / wanted):
        return None
    return max(prompts + 1, math.ceil(prompts * (found / wanted) ** 2))


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    known = [end for end in (value, low, high) if end is not None]
    if value is None:
        return "nothing"
    decimals = decimals_for(known)
    ends = "" if low is None or high is None else f" [{number(low, decimals)}, {number(high, decimals)}]"
    return f"{number(value, decimals)}{ends}"


def in_json(gate: Gate) -> dict[str, Any]:
    """The gate as a JSON document."""
    return {
        "verdict": gate.verdict,
        "counts": {verdict: gate.count(verdict) for verdict in VERDICTS},
        "findings": [finding._asdict() for finding in gate.findings],
        "notes": list(gate.notes),
    }


def exit_code(gate: Gate, *, strict: bool, blocked: int, undecided: int) -> int:
    """0, `blocked` where a rule is broken or its number missing, `undecided` where that counts."""
    if gate.verdict in ("BLOCK", "MISSING"):
        return blocked
    return undecided if strict and gate.verdict == "INCONCLUSIVE" else 0


def by_verdict(gate: Gate) -> Mapping[GateVerdict, list[Finding]]:
    """The findings of each verdict that there is, the worst first."""
    found = {verdict: [one for one in gate.findings if one.verdict == verdict] for verdict in VERDICTS}
    return {verdict: findings for verdict, findings in found.items() if findings}
