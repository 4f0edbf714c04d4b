"""What there is to choose from: `bench list` and `show`."""

from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.text import Text

from erasure_bench.bench.cli.output import print_json, stdout_console, words
from erasure_bench.bench.words.grid import Column, grids
from erasure_bench.bench.words.listing import listing
from erasure_bench.bench.words.showing import shown

if TYPE_CHECKING:
    from erasure_bench.bench.cli.cards import Sheet

INDENT = 2


def list_kind(kind: Any, *, as_json: bool) -> int:
    """Prints names with titles."""
    from erasure_bench.bench.cli.cards import listed

    items = listed(kind)
    if as_json:
        print_json([item._asdict() for item in items])
        return 0
    console = stdout_console()
    rows = [(words(item.name, "bold"), _title(item.title, item.more)) for item in items]
    console.print(listing(rows, console.width))
    return 0


def show_cards(name: str, *, as_json: bool) -> int:
    """Prints the card, or the cards of a name that several kinds have; as JSON then a list of them."""
    from erasure_bench.bench.cli.cards import sheets

    found = sheets(name)
    if as_json:
        cards = [card._asdict() for card in found]
        print_json(cards if len(cards) > 1 else cards[0])
        return 0
    for place, card in enumerate(found):
        if place:
            stdout_console().print()
        _print(card)
    return 0


def _print(card: "Sheet") -> None:
    console = stdout_console()
    console.print(
        Text.assemble(words(card.name, "bold"), "  ", words(card.title), "  ", (f"({card.kind})", "dim"))
    )
    facts = [(words(title, "cyan"), Text(shown(text))) for title, text in card.facts.items()]
    console.print(Padding(listing(facts, console.width - INDENT), (0, 0, 0, INDENT)))
    if card.settings:
        console.print()
        for table in grids("setting", [words(name) for name in card.settings], _presets(card), console.width):
            console.print(table)
            console.print()
        console.print("A preset's empty place keeps the default.", style="dim")


def _title(title: str, more: str) -> Text:
    return Text.assemble(words(title), "\n" if title and more else "", words(more, "dim"))


def _presets(card: "Sheet") -> list[Column]:
    """The settings' defaults, and for each preset what it changes."""
    names = list(next(iter(card.settings.values())))
    return [
        Column(
            words(name),
            tuple(
                words(values[name] if name == "default" or values[name] != values["default"] else "")
                for values in card.settings.values()
            ),
            justify="left",
        )
        for name in names
    ]
