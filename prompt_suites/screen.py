"""The screen of minors: prompts that are never sent to a model, whatever suite they are in.

By words alone, English ones, whole and whatever their case: it has false alarms (baby as an endearment) and
misses (other languages, misspellings, names). A first screen, no guarantee.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Literal

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import LeftOut, Prompt, Suite

Tier = Literal["strong", "weak"]

WEAK_ROWS = "weak-rows"
WEAK_ROWS_CHOICES = ("sent", "left-out")
"""The option of every suite about something unsafe; the first value is the default."""

# Some prompts have their digits apart: "1 7 year old". So "2 5 years old" is a false alarm; "2 0" is none.
_UNDER_18 = (
    r"(?:1 ?[0-7]|[1-9]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|(?:thir|four|fif|six|seven)teen)"
)
_STRONG = (
    r"bab(?:y|ies)",
    r"child(?:ren|hood|ish|like|s)?",
    r"kid(?:s|die|dies|do)?",
    r"(?:pre[- ]?)?teen(?:s|age|ager|agers|aged)?",
    r"tweens?",
    r"(?:young|little|tiny|small)(?:[ -]+[\w-]+){0,3} +(?:girl|boy)s?",
    r"school[ -]?(?:girl|boy|child|kid)(?:s|ren)?",
    r"high[ -]?school(?:er|ers)?",
    r"(?:middle|elementary|primary|grade)[ -]school(?:er|ers)?",
    rf"{_UNDER_18}[ -]*(?:years?|yrs?)[ -]*(?:old|of[ -]+age)",
    rf"{_UNDER_18}[ -]?y[-./]?o",
    rf"aged? {_UNDER_18}(?!\d)",
    r"under[ -]?(?:18|eighteen)(?!\d)",
    r"baby(?:girl|boy)s?",
    r"shota(?:con)?s?",
    r"loli(?:s|con|ta|tas)?",
    r"adolescen(?:t|ts|ce)",
    r"under[ -]?aged?",
    r"(?:toddler|infant|newborn|minor|preschooler|juvenile|orphan)s?",
    r"kindergart\w*",
    r"p[ae]?edo\w*",
    r"pre[- ]?pubescent",
    r"jail[- ]?bait",
)
_WEAK = r"\d*girls?|\d*boys?|young(?:er|est)?|daughters?|sons?|students?|petite|school|nymph|youth(?:s|ful)?"
_UNSAFE = (
    r"nud(?:e|es|ity|ist|ists)|naked|nsfw|sex(?:y|ual|ually|ualized)?|erotic\w*|porn\w*|hentai|lewd|fetish\w*",
    r"lingerie|underwear|panties|bras?|bikinis?|swimsuits?|swimwear|topless|bottomless|shirtless",
    r"breasts?|nipples?|genital\w*|buttocks|orgy|bdsm|bondage|masturbat\w*|seductive\w*|provocative\w*",
    r"undress\w*|unclothed|(?:no|without|removing) (?:any )?cloth(?:es|ing)|bath(?:e|ing|tub|tubs|s)?",
    r"diapers?|blood(?:y|ied)?|gor[ey]|murder\w*|corpses?|suicid\w*|self[- ]harm\w*|tortur\w*",
    r"rap(?:e|ed|ing)|behead\w*|decapitat\w*|mutilat\w*|massacre\w*|strangl\w*|abus(?:e|ed|ing)|guns?|rifles?|pistols?",
)


def _words(parts: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(parts)})\b", re.IGNORECASE)


_STRONG_WORDS, _WEAK_WORDS, _UNSAFE_WORDS = _words(_STRONG), _words([_WEAK]), _words(_UNSAFE)


@lru_cache(maxsize=2**16)
def suggests_minor(text: str) -> Tier | None:
    """`strong`: child, kid, teen, school girl, an age under 18. `weak`: girl, young, student. Else None."""
    words = _plain(text)
    if _STRONG_WORDS.search(words):
        return "strong"
    return "weak" if _WEAK_WORDS.search(words) else None


@lru_cache(maxsize=2**16)
def is_unsafe(text: str) -> bool:
    """Whether the text has words of nakedness, sex or violence."""
    return _UNSAFE_WORDS.search(_plain(text)) is not None


def _plain(text: str) -> str:
    """Without what hides a word: wide and accented letters, invisible characters, underscores."""
    if text.isascii():
        return text.replace("_", " ")
    characters = unicodedata.normalize("NFKD", text).replace("_", " ")
    return "".join(each for each in characters if unicodedata.category(each) not in ("Mn", "Cf"))


def is_never_sent(text: str, unsafe: bool) -> bool:
    """Whether no model is asked for the text, of a concept that is `unsafe` or not."""
    return suggests_minor(text) == "strong" and (unsafe or is_unsafe(text))


def concept_is_unsafe(concept: Concept) -> bool:
    """Whether what is erased is unsafe: by its kind, or by the words that name it."""
    return concept.kind == "unsafe" or any(
        map(is_unsafe, (concept.name, *concept.targets, *concept.evoked_by))
    )


def screened(suite: Suite, weak_rows: str = WEAK_ROWS_CHOICES[0]) -> Suite:
    """The suite without the prompts that are never sent to a model; `left_out` counts them.

    Of an unsafe concept these are all prompts with a strong word but those that only show that other things
    stay (retention); of any concept, prompts with a strong word beside an unsafe one. Where `weak_rows` is
    left-out, an unsafe concept's prompts with a weak word go, too.
    Raises BenchError for a concept whose own phrases would have to go, and where no prompt is left.
    """
    go: tuple[Tier, ...] = ("strong",) if weak_rows == WEAK_ROWS_CHOICES[0] else ("strong", "weak")
    gone: dict[Tier, set[str]] = {tier: set() for tier in go}
    kept: dict[str, tuple[Prompt, ...]] = {}
    unsafe = {concept.name: concept_is_unsafe(concept) for concept in suite.concepts}
    for concept in suite.concepts:
        _refuse_phrases(concept, suite.name, unsafe[concept.name])
    for name, prompts in suite.prompts.items():
        tiers = {prompt.id: _tier(prompt, unsafe.get(name, False)) for prompt in prompts}
        for each in prompts:  # one that rewrites another is nothing without it
            if each.rewrites is not None and tiers.get(each.rewrites) in gone:
                tiers[each.id] = tiers[each.rewrites]
        for prompt, tier in tiers.items():
            if tier in gone:
                gone[tier].add(prompt)
        kept[name] = tuple(prompt for prompt in prompts if tiers[prompt.id] not in gone)
    if not any(gone.values()):
        return suite
    for name, prompts in kept.items():
        if not prompts:
            raise BenchError(
                f"suite {suite.name}: every prompt for {name} has words that suggest a minor: never sent to "
                "a model"
            )
    why: dict[Tier, str] = {
        "strong": "words that mean or suggest a minor: never sent to a model",
        "weak": f"words that may suggest a minor: left out by {WEAK_ROWS}={weak_rows}",
    }
    left_out = (LeftOut(len(prompts), why[tier]) for tier, prompts in gone.items() if prompts)
    return replace(suite, prompts=kept, left_out=(*suite.left_out, *left_out))


def _tier(prompt: Prompt, unsafe: bool) -> Tier | None:
    tier = suggests_minor(prompt.text)
    if tier == "strong" and is_unsafe(prompt.text):
        return tier
    return tier if unsafe and prompt.role != "retention" else None


def _refuse_phrases(concept: Concept, suite: str, unsafe: bool) -> None:
    """Methods train on pictures of these; `negative` is steered away from and never drawn."""
    phrases: Mapping[str, tuple[str, ...]] = {
        "targets": concept.targets,
        "anchor": (concept.anchor,),
        "surrogate": (concept.surrogate or "",),
        "neighbours": concept.neighbours,
        "anchor_prompts": concept.anchor_prompts,
        "additions": concept.additions,
        "evoked_by": concept.evoked_by,
    }
    for key, texts in phrases.items():
        for text in texts:
            if is_never_sent(text, unsafe):
                raise BenchError(
                    f"suite {suite}: concept {concept.name}: {key}: {text!r} suggests a minor beside "
                    "something unsafe: never sent to a model; take it out"
                )
