"""The command line: `bench run`, `work`, `status`, `score`, `table`, `report`, `view`, `merge`, `compare`,
`gate`, `export`, `card`, `pack`, `unpack`, `submit`, `list`, `show`, `prompts`, `suite`, `fetch`, `train`,
`check`,
`doctor`, `store`, `weights`.

Results go to stdout, everything else to stderr. Exit codes: 0 good, 1 something failed, 2 a strict gate
is undecided, 3 wrong usage, 130 interrupted (143 by SIGTERM, 129 by SIGHUP). Nothing heavy is imported
before a command runs.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import typer

from erasure_bench.bench.cli.arguments import refuse_empty, said_here
from erasure_bench.bench.cli.gate_commands import gate_app
from erasure_bench.bench.cli.options import (
    AsJson,
    DataDir,
    Offline,
    OneRun,
    Remote,
    RunsStore,
    Store,
    Transform,
    TrustCode,
    expanded,
)
from erasure_bench.bench.cli.sharing_commands import card, pack, submit, unpack
from erasure_bench.bench.cli.signals import end_as_by_ctrl_c, interrupted_code
from erasure_bench.bench.cli.store_commands import store_app
from erasure_bench.bench.cli.streams import guard_streams, stdout_trouble
from erasure_bench.bench.cli.suite_commands import fetch, suite_app
from erasure_bench.bench.cli.train_commands import train
from erasure_bench.bench.cli.weights_commands import weights_app
from erasure_bench.bench.words.showing import one_line
from erasure_bench.environment import go_offline
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.suite import SchedulerName

FAILED, WRONG_USAGE, INTERRUPTED = 1, 3, 130
TableFormat = Literal["rich", "summary", "md", "csv", "json", "latex", "html"]
CompareFormat = Literal["rich", "md", "json"]
ExportFormat = Literal["diffusers", "class-model", "safetensors", "delta"]
ExecutorName = Literal["local", "ray", "slurm"]
ListKind = Literal["methods", "evaluators", "attacks", "suites", "models", "transformations"]
_STOPPED = "stopped; what is finished is kept: the same command goes on from here"
PATH_VARIABLES = ("BENCH_STORE", "BENCH_DATA", "BENCH_MODELS")
UsageError: Any = typer.BadParameter.__base__
"""Click's usage error, from whichever copy of click this typer stands on."""


def _say_version(asked: bool) -> None:
    if asked:
        from erasure_bench.bench.running.versions import this_version

        print(this_version())
        raise typer.Exit


app = typer.Typer(
    name="bench",
    help="Which way of erasing a concept from an image generator works, what does it break, how sure are we?",
    epilog="First steps: bench list suites · bench run --suite microworld-instances --methods sld-medium",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.add_typer(store_app)
app.add_typer(suite_app)
app.command(no_args_is_help=True)(fetch)
app.command(no_args_is_help=True)(train)
app.add_typer(gate_app)
app.add_typer(weights_app)
app.command(no_args_is_help=True)(pack)
app.command(no_args_is_help=True)(unpack)
app.command(no_args_is_help=True)(submit)
app.command(no_args_is_help=True)(card)


@app.callback()
def bench(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            help="Say which version this is, of what, and stop.",
            is_eager=True,
            callback=_say_version,
        ),
    ] = False,
) -> None:
    """Takes the options that stand before the command's name."""


def main() -> None:
    """Runs the command line and exits."""
    guard_streams()
    end_as_by_ctrl_c()
    code = run_command(sys.argv[1:])
    if trouble := stdout_trouble():
        code = _complain(f"stdout: {trouble}; what was asked is not all printed", code or FAILED)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """The exit code of `bench ARGUMENTS`; a user's mistake is one line on stderr."""
    try:
        _refuse_unreadable(arguments)
        refuse_empty(arguments)
        code = typer.main.get_command(app).main(args=arguments, prog_name="bench", standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer turns Ctrl-C into this exit code and says nothing
            return _complain(_STOPPED, interrupted_code())
        return code if isinstance(code, int) else 0
    except UsageError as error:
        if not error.format_message():  # asked for nothing, it has printed its help
            return WRONG_USAGE
        where = error.ctx.command_path if getattr(error, "ctx", None) else "bench"
        return _complain(f"{error.format_message().rstrip('.')} (see {where} --help)", WRONG_USAGE)
    except BenchError as error:
        return _complain(str(error), error.exit_code or FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return _complain(_STOPPED, interrupted_code())
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        return _complain(f"{about}{error.strerror or error}", FAILED)


@app.command(no_args_is_help=True)
def run(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="A YAML file with any of these flags as keys (docs/run-files.md); what is said here wins.",
            callback=expanded,
        ),
    ] = None,
    suite: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Prompts, concepts and protocol (bench list suites), or PATH.yaml of your own "
            "(docs/adding-a-suite.md).",
        ),
    ] = "",
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Comma list of methods (bench list methods) and of your own, each PATH.py:NAME; "
            "all: every method of the project. The baseline is added. Not needed with --edit or --reference.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Name (bench list models), pipeline directory, single-file checkpoint (SD 1.x) or hub id; "
            "else the suite's own.",
        ),
    ] = None,
    model_like: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A model's name (bench list models) whose presets, evaluators and prompts of all kinds suit "
            "--model too: for a copy or a fine-tuned version of it that is given by path.",
        ),
    ] = None,
    edit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            help="A published or own checkpoint as a row (docs/user-weights.md). Repeatable.",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Another base model as a row of its own: name, directory or hub id. Repeatable.",
        ),
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Comma list of the suite's concepts, else all; a+b erases both in one edit, 'a>b' one after "
            "the other.",
        ),
    ] = None,
    evaluators: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Comma list (bench list evaluators) and your own, each PATH.py:NAME; NAME@PRESET beside "
            "NAME measures with both; else the suite's.",
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="LIST", help="Comma list of seeds; each is a cell of its own.")
    ] = "0",
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first N prompts of each role and concept.")
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(metavar="N", help="Pictures of each prompt, in place of the suite's own number."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What every row is drawn with, in place of the suite's own: "
            f"{', '.join(get_args(SchedulerName))}.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(metavar="N", help="Steps of drawing, in place of the suite's own number."),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The methods' settings: official, paper and others (bench show METHOD); auto takes those "
            "made for the model, else official, and for nudity official-nudity where a method has it.",
        ),
    ] = "auto",
    method_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="KEY=VALUE for every named method, METHOD.KEY=VALUE for one. Repeatable.",
        ),
    ] = None,
    evaluator_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="KEY=VALUE or EVALUATOR.KEY=VALUE. Repeatable."),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Comma list of attacks on every edit (bench list attacks), NAME or NAME:VALUE; their "
            "controls are added. Else the suite's own, if it has any; none: no attack.",
        ),
    ] = None,
    attack_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="KEY=VALUE or ATTACK.KEY=VALUE. Repeatable."),
    ] = None,
    suite_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="KEY=VALUE, such as mode=native. Repeatable."),
    ] = None,
    transform: Transform = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1 and so on.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="So many processes share the work (docs/many-machines.md); else one, or one for each of "
            "--devices.",
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Comma list such as cuda:0,cuda:1, or all: the workers share them."
        ),
    ] = None,
    executor: Annotated[
        ExecutorName,
        typer.Option(metavar="NAME", help="Where the workers run: local, ray or slurm."),
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="The Ray cluster: auto, or its address; else one of its own here."
        ),
    ] = None,
    slurm: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of sbatch, such as partition=gpu. Repeatable."),
    ] = None,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32, bfloat16 or float16.")] = "float32",
    batch_size: Annotated[
        str,
        typer.Option(
            metavar="N",
            help="Pictures drawn at once; changes no result but in rounding. auto: as many as this machine "
            "draws quickest, found out once.",
        ),
    ] = "32",
    compile: Annotated[
        str,
        typer.Option(
            metavar="auto|on|off",
            help="Draw with a compiled network: the same pictures to rounding, quicker after a minute or "
            "more; auto: where a run is long enough for that.",
        ),
    ] = "auto",
    task_timeout: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Seconds that one edit, or up to 64 pictures, or their scores by one evaluator may take: "
            "what takes longer fails, and the run goes on.",
        ),
    ] = None,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(
            metavar="MINUTES", help="How often a long training is kept, to go on from there after a kill."
        ),
    ] = 10.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of the results (else one below runs/).", callback=expanded
        ),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also tell mlflow, tensorboard or wandb how the run goes (docs/tracking.md). Repeatable.",
        ),
    ] = None,
    store: Store = None,
    remote: Remote = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", metavar="", help="Print the plan and stop.")] = False,
    save_config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write all of this as a file for -c, and go on.", callback=expanded
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Erase, draw, score, and print what to know first of the leaderboard.

    bench table RUN prints all of it. Finished tasks are kept in the store: the same command again goes on
    where it was stopped.
    """
    from erasure_bench.bench.planning.config import named_options, names, options, parse_batch_size
    from erasure_bench.bench.planning.config import seeds as parse_seeds
    from erasure_bench.bench.planning.run_yaml import Asked, read_run_yaml, write_run_yaml

    said = {
        "suite": suite,
        "methods": names(methods, "--methods"),
        "model": model,
        "model_like": model_like,
        "edits": options(edit or [], "--edit", "NAME=PATH"),
        "references": tuple(reference or ()),
        "concepts": names(concepts, "--concepts"),
        "evaluators": names(evaluators, "--evaluators"),
        "seeds": parse_seeds(seeds),
        "limit": limit,
        "images": images,
        "scheduler": scheduler,
        "steps": steps,
        "preset": preset,
        "method_options": named_options(method_option or [], "--method-option"),
        "evaluator_options": named_options(evaluator_option or [], "--evaluator-option"),
        "attacks": names(attacks, "--attacks"),
        "attack_options": named_options(attack_option or [], "--attack-option"),
        "suite_options": options(suite_option or [], "--suite-option"),
        "transform": tuple(transform or ()),
        "device": device,
        "dtype": dtype,
        "batch_size": parse_batch_size(batch_size),
        "compile": compile,
        "task_timeout": task_timeout,
        "checkpoint_minutes": checkpoint_minutes,
        "data_dir": data_dir,
        "out": out,
        "store": store,
        "remote": remote,
        "track": tuple(dict.fromkeys(track or ())),
        "workers": workers,
        "devices": names(devices, "--devices"),
        "executor": executor,
        "ray_address": ray_address,
        "slurm": options(slurm or [], "--slurm"),
        "offline": offline,
        "dry_run": dry_run,
        "as_json": as_json,
    }
    file = read_run_yaml(config) if config else Asked({})
    asked = file.joined(said, said_here(context, said))
    if asked.values["offline"]:
        go_offline()
    checked = asked.config()
    if save_config:
        write_run_yaml(save_config, asked.values)
    from erasure_bench.bench.cli.commands.run import dry_run as plan_only
    from erasure_bench.bench.cli.commands.run import full_run
    from erasure_bench.bench.running.executors import Hands

    hands = Hands(**{key: asked.values[key] for key in Hands.__dataclass_fields__})
    do = plan_only if asked.values["dry_run"] else full_run
    try:
        return do(
            checked,
            asked.values["out"],
            asked.values["store"],
            asked.values["remote"],
            asked.values["track"],
            hands,
            as_json=asked.values["as_json"],
        )
    except BenchError as error:
        raise asked.told(error) from error


@app.command(no_args_is_help=True)
def work(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder of a run that was begun with --workers.")
    ],
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is called in bench status; else its machine's."),
    ] = None,
    index: Annotated[int, typer.Option(metavar="I", help="Where among the edits it begins.", min=0)] = 0,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="As in bench run.")] = None,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", metavar="", help="End when the process that started it ends.")
    ] = False,
) -> int:
    """Be one more worker of a run, here or on another machine that sees its folder and its store.

    bench run starts its workers itself: this is for joining by hand (docs/many-machines.md).
    """
    from erasure_bench.bench.cli.commands.work import work as do_work

    return do_work(run, name, index, device, with_parent=with_parent)


@app.command(no_args_is_help=True)
def status(
    run: OneRun,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The run's store, where it is no longer where it was.", callback=expanded
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """How far a run is, while it goes on and after: cells of each method, pace, what is left, what failed.

    Reads the run's folder and store only. Exit code 1 if something failed or the run was interrupted.
    """
    from erasure_bench.bench.cli.commands.status import print_status

    return print_status(run, store, as_json=as_json)


@app.command("list", no_args_is_help=True)
def list_(
    kind: Annotated[
        ListKind,
        typer.Argument(help="What to list.", metavar="|".join(get_args(ListKind))),
    ],
    as_json: AsJson = False,
) -> int:
    """List methods, evaluators, suites, models, attacks or transformations."""
    from erasure_bench.bench.cli.commands.catalogue import list_kind

    return list_kind(kind, as_json=as_json)


@app.command(no_args_is_help=True)
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A method or evaluator (PATH.py:NAME too), attack, suite (PATH.yaml too), model or "
            "transformation."
        ),
    ],
    as_json: AsJson = False,
) -> int:
    """Show a card: paper, formula, settings and what each preset makes of them."""
    from erasure_bench.bench.cli.commands.catalogue import show_cards

    return show_cards(name, as_json=as_json)


@app.command(no_args_is_help=True)
def prompts(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="A suite (bench list suites).")],
    concepts: Annotated[
        str | None, typer.Option(metavar="LIST", help="Comma list of the suite's concepts, else all.")
    ] = None,
    transform: Transform = None,
    suite_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="As in bench run. Repeatable.")
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> int:
    """Print a suite's prompts, word for word; with --transform what becomes of those that it rewrites."""
    from erasure_bench.bench.cli.commands.prompts import print_prompts
    from erasure_bench.bench.planning.config import names, options

    asked = names(concepts, "--concepts")
    own = options(suite_option or [], "--suite-option")
    return print_prompts(suite, asked, transform or (), own, data_dir, as_json=as_json)


@app.command(no_args_is_help=True)
def table(
    run: OneRun,
    format_: Annotated[
        TableFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="rich: every table; summary: what bench run prints; md, csv, json: the files, or what is "
            "asked for of them; latex (booktabs), html (one page).",
        ),
    ] = "rich",
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="leaderboard; robustness, the table of attacks; or as a paper has it: paper:sa-table1, "
            "paper:sa-table2, paper:ca, paper:esd-nudity, paper:mace-table2, paper:mace-celebrities.",
        ),
    ] = "leaderboard",
    rows: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="These rows alone, in this order; patterns such as esd-* too."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="These columns alone: roles, evaluators, metrics, ROLE:METRIC, or erasure, robustness, "
            "retention, quality, cost. Patterns too.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The best of this column first; or method, by name."),
    ] = None,
    digits: Annotated[
        int | None, typer.Option(metavar="N", help="Decimals of every number, else as a column needs.")
    ] = None,
    concepts: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Also these concepts' own tables: a comma list, or all."),
    ] = None,
    total: Annotated[
        bool,
        typer.Option(
            "--total",
            metavar="",
            help="Also one number of all roles: harmonic, on fixed scales, 0 where pictures have collapsed.",
        ),
    ] = False,
    published: Annotated[
        bool,
        typer.Option(
            "--published",
            metavar="",
            help="Also what papers report of the same suite, metric and protocol, and why the rest is left "
            "out; as csv and json only this.",
        ),
    ] = False,
) -> int:
    """Print a finished run's leaderboard again, whole or a part of it, or as a paper's table."""
    from erasure_bench.bench.cli.commands.finished import Wanted, print_published, print_table

    if published and format_ in ("latex", "html"):
        raise BenchError(f"--published is not there as {format_}: rich, md, csv, json")
    wanted = Wanted(layout, rows, columns, sort, digits, concepts, total)
    code = 0 if published and format_ in ("csv", "json") else print_table(run, format_, wanted)
    return print_published(run, format_) if published else code


@app.command(no_args_is_help=True)
def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="Runs' folders, their names below runs/, or a folder of runs."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the report (else report in the run's folder; of several runs: here).",
            callback=expanded,
        ),
    ] = None,
    no_flagged_images: Annotated[
        bool,
        typer.Option(
            "--no-flagged-images",
            metavar="",
            help="Leave out what an evaluator flagged (nudity and the like), else blurred until clicked.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Write finished runs as a site to look at: numbers, plots, and every picture beside its scores.

    It opens from the file system and asks no network. An earlier report in the same place is replaced.
    """
    from erasure_bench.bench.cli.commands.reporting import report_runs

    return report_runs(runs, out, flagged=not no_flagged_images, as_json=as_json)


@app.command(no_args_is_help=True)
def view(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN", help="Runs' folders, names below runs/, a folder of runs, or a bench report."
        ),
    ],
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 is any that is free.")
    ] = 8765,
    no_flagged_images: Annotated[
        bool, typer.Option("--no-flagged-images", metavar="", help="As in bench report.")
    ] = False,
) -> int:
    """Look at finished runs in a browser, at this machine's own address alone. Ctrl-C ends it.

    What is made for it goes again: bench report writes the same to keep.
    """
    from erasure_bench.bench.cli.commands.reporting import view_runs

    return view_runs(runs, port, flagged=not no_flagged_images)


@app.command(no_args_is_help=True)
def score(
    run: OneRun,
    evaluators: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Comma list of evaluators to add (bench list evaluators), NAME@PRESET too, and your own, "
            "each PATH.py:NAME.",
        ),
    ] = None,
    evaluator_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="KEY=VALUE or EVALUATOR.KEY=VALUE. Repeatable."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Take each named evaluator as NAME@PRESET (bench show EVALUATOR)."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Join ratings that people made, as an evaluator of their own (docs/scoring-a-run.md).",
            callback=expanded,
        ),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Write the form for raters instead: shuffled pictures, methods hidden. Needs --metric.",
            callback=expanded,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:WAY:MIN:MAX",
            help="What is rated, such as quality:higher:1:5; WAY is higher, lower, neither, - (not tabled), "
            "or two of them, as in lower/-: for roles that should lose the concept, and others. Repeatable; "
            "else the file's own lines.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What the ratings are called in tables; else the file's own word."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the form's order.")] = 0,
    redraw: Annotated[
        bool,
        typer.Option(
            "--redraw", metavar="", help="Draw again what the store no longer has; else that is an error."
        ),
    ] = False,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda and so on; else the run's own.")
    ] = None,
    trust_code: TrustCode = False,
    store: RunsStore = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> int:
    """Score a finished run's pictures with further evaluators, or join people's ratings; nothing is drawn.

    The run's table then shows them as if they had been asked for from the start. The same command again goes
    on where it was stopped. bench run into the same folder gives the table without them again.
    """
    from erasure_bench.bench.planning.config import named_options, names

    wishes = {"--evaluators": evaluators, "--scores": scores, "--template": template}
    asked = [flag for flag, value in wishes.items() if value is not None]
    if len(asked) != 1:
        raise BenchError(f"give one of {', '.join(wishes)}{', not ' + ' and '.join(asked) if asked else ''}")
    if (metric or name) and asked == ["--evaluators"]:
        raise BenchError("--metric and --name are for people's ratings (--scores, --template)")
    if (evaluator_option or preset or redraw) and asked != ["--evaluators"]:
        raise BenchError("--evaluator-option, --preset and --redraw are for --evaluators")
    from erasure_bench.bench.cli.commands.score import score_by_people, score_with, write_template

    if scores is not None:
        return score_by_people(
            run, scores, name, metric or (), store, data_dir, trust_code=trust_code, as_json=as_json
        )
    if template is not None:
        return write_template(run, template, name, metric or (), seed, store, data_dir, trust_code=trust_code)
    return score_with(
        run,
        names(evaluators, "--evaluators"),
        named_options(evaluator_option or [], "--evaluator-option"),
        preset,
        store,
        data_dir,
        device,
        redraw=redraw,
        trust_code=trust_code,
        as_json=as_json,
    )


@app.command(no_args_is_help=True)
def details(
    run: OneRun,
    evaluator: Annotated[str, typer.Argument(metavar="EVALUATOR", help="One of the run's, such as nudity.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="FILE.csv or FILE.parquet; else CSV on stdout.", callback=expanded),
    ] = None,
    trust_code: TrustCode = False,
    store: RunsStore = None,
    data_dir: DataDir = None,
    offline: Offline = False,
) -> int:
    """What an evaluator keeps of each picture beside its scores: every detection, face or prediction."""
    from erasure_bench.bench.cli.commands.score import write_details

    return write_details(run, evaluator, out, store, data_dir, trust_code=trust_code)


@app.command(no_args_is_help=True)
def merge(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN", help="Runs' folders, or their names below runs/.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of the merged results.", callback=expanded)
    ],
    trust_code: TrustCode = False,
    store: Store = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> int:
    """One leaderboard of several runs that differ in their seeds or methods only.

    For runs that were made on several machines. Needs the runs' run.json and scores.parquet, of attacks also
    attacks.parquet; draws nothing.
    """
    from erasure_bench.bench.cli.commands.finished import merge_runs

    return merge_runs(runs, out, store, data_dir, trust_code=trust_code, as_json=as_json)


@app.command(no_args_is_help=True)
def export(
    run: OneRun,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A row of its leaderboard.")],
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="What to write: a folder for a whole model, else a file.", callback=expanded
        ),
    ],
    format_: Annotated[
        ExportFormat | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="diffusers: a whole pipeline; class-model: a folder for --model, of a model that is asked "
            "by a class; safetensors: the whole network; delta: the tensors that changed. Else a whole "
            "model of the base's kind.",
        ),
    ] = None,
    concept: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which concept's edit, where the run has several.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Which seed's edit, where the run has several.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="The base model's folder, where it is no longer where it was."),
    ] = None,
    offline: Offline = False,
) -> int:
    """Write an edit as weights that plain diffusers loads, or as a class model for --model."""
    from erasure_bench.bench.cli.commands.finished import export_edit_of

    return export_edit_of(run, method, format_, out, concept, seed, model)


@app.command(no_args_is_help=True)
def compare(
    before: Annotated[
        str, typer.Argument(metavar="RUN", help="The older run's folder, or its name below runs/.")
    ],
    after: Annotated[
        str | None, typer.Argument(metavar="[AFTER]", help="The newer run's; without it see --against.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Rows, such as sa, or sa=sa-tuned for other names; else all that both have."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Within one run: each of --methods (else every row) against each of these rows; all: every "
            "two rows.",
        ),
    ] = None,
    margin: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Up to which share of a metric's range two numbers are equivalent."
        ),
    ] = 0.1,
    concepts: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Also these concepts' own numbers: a comma list, or all."),
    ] = None,
    show_flips: Annotated[
        bool,
        typer.Option("--show-flips", metavar="", help="Name each picture whose verdict is another one now."),
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A PNG of the flipped pictures, older beside newer.", callback=expanded
        ),
    ] = None,
    format_: Annotated[
        CompareFormat, typer.Option("--format", metavar="FORMAT", help="rich (for people), md or json.")
    ] = "rich",
) -> int:
    """What changed from one run to another, or how rows of one differ: paired tests on the same noise.

    Reads the runs' folders; pictures only for --sheet.
    """
    from erasure_bench.bench.cli.commands.comparing import compare_runs

    return compare_runs(
        before,
        after,
        methods,
        concepts,
        against=against,
        margin=margin,
        show_flips=show_flips,
        sheet=sheet,
        form=format_,
    )


@app.command(no_args_is_help=True)
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="PATH.py:NAME of your own method or evaluator, or a registered one."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Name (bench list models), directory or hub id; else a built-in one that the method knows.",
        ),
    ] = None,
    method_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="KEY=VALUE or METHOD.KEY=VALUE. Repeatable.")
    ] = None,
    evaluator_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="KEY=VALUE or EVALUATOR.KEY=VALUE. Repeatable."),
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> int:
    """Try a method or an evaluator out: does it keep the contract of all of its kind?

    A few short erasures of one concept, or scorings of a few made-up pictures: nothing is measured.
    Exit code 1 if a check fails.
    """
    from erasure_bench.bench.cli.commands.examining import check_contract_of
    from erasure_bench.bench.planning.config import named_options

    methods = named_options(method_option or [], "--method-option")
    evaluators = named_options(evaluator_option or [], "--evaluator-option")
    return check_contract_of(name, model, methods, evaluators, data_dir, as_json=as_json)


@app.command()
def doctor(store: Store = None, data_dir: DataDir = None, as_json: AsJson = False) -> int:
    """What is ready here: packages, weights, data, devices, room. Exit code 1 if something is broken."""
    from erasure_bench.bench.cli.commands.examining import print_findings

    return print_findings(store, data_dir, as_json=as_json)


def _refuse_unreadable(arguments: list[str]) -> None:
    """Bytes that are no UTF-8: safetensors and Parquet could not open such a path, after hours of work."""
    words = [*arguments, *(os.environ.get(name, "") for name in PATH_VARIABLES)]
    if bad := [word for word in words if any(0xD800 <= ord(character) <= 0xDFFF for character in word)]:
        raise BenchError(
            f"{bad[0]}: holds bytes that are no UTF-8, which the libraries cannot open; rename it"
        )


def _complain(message: str, code: int) -> int:
    print(f"bench: {one_line(message)}", file=sys.stderr, flush=True)
    return code
