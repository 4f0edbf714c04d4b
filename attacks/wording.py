"""A prompt with the concept's name taken out of it, for what is searched to stand there instead."""

import re

from erasure_bench.prompt_suites.concepts import Concept

PLACEHOLDER = "<concept>"
"""How what was found is written where people read a prompt."""


def around_the_concept(concept: Concept, prompt: str, slots: int) -> list[str | int]:
    """The prompt's parts, with `slots` free slots in the place of the longest phrase that names the concept.

    The phrase is whole words, or their plural or genitive; capitals do not matter. The first mention counts.
    They stand first where the prompt does not name it. As `token_input.with_slots` takes it.
    """
    phrases = sorted(concept.targets, key=len, reverse=True)
    mentions = (re.search(rf"(?<!\w){re.escape(one)}(?:e?s|['’]s)?(?!\w)", prompt, re.I) for one in phrases)
    found = next((mention for mention in mentions if mention), None)
    if found is None:
        return [slots, prompt]
    parts = (prompt[: found.start()].strip(), slots, prompt[found.end() :].strip())
    return [part for part in parts if part]


def said(parts: list[str | int]) -> str:
    """The prompt as people read it."""
    return " ".join(PLACEHOLDER if isinstance(part, int) else part for part in parts)
