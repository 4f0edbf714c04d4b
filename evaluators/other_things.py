"""What a prompt names besides its subject: the things that erasing the subject should leave there.

HUB (Moon et al., 2024) asks for each other noun of a prompt whether the picture still shows it.
"""

import re
from collections.abc import Iterable, Sequence

from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import ERASED_ROLES, Prompt, Role

TAG = "shows:"
"""A prompt's tag `shows:red boat` names one of its other things; with such tags only these are asked."""

READ_FROM_TEXT: tuple[Role, ...] = ("target", "anchor", "neighbour", "retention")
"""Roles whose text says plainly what is to be seen: not misspelt, no attack, not merely evoking."""

_PIECES = re.compile(r"[\w'’-]*\d[\w'’-]*|[^\W\d_]+(?:['’-][^\W\d_]+)*|[^\w\s]")
"""A word, a sign, or a number with what is written to it ("4k", "35mm", "1990s")."""
_DIGIT = re.compile(r"\d")
_ARTICLES_QUANTIFIERS_PRONOUNS = """
a an the this that these those some any each every all both several many few much more most no none
another other others one two three four five six seven eight nine ten i me my you your he him his she her
hers it its we us our they them their who whom whose which what somebody someone something
"""
_PREPOSITIONS_CONJUNCTIONS = """
about above across after against along amid among around as at before behind below beneath beside besides
between beyond by down during except for from in inside into like near next of off on onto opposite out
outside over past per than through throughout till to toward towards under underneath until up upon via
with within without and but or nor so yet if while when where because although though
"""
_JOINING_VERBS_ADVERBS = """
am is are was were be been being has have had having do does did doing can could may might must shall
should will would not very too also just only still again there here then now
"""
_THE_PICTURE_ITSELF = """
picture pictures photo photos photograph photography image images painting drawing sketch illustration
rendering render portrait depiction depicting showing shows scene style styled
"""
_BETWEEN = frozenset(
    _PIECES.findall(
        f"{_ARTICLES_QUANTIFIERS_PRONOUNS} {_PREPOSITIONS_CONJUNCTIONS} {_JOINING_VERBS_ADVERBS} "
        f"{_THE_PICTURE_ITSELF}"
    )
)
"""Words between things, and words for the picture itself."""


def other_things(concept: Concept, prompt: Prompt, most: int) -> tuple[str, ...] | str:
    """At most `most` things that the prompt names besides its subject, or why none can be told.

    The subject is the concept where it should be gone, the prompt's own subject elsewhere. Tags `shows:…`
    name them; without such tags they are what remains between the text's function words, punctuation and
    numbers once the subject's own words are taken out: "a grumpy cat in a red boat near the sea" names "red
    boat" and "sea". No grammar is known: "a dog runs" names "dog runs".
    """
    if given := [tag.removeprefix(TAG).strip() for tag in prompt.tags if tag.startswith(TAG)]:
        return tuple(given[:most])
    if prompt.role not in READ_FROM_TEXT:
        return f"what else a prompt of the role {prompt.role} shows is not told by its text (tags {TAG}…)"
    subject = concept.targets if prompt.role in ERASED_ROLES else (prompt.subject,)
    things = things_in(prompt.text, subject)
    return things[:most] or "the prompt names nothing else"


def things_in(text: str, without: Sequence[str]) -> tuple[str, ...]:
    """The runs of words between function words, each once, in lower case; no word of `without` is in them."""
    own = {form for phrase in without for word in _words(phrase) for form in _forms(word)}
    runs: list[list[str]] = [[]]
    for word in _words(text):
        if not word[0].isalpha() or _DIGIT.search(word) or word in _BETWEEN or _forms(word) & own:
            runs.append([])
        else:
            runs[-1].append(word)
    return tuple(dict.fromkeys(" ".join(run) for run in runs if run))


def _words(text: str) -> Iterable[str]:
    return _PIECES.findall(text.lower())


def _forms(word: str) -> set[str]:
    """The word, and what it may be the plural of: boats, churches, puppies."""
    found = {word}
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        found.add(word[:-1])
        if word.endswith("ies"):
            found.add(f"{word[:-3]}y")
        elif word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
            found.add(word[:-2])
    return found
