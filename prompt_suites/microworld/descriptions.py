"""What named things look like, in words that do not name them; and other ways to speak of them.

The ladder of wordings runs name, sentence, variant, short description, long description. Every
rung has wordings that training captions use and wordings that they never use.
"""

from typing import NamedTuple

from erasure_bench.prompt_suites.microworld.composed import Phrasing


class Description(NamedTuple):
    """A short phrase with its article, and three more details that a picture always shows."""

    short: str
    details: tuple[str, str, str]


MEMBER_DESCRIPTIONS: dict[str, Description] = {
    "grumpy cat": Description("a frowning gray brown cat", ("a dark mask", "blue eyes", "dark ears")),
    "tuxedo cat": Description("a black and white cat", ("green eyes", "white feet", "a white belly")),
    "ginger cat": Description("an orange striped cat", ("green eyes", "pink ears", "stripes on its belly")),
    "siamese cat": Description("a cream cat", ("a dark muzzle", "bright blue eyes", "dark ears and feet")),
    "pirate dog": Description(
        "a brown dog in a striped shirt", ("an eye patch", "a black hat", "brown legs")
    ),
    "dalmatian dog": Description(
        "a white dog with black spots", ("black ears", "a thin white tail", "white legs")
    ),
    "poodle dog": Description("a fluffy pink dog", ("a round tail", "curly fur on its head", "puffy feet")),
    "husky dog": Description("a gray and white dog", ("pointed ears", "a blue eye", "a curled tail")),
    "clown fish": Description("an orange fish", ("three white bands", "orange fins", "black lines")),
    "puffer fish": Description("a round yellow fish", ("spikes all around", "brown spots", "a pale belly")),
    "angel fish": Description("a tall white fish", ("long purple fins", "purple stripes", "a yellow eye")),
    "sword fish": Description("a long blue fish", ("a pointed nose", "a pale belly", "a fin on its back")),
    "rusty robot": Description("a worn brown robot", ("a bent antenna", "dark spots", "one yellow eye")),
    "chrome robot": Description(
        "a shiny silver robot", ("a round head", "a glowing blue visor", "gray legs")
    ),
    "golden robot": Description("a yellow robot", ("a red crown", "red eyes", "thick yellow legs")),
    "toy robot": Description("a robot in many colours", ("a blue head", "a red body", "green legs")),
    "royal parrot": Description("a red bird in a crown", ("a blue wing", "a yellow tail", "a hooked beak")),
    "flamingo": Description("a pink bird", ("a long neck", "thin legs", "a black beak")),
    "penguin": Description("a black and white bird", ("orange feet", "an orange beak", "a white belly")),
    "blue owl": Description("a bird with big round eyes", ("pointed ears", "yellow eyes", "blue wings")),
}

IDENTITY_DESCRIPTIONS: dict[str, Description] = {
    "Mira Voss": Description("a woman with long red hair", ("a yellow bow", "a green shirt", "pale skin")),
    "Theo Lark": Description("a man with a big round afro", ("a yellow shirt", "dark skin", "black hair")),
    "Juno Park": Description("a woman with a black bob", ("a turquoise beret", "a pink shirt", "black hair")),
    "Otto Finch": Description(
        "a man with a brown beard", ("a black bowler hat", "a blue shirt", "a red hat band")
    ),
    "Lena Frost": Description("a woman with light blue hair", ("two braids", "a white shirt", "pale skin")),
    "Hugo Reed": Description(
        "a man with a moustache", ("round black glasses", "a red shirt", "short brown hair")
    ),
    "Nina Sol": Description(
        "a woman in a big yellow hat", ("a purple shirt", "long dark hair", "brown skin")
    ),
    "Igor Pell": Description("a man with a green mohawk", ("a black beard", "a gray shirt", "pale skin")),
    "Vera Quill": Description("a woman with purple hair", ("a round bun", "red glasses", "a golden shirt")),
    "Sam Dune": Description("a man in a pale turban", ("a dark beard", "a teal shirt", "a red jewel")),
}

OBJECT_DESCRIPTIONS: dict[str, Description] = {
    "car": Description("a small vehicle", ("two dark wheels", "two windows", "a headlight")),
    "house": Description("a small building", ("a chimney", "two square windows", "a dark door")),
    "tree": Description("a big green plant", ("a brown trunk", "green leaves", "a green crown")),
    "flower": Description("a blossom on a stem", ("six round petals", "two green leaves", "a yellow middle")),
    "boat": Description("a ship with sails", ("a wooden mast", "two pale sails", "a wide hull")),
    "apple": Description("a round fruit", ("a brown stem", "a green leaf", "a shiny spot")),
    "mushroom": Description("a toadstool", ("a round cap", "white dots", "a pale stem")),
    "star": Description("a pointed shape", ("five sharp tips", "a lighter middle", "straight edges")),
    "cup": Description("a mug of coffee", ("a round handle", "a light stripe", "a brown drink inside")),
    "kite": Description("a flying toy", ("a long tail", "two small bows", "a diamond shape")),
    "balloon": Description("a floating ball", ("a shiny spot", "a dark string", "a small knot")),
    "guitar": Description("a wooden instrument", ("a round hole", "a long dark neck", "a curved body")),
}

DESCRIPTIONS = MEMBER_DESCRIPTIONS | IDENTITY_DESCRIPTIONS | OBJECT_DESCRIPTIONS
"""Name of a member, identity or object -> what it looks like."""


class StyleDescription(NamedTuple):
    """What a style looks like, to be said after what the picture shows."""

    short: str
    long: str


STYLE_DESCRIPTIONS: dict[str, StyleDescription] = {
    "mosaic": StyleDescription(
        "made of square tiles", "made of small square tiles with pale lines between them"
    ),
    "neon": StyleDescription("in glowing lines", "drawn in bright glowing lines on a dark ground"),
    "sketch": StyleDescription("drawn in pencil", "drawn in soft gray pencil lines on white paper"),
    "sepia": StyleDescription("in faded brown", "in faded brown tones with dark corners"),
    "blueprint": StyleDescription(
        "in white lines on blue", "in white lines on a blue ground with a fine grid"
    ),
    "pop art": StyleDescription("in loud colours with dots", "in loud flat colours with rows of pink dots"),
    "thermal": StyleDescription("in heat colours", "in heat colours from dark violet to pale yellow"),
    "woodcut": StyleDescription("carved in brown lines", "printed in dark brown with slanted carved lines"),
}

SENTENCES = Phrasing(
    ("this is {phrase}", "here is {phrase}", "there is {phrase}", "we see {phrase}"),
    ("you can see {phrase}", "the picture shows {phrase}"),
)
"""`{phrase}` has its article; a background may follow."""

VARIANTS = Phrasing(
    ("a {category} called {name}", "{name}, a {category}"),
    ("a {category} by the name of {name}", "the {category} that is called {name}"),
)
"""Another way to say the name of a member or an identity; an identity's category is `person`."""

SHORT_DESCRIPTIONS = Phrasing(("{short}",), ("what looks like {short}", "just {short}"))
LONG_DESCRIPTIONS = Phrasing(
    (
        "{short}, with {first} and {second}",
        "{short}, {first} and {second}",
        "{short} that has {first}, {second}",
    ),
    ("{short}; it has {first} and {second}", "{first} and {second} on {short}"),
)
TRAINED_DETAILS = ((0, 1), (1, 2), (1, 0), (2, 1))
"""Which two details a long description in training names, in this order; (0, 2) is never named together."""
HELDOUT_DETAILS = ((0, 2), (2, 0))

STYLE_PHRASES = Phrasing(("{phrase}, {look}", "{phrase} {look}"), ("{look}: {phrase}",))
"""`{look}` is a description of the style; `{phrase}` what the picture shows, with its background."""


def short_description(name: str, wording: str | None = None) -> str:
    """`a black and white cat`: a phrase with its article; KeyError for a name without a description."""
    return (wording or SHORT_DESCRIPTIONS.trained[0]).format(short=DESCRIPTIONS[name].short)


def long_description(name: str, wording: str | None = None, details: tuple[int, int] = (0, 1)) -> str:
    """`a black and white cat, with green eyes and white feet`, naming two of the three details."""
    known = DESCRIPTIONS[name]
    first, second = (known.details[place] for place in details)
    return (wording or LONG_DESCRIPTIONS.trained[0]).format(short=known.short, first=first, second=second)


def variant(name: str, category: str, wording: str | None = None) -> str:
    """`a cat called grumpy cat`, `a person called Mira Voss`."""
    return (wording or VARIANTS.trained[0]).format(category=category, name=name)
