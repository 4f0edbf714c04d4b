"""A gate and a comparison as Markdown, for a pull request, and as JUnit XML, for a CI server."""

import xml.etree.ElementTree as xml
from collections.abc import Iterable, Sequence
from typing import Any

from erasure_bench.bench.comparing.changes import Change, Comparison, is_equivalent, kind_of
from erasure_bench.bench.comparing.flips import Flip
from erasure_bench.bench.comparing.gate import Finding, Gate, by_verdict
from erasure_bench.bench.reporting.leaderboard import Row, to_json
from erasure_bench.bench.words.numbers import decimals_for, number, p_value
from erasure_bench.bench.words.showing import in_markdown, shown

SIGNS = {"BLOCK": "⛔", "MISSING": "❔", "INCONCLUSIVE": "❓", "WARN": "⚠️", "PASS": "✅"}
LEVELS = {"better": "better", "worse": "worse", "other": "changed", "same": ""}


def gate_markdown(gate: Gate, before: str, after: str) -> str:
    """The verdict, then every finding, the worst first."""
    lines = [
        f"## {SIGNS[gate.verdict]} {gate.verdict}: {in_markdown(after)} against {in_markdown(before)}",
        "",
        "| | rule | tier | row | concept | demand | what was found |",
        "|---|---|---|---|---|---|---|",
    ]
    for verdict, findings in by_verdict(gate).items():
        for one in findings:
            cells = (one.rule, one.tier, one.method, one.concept, one.demand, with_needed(one))
            lines.append(f"| {SIGNS[verdict]} {verdict} | {' | '.join(map(in_markdown, cells))} |")
    return "\n".join([*lines, "", *(f"- {in_markdown(note)}" for note in gate.notes)]).rstrip() + "\n"


def with_needed(finding: Finding) -> str:
    """What was found, and how many prompts would decide it."""
    more = "" if finding.needed is None else f"; about {finding.needed:,} prompts would do"
    return f"{finding.why}{more}"


def gate_junit(gate: Gate, name: str) -> str:
    """A test case for each finding: BLOCK and MISSING fail, INCONCLUSIVE is skipped, WARN is printed."""
    suite = xml.Element(
        "testsuite",
        name=shown(name),
        tests=str(len(gate.findings)),
        failures=str(gate.count("BLOCK") + gate.count("MISSING")),
        skipped=str(gate.count("INCONCLUSIVE")),
        errors="0",
    )
    for one in gate.findings:
        case = xml.SubElement(
            suite, "testcase", classname=shown(f"{one.method}.{one.concept}"), name=shown(one.rule)
        )
        text = shown(f"{one.demand}: {with_needed(one)}")
        match one.verdict:
            case "BLOCK" | "MISSING":
                xml.SubElement(case, "failure", type=one.verdict, message=text).text = text
            case "INCONCLUSIVE":
                xml.SubElement(case, "skipped", message=text)
            case _:
                xml.SubElement(case, "system-out").text = f"{one.verdict}: {text}"
    xml.indent(suite)
    return xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def shown_changes(changes: Iterable[Change], concepts: Sequence[str] = ()) -> list[Change]:
    """The headline numbers: overall, and those of the named concepts."""
    return [change for change in changes if is_shown(change.after, concepts)]


def is_shown(row: Row, concepts: Sequence[str]) -> bool:
    """Whether it is a headline number, overall or of one of the concepts."""
    return row.headline and (row.scope == "overall" or row.concept in concepts)


HEADS = (
    "row",
    "concept",
    "role",
    "metric",
    "before",
    "after",
    "change",
    "p",
    "p Holm",
    "d_z",
    "0→1:1→0",
    "p same",
    "detectable",
    "",
)


def cells_of(change: Change) -> tuple[str, ...]:
    """One change as the cells of a table with the heads `HEADS`."""
    row = change.after
    known = [end for end in (change.before.value, row.value, row.change) if end is not None]
    decimals = decimals_for(known)

    def text(value: float | None, digits: int = decimals, *, signed: bool = False) -> str:
        return "–" if value is None else number(value, digits, signed=signed)

    def p_text(p: float | None) -> str:
        return "–" if p is None else p_value(p, 4)

    ends = (
        ""
        if row.change_low is None or row.change_high is None
        else f" [{text(row.change_low)}, {text(row.change_high)}]"
    )
    return (
        change.method,
        row.concept,
        row.role,
        f"{row.title}",
        text(change.before.value),
        text(row.value),
        f"{text(row.change, signed=True)}{ends}",
        p_text(change.p) + ("ᴹ" if change.test == "McNemar" else ""),
        p_text(change.p_holm),
        text(change.effect, 2),
        "" if change.turned is None else f"{change.turned[0]}:{change.turned[1]}",
        p_text(change.same_p_holm),
        text(row.detectable),
        found_of(change),
    )


def found_of(change: Change) -> str:
    """In a word or two: which way it goes, and whether it is within the margin."""
    level = LEVELS[kind_of(change)]
    if not is_equivalent(change):
        return level
    return f"{level}, equivalent" if level else "equivalent"


def comparison_markdown(
    comparison: Comparison, concepts: Sequence[str], turned: Sequence[Flip], before: str, after: str
) -> str:
    """The changes of the headline numbers, then the flips."""
    heading = f"{after}: rows against each other" if before == after else f"{after} against {before}"
    lines = [f"## {in_markdown(heading)}", ""]
    lines += [f"| {' | '.join(HEADS)} |", "|---|---|---|---|" + "---:|" * (len(HEADS) - 5) + "---|"]
    for change in shown_changes(comparison.changes, concepts):
        lines.append(f"| {' | '.join(map(in_markdown, cells_of(change)))} |")
    if turned:
        lines += [
            "",
            "| row | concept | role | metric | prompt | seed | now |",
            "|---|---|---|---|---|---:|---|",
        ]
        lines += [f"| {' | '.join(map(in_markdown, flip_cells(flip)))} |" for flip in turned]
    notes = (*comparison.left_out, *read_as(comparison, within=before == after))
    lines += ["", *(f"- {in_markdown(note)}" for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def read_as(comparison: Comparison, *, within: bool) -> list[str]:
    """What the columns of a comparison mean; `within` one run or from one to another."""
    difference = "second less first row" if within else "newer less older run"
    lines = [
        f"change: {difference}, [95% interval], on the same prompts and noise. p: paired permutation test, "
        "or McNemar's exact one (ᴹ) where every prompt has one picture that scores 1 or 0; Holm's over the "
        "numbers that are shown. d_z: the change in standard deviations of the prompts' differences. "
        "0→1:1→0: prompts whose picture turned one way and the other. detectable: the smallest change that "
        "so many prompts find four times in five."
    ]
    if any(change.margin is not None for change in comparison.changes):
        lines.append(
            f"p same: two one-sided tests that the change is below {100 * comparison.margin:g}% of the "
            "metric's range either way, Holm's over the same numbers; equivalent where it is."
        )
    return lines


def flip_cells(flip: Flip) -> tuple[str, ...]:
    """One flip as cells: row, concept, role, metric, prompt and picture, seed, what it is now."""
    return (
        flip.method,
        flip.concept,
        flip.role,
        f"{flip.evaluator}: {flip.metric}",
        f"{flip.prompt_id} #{flip.image_index}",
        str(flip.seed),
        f"{flip.now:g} ({flip.became})",
    )


def comparison_json(comparison: Comparison, turned: Sequence[Flip]) -> dict[str, Any]:
    """All changes, with both runs' rows, and the flips."""
    return {
        "changes": [
            {
                "method": change.method,
                "before": to_json(change.before),
                "after": to_json(change.after),
                "worse": change.worse,
                "p": change.p,
                "p_holm": change.p_holm,
                "test": change.test,
                "effect": change.effect,
                "turned": None if change.turned is None else list(change.turned),
                "margin": change.margin,
                "same_p": change.same_p,
                "same_p_holm": change.same_p_holm,
                "equivalent": is_equivalent(change),
                "kind": kind_of(change),
                "equal": change.equal,
            }
            for change in comparison.changes
        ],
        "flips": [
            {**flip._asdict(), "pictures": [None if file is None else str(file) for file in flip.pictures]}
            for flip in turned
        ],
        "left_out": list(comparison.left_out),
    }
