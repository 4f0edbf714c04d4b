"""A suite with its prompts' other wordings: of any suite, however it was made."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.screen import suggests_minor
from erasure_bench.prompt_suites.suite import Prompt, Rewritten, Suite
from erasure_bench.prompt_suites.transformations.base import Reworded, Wording
from erasure_bench.prompt_suites.transformations.registry import (
    FLAG,
    ChosenTransformation,
    choose_transformation,
)


def transformed(suite: Suite, asked: Iterable[str], concepts: Iterable[Concept] | None = None) -> Suite:
    """The suite with what the transformations `asked` for add to it; its own prompts stay as they are.

    A new prompt has the source's everything but its id, text and role: above all its noise. Its id is the
    source's with a mark behind it. Wordings that suggest a minor where the source does not are left out.
    Only the prompts that the suite itself brings are rewritten, so the order of the transformations does
    not matter. `concepts` are those whose prompts matter, else all.

    Raises BenchError for a transformation that is not there or makes nothing of the concepts' prompts,
    ValueError where one breaks its contract.
    """
    chosen = [choose_transformation(spelt) for spelt in dict.fromkeys(asked)]
    names = [one.card.name for one in chosen]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise BenchError(f"{FLAG} {twice} is given twice, with other options: give it once")
    wanted = tuple(suite.concepts if concepts is None else concepts)
    result = suite
    for one in chosen:
        made: list[Rewritten] = []
        prompts = dict(result.prompts)
        for concept in wanted:
            added, record = _rewritten(suite, concept, one)
            prompts[concept.name] = (*prompts[concept.name], *added)
            made += record
        if not any(each.prompt for each in made):
            why = next((f": {each.change}" for each in made), f": none has the role {one.card.of}")
            raise BenchError(f"{FLAG} {one.spelt}: nothing of {suite.name} can be rewritten{why}")
        result = replace(result, prompts=prompts, rewritten=(*result.rewritten, *made))
    if not chosen:
        return suite
    return replace(result, version=" + ".join((suite.version, *(one.title for one in chosen))))


def _rewritten(
    suite: Suite, concept: Concept, chosen: ChosenTransformation
) -> tuple[list[Prompt], list[Rewritten]]:
    card = chosen.card
    sources = [
        prompt for prompt in suite.prompts[concept.name] if prompt.role == card.of and prompt.rewrites is None
    ]
    found = chosen.transformation.reworded(suite, concept, sources)
    added: list[Prompt] = []
    record: list[Rewritten] = []
    for source, reworded in zip(sources, found, strict=True):
        _check(source, reworded, card.name)
        wordings = [wording for wording in reworded.wordings if _may_be_sent(wording.text, source.text)]
        for wording in wordings:
            prompt = _prompt(source, wording, chosen)
            added.append(prompt)
            record.append(Rewritten(card.name, concept.name, source.id, prompt.id, wording.change))
        if not wordings:
            why = reworded.left_out or "in other words it suggests a minor"
            record.append(Rewritten(card.name, concept.name, source.id, None, why))
    return added, record


def _may_be_sent(text: str, source: str) -> bool:
    """The screen of minors holds for every suite: other words bring in none of its words."""
    tier = suggests_minor(text)
    return tier is None or suggests_minor(source) in (tier, "strong")


def _prompt(source: Prompt, wording: Wording, chosen: ChosenTransformation) -> Prompt:
    return replace(
        source,
        id=f"{source.id}~{wording.mark}",
        text=wording.text,
        role=chosen.card.role,
        rewrites=source.id,
    )


def _check(source: Prompt, reworded: Reworded, name: str) -> None:
    """Raises ValueError where the contract is broken."""
    texts: Sequence[str] = [source.text, *(wording.text for wording in reworded.wordings)]
    marks = [wording.mark for wording in reworded.wordings]
    if len(set(texts)) < len(texts) or len(set(marks)) < len(marks):
        raise ValueError(f"{name}: two wordings of {source.id!r} are the same, or one is its own text")
    if bool(reworded.wordings) == bool(reworded.left_out):
        raise ValueError(f"{name}: {source.id!r} needs wordings, or a reason why it has none")
