"""`bench gate BEFORE AFTER --policy FILE`, and `bench gate init RUN`, which writes a policy to start from."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from erasure_bench.bench.cli.options import AsJson, OneRun, expanded

HOLD = "hold"


class RunsOrCommand(TyperGroup):
    """A group whose first word is one of its commands, or else a run: then it is `hold`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As click's, with `hold` put in where no command is named."""
        return super().resolve_command(ctx, args if args[0] in self.commands else [HOLD, *args])


gate_app = typer.Typer(
    name="gate",
    cls=RunsOrCommand,
    help="May a run go out? BEFORE AFTER --policy FILE holds it against another; init RUN writes a policy.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@gate_app.command(HOLD, no_args_is_help=True)
def hold(
    before: Annotated[
        str,
        typer.Argument(
            metavar="BEFORE", help="The run to hold against: its folder, or its name below runs/."
        ),
    ],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="The run that is to go out.")],
    policy: Annotated[
        Path, typer.Option(metavar="FILE", help="What may get worse by how much (YAML).", callback=expanded)
    ],
    strict: Annotated[
        bool, typer.Option("--strict", metavar="", help="Exit code 2 where the pictures are too few to tell.")
    ] = False,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also as Markdown, for a pull request.", callback=expanded),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also as JUnit XML, for a CI server.", callback=expanded),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Hold a run against another by a policy: PASS, WARN, INCONCLUSIVE, MISSING or BLOCK.

    What `bench gate BEFORE AFTER` does. Exit code 0 if it may go out, 1 if not.
    """
    from erasure_bench.bench.cli.commands.comparing import gate_runs

    return gate_runs(before, after, policy, strict=strict, as_json=as_json, markdown=markdown, junit=junit)


@gate_app.command(no_args_is_help=True)
def init(
    run: OneRun,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it; else it is printed.", callback=expanded),
    ] = None,
) -> int:
    """Write a policy to start from: each role's headline metrics, a twentieth of their range allowed."""
    from erasure_bench.bench.cli.commands.comparing import write_policy

    return write_policy(run, out)
