"""What there is to choose from: `bench list` and `show`."""

from typing import Any

from rich.table import Table
from rich.text import Text

from erasure_bench.bench.cli.output import print_json, stdout_console, words
from erasure_bench.bench.words.showing import shown


def list_kind(kind: Any, *, as_json: bool) -> int:
    """Prints names with titles."""
    from erasure_bench.bench.cli.cards import listed

    items = listed(kind)
    if as_json:
        print_json([item._asdict() for item in items])
        return 0
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    table.add_column(style="dim")
    for item in items:
        table.add_row(words(item.name), words(item.title), words(item.more))
    stdout_console().print(table)
    return 0


def show_card(name: str, *, as_json: bool) -> int:
    """Prints a card."""
    from erasure_bench.bench.cli.cards import sheet

    card = sheet(name)
    if as_json:
        print_json(card._asdict())
        return 0
    console = stdout_console()
    console.print(
        Text.assemble(words(card.name, "bold"), "  ", words(card.title), "  ", (f"({card.kind})", "dim"))
    )
    facts = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 2))
    facts.add_column(no_wrap=True, style="cyan")
    facts.add_column()
    for title, text in card.facts.items():
        facts.add_row(words(title), shown(text))
    console.print(facts)
    if card.settings:
        columns = list(next(iter(card.settings.values())))
        settings = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 2))
        settings.add_column("setting", no_wrap=True)
        for column in columns:
            settings.add_column(column)
        for setting, values in card.settings.items():
            values_shown = [
                values[column] if column == "default" or values[column] != values["default"] else ""
                for column in columns
            ]
            settings.add_row(words(setting), *(words(value) for value in values_shown))
        console.print()
        console.print(settings)
        console.print("  A preset's empty place keeps the default.", style="dim")
    return 0
