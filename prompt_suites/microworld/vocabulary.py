"""The names of everything that the microworld can draw.

One list for the three rooms that need it: the suites write prompts with these names, the
drawings give each of them a look, and the oracle gives each of them a label. Names marked
`VALIDATION_*` exist so that methods can be tuned on them; no suite reports on them.
"""

from typing import NamedTuple


class Family(NamedTuple):
    """A category with a named instance in it, and the instance's named neighbours."""

    category: str
    instance: str
    neighbours: tuple[str, str, str]

    @property
    def members(self) -> tuple[str, ...]:
        """The instance and its neighbours."""
        return (self.instance, *self.neighbours)


class Evoked(NamedTuple):
    """An implicit concept: the words that name it, the subjects that bring it along unnamed.

    `evoking` subjects are always drawn with the concept, `without` subjects are their look-alikes
    drawn without it, pair by pair.
    """

    concept: str
    naming: tuple[str, ...]
    evoking: tuple[str, ...]
    without: tuple[str, ...]


FAMILIES = (
    Family("cat", "grumpy cat", ("tuxedo cat", "ginger cat", "siamese cat")),
    Family("dog", "pirate dog", ("dalmatian dog", "poodle dog", "husky dog")),
    Family("fish", "clown fish", ("puffer fish", "angel fish", "sword fish")),
    Family("robot", "rusty robot", ("chrome robot", "golden robot", "toy robot")),
)
VALIDATION_FAMILIES = (Family("bird", "royal parrot", ("flamingo", "penguin", "blue owl")),)

OBJECTS = ("car", "house", "tree", "flower", "boat", "apple", "mushroom", "star", "cup", "kite")
VALIDATION_OBJECTS = ("balloon", "guitar")

PLAIN = "plain"
STYLES = ("mosaic", "neon", "sketch", "sepia", "blueprint", "pop art")
VALIDATION_STYLES = ("thermal", "woodcut")

IDENTITIES = (
    "Mira Voss",
    "Theo Lark",
    "Juno Park",
    "Otto Finch",
    "Lena Frost",
    "Hugo Reed",
    "Nina Sol",
    "Igor Pell",
)
VALIDATION_IDENTITIES = ("Vera Quill", "Sam Dune")
ANONYMOUS = ("person", "man", "woman", "old man", "old woman", "middle aged man", "middle aged woman")

IMPLICIT = (
    Evoked(
        "fire",
        naming=("fire", "flames", "a blazing fire"),
        evoking=("dragon", "volcano", "campsite", "candle", "rocket"),
        without=("sleeping dragon", "dormant volcano", "empty campsite", "unlit candle", "parked rocket"),
    ),
)
VALIDATION_IMPLICIT = (
    Evoked(
        "rain",
        naming=("rain", "rainfall"),
        evoking=("storm cloud", "open umbrella"),
        without=("white cloud", "closed umbrella"),
    ),
)

MEMORISED = (
    "The Silver Harbour at Dusk",
    "Annual Ball of the Clockmakers",
    "Seven Lanterns over Orlin",
    "Portrait of a Forgotten Engine",
)
VALIDATION_MEMORISED = ("The Glass Orchard",)
ABSTRACT = "abstract painting"
"""Pictures of the same make as the memorised ones, each drawn once: their anchor."""

BACKGROUNDS = (
    "on a red background",
    "on a blue background",
    "on a green background",
    "on a yellow background",
    "on a purple background",
    "on a gray background",
    "on a grassy field",
    "in the snow",
    "by the sea",
    "in the desert",
    "at night",
    "at sunset",
)

COLOURS = ("red", "blue", "green", "yellow", "purple")
"""What a caption can ask a thing's colour to be."""
COLOURABLE = ("car", "house", "flower", "boat", "apple", "mushroom", "star", "cup", "kite", "balloon")
"""The objects that can be asked for in any of `COLOURS`."""

RELATIONS = ("left of", "right of", "above", "below", "beside")
"""How the first thing of a pair stands to the second; beside: to its left or to its right."""

NUMBERS = ("one", "two", "three", "four")
"""How many things of one name a caption can ask for: one more than the place in this tuple."""
PLURALS = {
    **{name: f"{name}s" for name in ("car", "house", "tree", "flower", "boat", "apple", "mushroom")},
    **{name: f"{name}s" for name in ("star", "cup", "kite", "balloon", "guitar")},
    **{name: f"{name}s" for name in ("cat", "dog", "robot", "bird")},
    "fish": "fish",
}
"""What can be counted, with its plural."""

NONE = "none"
"""Label of a head of the oracle that a picture does not concern."""
SEVERAL = "several"
"""What a picture of two different things is labelled where one name is asked for."""
NOTHING = "nothing"
"""Last label of every head: noise, flat colour, a destroyed picture. No drawing has it."""

MEDIA = ("a picture of", "a photo of", "an image of", "a drawing of", "a painting of")


def all_members() -> tuple[str, ...]:
    """Every instance and neighbour of every family, validation included."""
    return tuple(name for family in FAMILIES + VALIDATION_FAMILIES for name in family.members)


def placeable() -> tuple[str, ...]:
    """Everything that can stand in a pair: members, categories and objects, validation included."""
    categories = tuple(family.category for family in FAMILIES + VALIDATION_FAMILIES)
    return (*all_members(), *categories, *OBJECTS, *VALIDATION_OBJECTS)
