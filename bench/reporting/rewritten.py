"""What transformations made of a run's prompts: the list beside its results, and a note on it."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd
from pandas import DataFrame

from erasure_bench.bench.planning.plan import Plan
from erasure_bench.prompt_suites.suite import Rewritten, Suite

REWRITTEN = "rewritten.csv"
COLUMNS = ("transformation", "concept", "source_id", "source", "prompt_id", "role", "prompt", "change")
"""Of the list: `prompt_id`, `role` and `prompt` are empty where a prompt was left as it is, and `change` says
why."""


def rewritten_list(suite: Suite) -> DataFrame:
    """What became of each prompt that was to be rewritten, columns `COLUMNS`."""
    return pd.DataFrame(list(_rows(suite)), columns=list(COLUMNS))


def rewriting_notes(plan: Plan) -> list[str]:
    """For each transformation: how many prompts it rewrote, which were left out and why."""
    by_name: dict[str, list[Rewritten]] = {}
    for made in plan.suite.rewritten:
        by_name.setdefault(made.transformation, []).append(made)
    return [_note(plan, name, made) for name, made in by_name.items()]


def _rows(suite: Suite) -> Iterator[tuple[str, ...]]:
    for concept in suite.concepts:
        texts = {prompt.id: prompt for prompt in suite.prompts[concept.name]}
        for made in suite.rewritten:
            if made.concept == concept.name:
                source, new = texts[made.source], texts.get(made.prompt or "")
                about = (new.id, new.role, new.text) if new else ("", "", "")
                yield made.transformation, concept.name, source.id, source.text, *about, made.change


def _note(plan: Plan, name: str, made: list[Rewritten]) -> str:
    prompts = {prompt.id: prompt for each in plan.suite.prompts.values() for prompt in each}
    new = [each for each in made if each.prompt is not None]
    roles = sorted({prompts[each.prompt].role for each in new if each.prompt})
    of = sorted({prompts[each.source].role for each in new})
    drawn = {prompt.id for prompt in plan.prompts}
    asked = sum(each.prompt in drawn for each in new)
    left = Counter(each.change for each in made if each.prompt is None)
    said = "; ".join(f"{count}: {why}" for why, count in left.items())
    return (
        f"Prompts in other words ({name}, role {', '.join(roles)}): {asked}, drawn from the noise of the "
        f"{', '.join(of)} prompts that they rewrite; a column with a − has the paired difference to these"
        f"{f'. Left as they are: {sum(left.values())} ({said})' if left else ''}. The list: {REWRITTEN}."
    )
