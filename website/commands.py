"""A page for every command of `bench`, from the command line's own description."""

import re
from typing import Any

from website.markdown import code, link, paragraphs, prose, table

FOLDER = "cli"
_ADDED = re.compile(r"\s\s+\[([^\]]*)\]$")
"""What the command line adds to an option's help: `  [required]`, `  [default: 1]`."""
_TYPE = re.compile(r" <\w+>$")
"""What it adds to an argument's name: `RUN <str>`."""


def command_pages() -> dict[str, str]:
    """The Markdown of each page by its place in the site: the list of commands, and one page for each."""
    import typer

    from erasure_bench.bench.cli.app import app

    bench = typer.main.get_command(app)
    context = bench.make_context("bench", [], resilient_parsing=True)
    commands: dict[str, Any] = bench.commands  # type: ignore[attr-defined]
    index = f"{FOLDER}/index.md"
    rows = [
        [link(code(f"bench {name}"), f"{FOLDER}/{name}.md", index), prose(_first_line(command.help), index)]
        for name, command in commands.items()
    ]
    lines = ["# The command line", "", *paragraphs(bench.help or "", index), *table(["command", ""], rows)]
    lines += _options(bench, context, index)
    pages = {index: "\n".join(lines)}
    for name, command in commands.items():
        page = f"{FOLDER}/{name}.md"
        pages[page] = "\n".join(_described(command, context, name, page, level=1))
    return pages


def _described(command: Any, parent: Any, name: str, page: str, level: int) -> list[str]:
    """A command with its arguments and options, and below it its own commands."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    path = context.command_path
    usage = " ".join([path, *(piece.strip("{}") for piece in command.collect_usage_pieces(context))])
    lines = [f"{'#' * level} {code(path)}", "", *paragraphs(command.help or "", page)]
    lines += ["```text", usage, "```", "", *_options(command, context, page)]
    for own, subcommand in getattr(command, "commands", {}).items():
        lines += _described(subcommand, context, own, page, level + 1)
    return lines


def _options(command: Any, context: Any, page: str) -> list[str]:
    """Arguments, then options, each with what it means."""
    lines = []
    for parameter in sorted(command.get_params(context), key=lambda one: one.param_type_name != "argument"):
        record = parameter.get_help_record(context)
        if record is None or "--help" in parameter.opts:  # hidden, or every command's own
            continue
        name, text = _TYPE.sub("", record[0]), record[1]
        more = _ADDED.search(text)
        words = [prose(_ADDED.sub("", text), page), f"*{more[1]}*" if more else ""]
        lines += [code(name), f":   {' '.join(filter(None, words))}", ""]
    return lines


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n\n")[0]
