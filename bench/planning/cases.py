"""What a run measures: one concept of the suite at a time, each with all that are erased together with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ERASED_ROLES, Prompt, Suite

TOGETHER = "+"
"""Joins the names of concepts that one edit erases: `--concepts a+b`."""
THEN = ">"
"""Joins the names of concepts that are erased one after another: `--concepts "a>b"`."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One concept that is measured and the concepts that the edit erases, itself among them.

    `in_turn` says that they are erased one after another, in their order, each from what the one before left.
    """

    concept: Concept
    erased: tuple[Concept, ...]
    in_turn: bool = False

    @cached_property
    def name(self) -> str:
        """The concept's name, with those erased along with it: "mosaic (with neon)"."""
        if self.in_turn:
            return f"{self.concept.name} (in turn: {', '.join(concept.name for concept in self.erased)})"
        others = [concept.name for concept in self.erased if concept != self.concept]
        return f"{self.concept.name} (with {', '.join(others)})" if others else self.concept.name

    def prompts(self, suite: Suite) -> tuple[Prompt, ...]:
        """The concept's prompts, without those that ask to keep something that is erased along with it."""
        others = [concept for concept in self.erased if concept != self.concept]
        return tuple(
            prompt
            for prompt in suite.prompts[self.concept.name]
            if prompt.role in ERASED_ROLES or not any(_shows(prompt, other) for other in others)
        )


def pick_cases(suite: Suite, names: Sequence[str]) -> tuple[Case, ...]:
    """The suite's concepts of these names, all where none is named; "grumpy-cat" means "Grumpy cat".

    Concepts joined by `+` are erased by one edit, those joined by `>` one after another; they are measured
    one by one. Raises UnknownName for a
    concept that the suite does not have.
    """
    if not names:
        return tuple(Case(concept=concept, erased=(concept,)) for concept in suite.concepts)
    cases: dict[str, Case] = {}
    for name in names:
        group, in_turn = _group(suite, name), THEN in name
        for concept in group:
            case = Case(concept=concept, erased=group, in_turn=in_turn)
            cases[case.name] = case
    order = {concept: place for place, concept in enumerate(suite.concepts)}
    return tuple(sorted(cases.values(), key=lambda case: (len(case.erased), order[case.concept])))


def _group(suite: Suite, text: str) -> tuple[Concept, ...]:
    """In the suite's order; those that are erased in turn in the order in which they are named, each once."""
    by_name = {slug(concept.name): concept for concept in suite.concepts}
    joint = THEN if THEN in text else TOGETHER
    slugs = [slug(name) for name in text.split(joint)]
    if not all(slugs) or (joint == THEN and (TOGETHER in text or len(set(slugs)) < len(slugs))):
        raise BenchError(
            f"--concepts {text!r}: write concepts that are erased together as NAME{TOGETHER}NAME, one after "
            f'another as "NAME{THEN}NAME", each once'
        )
    for name, key in zip(text.split(joint), slugs, strict=True):
        if key not in by_name:
            raise UnknownName(
                f"concept of {suite.name}", name, [c.name for c in suite.concepts], "--concepts"
            )
    if joint == THEN:
        return tuple(by_name[key] for key in slugs)
    return tuple(concept for key, concept in by_name.items() if key in slugs)


def _shows(prompt: Prompt, concept: Concept) -> bool:
    """Whether the prompt's picture is to show the concept, by its label or by the prompt's words."""
    text = prompt.text.lower()
    return (prompt.label is not None and prompt.label == concept.label) or any(
        phrase.lower() in text for phrase in (*concept.targets, *concept.evoked_by)
    )


def slug(name: str) -> str:
    """A concept's name as it may be typed: "grumpy-cat" for "Grumpy cat"."""
    return name.strip().lower().replace(" ", "-").replace("_", "-")
