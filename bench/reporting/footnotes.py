"""The lines below a leaderboard: what a reader must know to compare its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from erasure_bench.bench.planning.bases import remarks, sameness
from erasure_bench.bench.planning.own_protocol import own_words
from erasure_bench.bench.planning.plan import Plan
from erasure_bench.bench.reporting.collapsed import collapse_notes
from erasure_bench.bench.reporting.evidence import DEVICE, Evidence
from erasure_bench.bench.reporting.leaderboard import Row
from erasure_bench.bench.reporting.rewritten import rewriting_notes
from erasure_bench.bench.reporting.sampling import estimators, sampled
from erasure_bench.bench.reporting.scores import protocol_key
from erasure_bench.bench.reporting.verdict_notes import verdict_notes
from erasure_bench.bench.reporting.verdicts import Retest
from erasure_bench.prompt_suites.suite import ROLES

Weight = Literal["caution", "reading", "provenance"]
"""Where a note is shown: by even the shortest table, by the whole one, or in the files alone."""


class Note(NamedTuple):
    """One line below a leaderboard, and how much hangs on its being read."""

    text: str
    weight: Weight = "reading"


def guidance_scales(plan: Plan) -> list[float]:
    """All that pictures are drawn with: prompts may have their own, whatever the suite's protocol says."""
    images = (image for cell in plan.cells for task in cell.generate for image in task.images.images)
    return sorted({image.guidance_scale for image in images})


def footnotes(
    plan: Plan, rows: Sequence[Row], agreements: Sequence[Retest], evidence: Evidence
) -> list[Note]:
    """What the plan, its rows and what they were made from give to say."""
    drawn = evidence.drawn_with
    protocol, config = plan.suite.protocol, plan.config
    images = [image for cell in plan.cells for task in cell.generate for image in task.images.images]
    sizes = sorted({f"{image.width}×{image.height}" for image in images})
    scales = guidance_scales(plan)
    seeds = ", ".join(str(seed) for seed in config.seeds)
    each = sorted({protocol.images_of(image.prompt) for image in images})
    own = " (prompts' own seeds)" if any(image.prompt.seed is not None for image in images) else ""
    counts = [
        f"{role} {len({image.prompt.id for image in images if image.prompt.role == role})}"
        for role in ROLES
        if any(image.prompt.role == role for image in images)
    ]
    notes = [
        Note(
            f"Protocol: {protocol.scheduler}, {protocol.steps} steps, η {protocol.eta:g}, guidance scale "
            f"{_few(f'{scale:g}' for scale in scales)}, {_few(sizes)} pixels, {config.dtype}, "
            f"{_few(map(str, each))} per prompt, seeds {seeds}{own_words(config)}{own}; "
            f"{sameness(plan.bases)}."
        ),
        Note(f"Base model {plan.model.name}, weights {plan.model.digest[:12]}."),
        Note(
            f"First prompts only (--limit {config.limit}): {', '.join(counts)}.",
            "caution",
        )
        if config.limit
        else Note(f"Prompts: {', '.join(counts)}."),
    ]
    notes += [
        Note(f"Row {method.name}: another base model, weights {method.base.digest[:12]}.")
        for method in plan.methods
        if method.base
    ]
    notes += [Note(remark, "caution") for remark in remarks(plan.bases)]
    notes += [
        Note(f"Row {method.name}: {'; '.join([str(method.weights), *evidence.read_as[method.name]])}.")
        for method in plan.methods
        if method.name in evidence.read_as
    ]
    notes += _trained_otherwise(plan)
    for case in plan.cases:
        asked = len(plan.suite.prompts[case.concept.name])
        if dropped := asked - len(case.prompts(plan.suite)):
            notes.append(
                Note(f"{case.name}: {dropped} prompts that ask to keep what else is erased are left out.")
            )
    notes += [Note(text) for text in rewriting_notes(plan)]
    if plan.suite.left_out:
        total = sum(left.rows for left in plan.suite.left_out)
        reasons = "; ".join(f"{left.rows}: {left.reason}" for left in plan.suite.left_out)
        notes.append(Note(f"Left out by the suite: {total} rows ({reasons}).", "caution"))
    baseline = plan.methods[0].name
    notes.append(
        Note(f"{sampled(plan)} In parentheses: change against {baseline} on the same prompts and noise.")
    )
    notes += [Note(text, "caution") for text in collapse_notes(rows)]
    notes += [Note(text) for text in verdict_notes(rows, agreements, config.seeds)]
    notes.append(Note(estimators(plan), "provenance"))
    notes += [
        Note(
            f"{evaluator.name} [{protocol_key(evaluator.protocol)}]: {_in_words(evaluator.protocol)}",
            "provenance",
        )
        for evaluator in plan.evaluators
    ]
    notes += [Note(text, "caution") for text in missing_notes(rows)]
    if any(row.status == "partial" for row in rows):
        notes.append(
            Note(
                "*: pictures are missing; the number is that of the others, never marked as best.", "caution"
            )
        )
    made_with = ", ".join(f"{name} {' and '.join(found)}" for name, found in drawn.items() if name != DEVICE)
    notes.append(
        Note(
            f"Method presets: {_presets(plan)}. "
            + (f"Drawn on {', '.join(drawn[DEVICE])}; {made_with}." if drawn else "Nothing drawn."),
            "provenance",
        )
    )
    if apart := of_several_devices("Costs", drawn):
        notes.append(Note(apart, "caution"))
    if any(len(found) > 1 for name, found in drawn.items() if name != DEVICE):
        notes.append(
            Note(
                "Pictures of several versions are compared: a difference may be the versions' own.", "caution"
            )
        )
    return notes


def missing_notes(rows: Sequence[Row]) -> list[str]:
    """How many of the concepts' numbers lack scores, and why the one that lacks most; empty if none."""
    lacking = [row for row in rows if row.scope == "concept" and row.missing]
    if not lacking:
        return []
    worst = max(lacking, key=lambda row: row.missing)
    why = worst.reason if worst.images else f"all {worst.missing} pictures: {worst.reason}"
    numbers = "1 number" if len(lacking) == 1 else f"{len(lacking)} numbers"
    return [
        f"Scores are missing in {numbers}; most: {worst.method}, {worst.concept}, {worst.role}, "
        f"{worst.title}: {why}."
    ]


def _trained_otherwise(plan: Plan) -> list[Note]:
    """Which methods train in another precision than pictures are drawn in, by their setting `precision`."""
    by_precision: dict[str, list[str]] = {}
    for method in plan.methods:
        precision = method.settings.get("precision", "model")
        if precision not in ("model", plan.config.dtype):
            by_precision.setdefault(str(precision), []).append(method.name)
    return [Note(f"Trained in {precision}: {', '.join(names)}.") for precision, names in by_precision.items()]


def _presets(plan: Plan) -> str:
    """The commonest one, and of every other which methods have it: "paper; official: sld-max"."""
    by_preset: dict[str, list[str]] = {}
    for method in plan.methods:
        if not method.fixed:
            by_preset.setdefault(method.preset, []).append(method.name)
    common, *others = sorted(by_preset, key=lambda preset: -len(by_preset[preset])) or ["none"]
    return "; ".join([common, *(f"{preset}: {', '.join(by_preset[preset])}" for preset in others)])


def _few(values: Any) -> str:
    words = list(values)
    return ", ".join(words) if len(words) <= 3 else f"{words[0]} … {words[-1]} ({len(words)} values)"


def _in_words(protocol: Any) -> str:
    """A protocol in one line; digests are cut to twelve digits, nested parts left to run.json."""
    parts = []
    for key, value in protocol.items():
        if isinstance(value, dict) or value is None:
            continue
        text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
        is_digest = len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)
        text = text[:12] if is_digest else text if len(text) <= 80 else f"{text[:77]}…"
        parts.append(f"{key} {text}")
    return "; ".join(parts)


def of_several_devices(what: str, drawn: Mapping[str, Sequence[str]]) -> str:
    """Why `what` does not compare where a run was `drawn_with` several devices; empty where there is one."""
    devices = drawn.get(DEVICE, ())
    if len(devices) < 2:
        return ""
    return (
        f"{what} are means over cells done on {' and '.join(devices)}, which a method may have in another "
        "share than the next: they do not compare."
    )
