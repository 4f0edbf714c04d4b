"""Pairs of prompts, one for the anchor and the same for the target: what retargeting methods learn from."""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.concepts import Concept

RecipeBook = Literal["compvis", "diffusers", "microworld"]
"""Whose wordings and settings: those of Concept Ablation's compvis or diffusers code, or our own for the
built-in model."""


class PromptPair(NamedTuple):
    """A prompt whose picture shows the anchor, and the ways to ask for the target in its place."""

    anchor: str
    targets: tuple[str, ...]


def prompt_pairs(
    concept: Concept, anchor: str | None = None, book: RecipeBook = "microworld"
) -> tuple[PromptPair, ...]:
    """One pair for each prompt of the anchor, in the order of `concept.anchor_prompts`.

    A concept that is added to a prompt has the anchor's prompts with each addition: its own
    `additions`, or those of the official codes for a style, by the `book`, and for unsafe content. A
    memorised picture has its target phrases as they are, whatever the anchor's prompt. Any other has
    the anchor's words replaced by each target phrase (`with_target`).

    `anchor` takes the place of `concept.anchor`. Where none of `concept.anchor_prompts` fits, which
    for an anchor that is replaced means to name it, there is a pair for each of our own templates.
    """
    additions = concept.additions or _additions(concept, book)
    if additions:
        templates = _OF_A_STYLE if concept.kind == "style" else _OF_THINGS
        prompts = _naming(concept.anchor_prompts, anchor) or _filled(templates, anchor or concept.anchor)
        return tuple(PromptPair(prompt, _added(additions, prompt)) for prompt in prompts)
    if concept.kind == "memorised":
        prompts = _naming(concept.anchor_prompts, anchor) or _filled(_OF_THINGS, anchor or concept.anchor)
        return tuple(PromptPair(prompt, concept.targets) for prompt in prompts)
    anchor = anchor or concept.anchor
    prompts = _naming(concept.anchor_prompts, anchor) or _filled(_OF_THINGS, anchor)
    return tuple(
        PromptPair(prompt, tuple(with_target(prompt, anchor, phrase) for phrase in concept.targets))
        for prompt in prompts
    )


def with_target(prompt: str, anchor: str, target: str) -> str:
    """`prompt` with `target` wherever it names `anchor`; both phrases in any case.

    An anchor written with its article is replaced together with it: "a photo of a person" of "a
    person" becomes "a photo of Mira Voss". One written without leaves the article in the prompt,
    put right for the target: of "apple", "an apple" becomes "a golden apple" and "apples" "golden
    apples"; a target that has an article or begins with a capital, as names do, takes none. Raises
    BenchError where the prompt does not name the anchor.
    """
    written, count = _mentions(anchor).subn(lambda found: _in_place_of(found, target), prompt)
    if not count:
        raise BenchError(
            f"the prompt {prompt!r} does not name the anchor {anchor!r} (--method-option anchor=…)"
        )
    return written


def names(prompt: str, anchor: str) -> bool:
    """Whether `prompt` has `anchor` in it as whole words, in any case, in the plural too."""
    return _mentions(anchor).search(prompt) is not None


def overlaps(concept: Concept, anchor: str | None = None) -> bool:
    """Whether a target phrase has the anchor's own words in it, as "grumpy cat" has "cat"."""
    bare = _ARTICLE.sub("", anchor or concept.anchor)
    return any(names(phrase, bare) for phrase in concept.targets)


_ARTICLE = re.compile(r"^(?:an|a|the)\s+", re.IGNORECASE)


def _mentions(anchor: str) -> re.Pattern[str]:
    if _ARTICLE.match(anchor):
        return re.compile(rf"(?<!\w){re.escape(anchor)}(?!\w)", re.IGNORECASE)
    return re.compile(
        rf"(?<!\w)(?:(?P<article>an|a|the)\s+)?{re.escape(anchor)}(?P<plural>s?)(?!\w)", re.IGNORECASE
    )


def _in_place_of(found: re.Match[str], target: str) -> str:
    said = found.groupdict()
    words = target + (said.get("plural") or "")
    article = said.get("article")
    if article is None or target[0].isupper() or _ARTICLE.match(target):
        return words
    if article.lower() == "the":
        return f"{article} {words}"
    return f"{_capital_like(article, _article(target))} {words}"


def _capital_like(example: str, word: str) -> str:
    return word.capitalize() if example[0].isupper() else word


def _article(phrase: str) -> str:
    return "an" if phrase[0].lower() in "aeiou" else "a"


def _with_article(phrase: str) -> str:
    if _ARTICLE.match(phrase) or phrase[0].isupper():
        return phrase
    return f"{_article(phrase)} {phrase}"


def _naming(prompts: Sequence[str], anchor: str | None) -> tuple[str, ...]:
    """The prompts that name the anchor; all of them where no anchor is asked for."""
    return tuple(prompt for prompt in prompts if anchor is None or names(prompt, anchor))


def _filled(templates: Iterable[str], anchor: str) -> tuple[str, ...]:
    return tuple(template.replace("{}", _with_article(anchor)) for template in templates)


def _added(additions: Iterable[str], prompt: str) -> tuple[str, ...]:
    return tuple(addition.replace("{}", prompt) for addition in additions)


def _additions(concept: Concept, book: RecipeBook) -> tuple[str, ...]:
    """How the official codes add a style, each in its ways, and unsafe content (diffusers) to a prompt.

    Each is as likely as another; what comes twice is twice as likely. Half of the time the compvis code
    says a style's name twice.
    """
    if concept.kind == "style":
        said = (
            (concept.target, f"{concept.target} {concept.target}") if book == "compvis" else (concept.target,)
        )
        ways = _WAYS_OF_DIFFUSERS if book == "diffusers" else _WAYS_OF_COMPVIS
        return tuple(way.format(name=name) for way in ways for name in said)
    if concept.kind == "unsafe":
        ways = ("{phrase}, {{}}", "in {phrase} style, {{}}", "{{}}, {phrase}")
        return tuple(way.format(phrase=phrase) for phrase in concept.targets for way in ways)
    return ()


_WAYS_OF_COMPVIS = (
    "{{}}, in the style of {name}",
    "{name} inspired painting, {{}}",
    "in {name}'s style, {{}}",
)
_WAYS_OF_DIFFUSERS = ("{{}}, in the style of {name}", "in {name}'s style, {{}}", "in {name}'s style, {{}}")
_OF_THINGS = (
    "a photo of {}",
    "{} in a garden",
    "a painting of {}",
    "{} at night",
    "a close view of {}",
    "{} in a city street",
    "a drawing of {}",
    "{} in the snow",
    "an old photograph of {}",
    "{} beside a window",
    "a watercolour of {}",
    "{} in bright sunlight",
    "a black and white photo of {}",
    "{} in front of a brick wall",
    "a picture of {}",
    "{} on a rainy day",
    "a poster with {}",
    "{} near a lake",
    "a studio photo of {}",
    "{} in a large hall",
)
_OF_A_STYLE = (
    "{} of a mountain lake",
    "{} of a busy market",
    "{} of an old woman reading",
    "{} of a bowl of fruit",
    "{} of a harbour in the morning",
    "{} of two horses in a field",
    "{} of a street after the rain",
    "{} of a woman with a dog",
    "{} of a wheat field",
    "{} of a cottage in winter",
    "{} of a vase with flowers",
    "{} of a ship in a storm",
    "{} of a musician on a stage",
    "{} of a forest path",
    "{} of a bridge over a river",
    "{} of a kitchen table",
    "{} of a night sky over a town",
    "{} of a man with a hat",
    "{} of a castle on a hill",
    "{} of birds on a wire",
)
