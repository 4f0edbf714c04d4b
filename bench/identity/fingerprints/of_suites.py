"""What suites ask for: a digest of their prompts and protocol, or of the data that they are made from."""

from collections.abc import Mapping

from erasure_bench.bench.identity.fingerprints import Json
from erasure_bench.bench.identity.ids import content_id, plain
from erasure_bench.bench.identity.table import Numbers
from erasure_bench.prompt_suites.registry import load_suite, suite_card

WORDS = frozenset({"title", "description", "source", "licence", "version", "left_out", "rewritten"})


def version(name: str) -> str:
    """The version in the card."""
    return suite_card(name).version


def defaults(name: str) -> Json:
    """The options that hold where none is named."""
    return {option: values[0] for option, values in suite_card(name).options.items()}


def cases(name: str) -> Mapping[str, Json]:
    """The suite as it is by default, and with each other value of an option; or the data it is made from."""
    if suite_card(name).pinned:
        return {"data": {}}
    others = {
        f"{option}={value}": {option: value}
        for option, values in suite_card(name).options.items()
        for value in values[1:]
    }
    return {"default": {}, **others}


def measure(name: str, settings: Json) -> Numbers:
    """To the letter: the data's own digests where they are not in the project."""
    card = suite_card(name)
    if card.pinned:
        return {**card.pinned, "file": card.digest}
    suite = load_suite(name, options=settings)
    content = {name: value for name, value in plain(suite).items() if name not in WORDS}
    return {"content": content_id(content)}
