"""The general prompts that do not speak of what is erased."""

from collections.abc import Sequence

from erasure_bench.prompt_suites.concepts import Concept


def silent_on(
    concepts: Sequence[Concept], prompts: Sequence[str], classes: tuple[str, ...] = ()
) -> list[int]:
    """Places of the prompts with no target phrase of a concept in them, nor a phrase that evokes it.

    A phrase is found wherever its letters stand, small or capital: `car` in `carpet` as well. It
    costs some prompts too many rather than replaying the concept once. Where the prompts are names of
    `classes`, one speaks of a concept only if it is its name.
    """
    phrases = {
        phrase.lower() for concept in concepts for phrase in (*concept.targets, *concept.evoked_by) if phrase
    }
    if classes:
        return [place for place, prompt in enumerate(prompts) if prompt.lower() not in phrases]
    return [
        place
        for place, prompt in enumerate(prompts)
        if not any(phrase in prompt.lower() for phrase in phrases)
    ]
