"""The transformations by name. Adding one is a line here and a module with a `TransformationCard` in it."""

from importlib import import_module
from typing import NamedTuple

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.options import build_from_options
from erasure_bench.prompt_suites.transformations.base import Transformation, TransformationCard

TRANSFORMATIONS: dict[str, str] = {
    "misspelling": "erasure_bench.prompt_suites.transformations.misspelling:CARD",
}

FLAG = "--transform"
FORM = "NAME or NAME:KEY=VALUE,…"


class ChosenTransformation(NamedTuple):
    """A transformation as the user asked for it; `spelt` is how."""

    card: TransformationCard
    transformation: Transformation
    spelt: str

    @property
    def title(self) -> str:
        """Name and version, with the options that were given."""
        _, _, options = self.spelt.partition(":")
        return f"{self.card.name} {self.card.version}" + (f" ({options})" if options else "")


def transformation_names() -> tuple[str, ...]:
    """Every registered transformation, in the order of the table."""
    return tuple(TRANSFORMATIONS)


def transformation_card(name: str) -> TransformationCard:
    """Raises UnknownName, which suggests the nearest names, where there is no such transformation."""
    if name not in TRANSFORMATIONS:
        raise UnknownName("transformation", name, TRANSFORMATIONS, flag=FLAG)
    module, attribute = TRANSFORMATIONS[name].split(":")
    card: TransformationCard = getattr(import_module(module), attribute)
    return card


def choose_transformation(spelt: str) -> ChosenTransformation:
    """What `misspelling` or `misspelling:each=3` asks for.

    Raises UnknownName, and BenchError for an option that is not there or a value that it does not take.
    """
    name, colon, text = spelt.partition(":")
    card = transformation_card(name)
    options: dict[str, str] = {}
    for word in text.split(",") if colon else ():
        key, equals, value = (part.strip() for part in word.partition("="))
        if not (key and equals and value) or key in options:
            raise BenchError(f"{FLAG} {spelt!r}: write it as {FORM}, each KEY once")
        options[key] = value
    return ChosenTransformation(
        card, build_from_options(card.build, {}, options, FLAG, f"transformation {name!r}"), spelt
    )
