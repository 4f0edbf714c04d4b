"""A prompt with the concept's name taken out of it, for what is searched to stand there instead."""

from erasure_bench.prompt_suites.concepts import Concept

PLACEHOLDER = "<concept>"
"""How what was found is written where people read a prompt."""


def around_the_concept(concept: Concept, prompt: str, slots: int) -> list[str | int]:
    """The prompt's parts, with `slots` free slots in the place of the longest phrase that names the concept.

    Capitals do not matter. They stand first where the prompt does not name it. As `token_input.with_slots`
    takes it.
    """
    text = prompt.lower()
    phrases = sorted(concept.targets, key=len, reverse=True)
    found = next((phrase for phrase in phrases if phrase.lower() in text), None)
    if found is None:
        return [slots, prompt]
    at = text.index(found.lower())
    parts = (prompt[:at].strip(), slots, prompt[at + len(found) :].strip())
    return [part for part in parts if part]


def said(parts: list[str | int]) -> str:
    """The prompt as people read it."""
    return " ".join(PLACEHOLDER if isinstance(part, int) else part for part in parts)
