"""What a run measures: one concept of the suite at a time, each with all that are erased together with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ERASED_ROLES, Prompt, Suite

TOGETHER = "+"
"""Joins the names of concepts that one edit erases: `--concepts a+b`."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One concept that is measured and the concepts that the edit erases, itself among them."""

    concept: Concept
    erased: tuple[Concept, ...]

    @cached_property
    def name(self) -> str:
        """The concept's name, with those erased along with it: "mosaic (with neon)"."""
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

    Concepts joined by `+` are erased by one edit and measured one by one. Raises UnknownName for a
    concept that the suite does not have.
    """
    if not names:
        return tuple(Case(concept=concept, erased=(concept,)) for concept in suite.concepts)
    cases: dict[str, Case] = {}
    for group in (_group(suite, name) for name in names):
        for concept in group:
            case = Case(concept=concept, erased=group)
            cases[case.name] = case
    order = {concept: place for place, concept in enumerate(suite.concepts)}
    return tuple(sorted(cases.values(), key=lambda case: (len(case.erased), order[case.concept])))


def _group(suite: Suite, text: str) -> tuple[Concept, ...]:
    by_name = {slug(concept.name): concept for concept in suite.concepts}
    slugs = [slug(name) for name in text.split(TOGETHER)]
    if not all(slugs):
        raise BenchError(
            f"--concepts {text!r}: write concepts that are erased together as NAME{TOGETHER}NAME"
        )
    for name, key in zip(text.split(TOGETHER), slugs, strict=True):
        if key not in by_name:
            raise UnknownName(
                f"concept of {suite.name}", name, [c.name for c in suite.concepts], "--concepts"
            )
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
