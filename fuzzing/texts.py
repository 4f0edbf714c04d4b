"""Files that users write: suites, rows of prompts, run files, entries, ratings."""

from collections.abc import Callable
from pathlib import Path

from erasure_bench.bench.planning.run_yaml import read_run_yaml, run_yaml
from erasure_bench.bench.reporting.rating_file import read_ratings
from erasure_bench.bench.sharing.entry import read_entry
from erasure_bench.errors import BenchError
from erasure_bench.prompt_suites.rows import rows_of
from erasure_bench.prompt_suites.scaffold import CSV, YAML
from erasure_bench.prompt_suites.suite_file import card_of_file, read_suite
from fuzzing.harness import Harness
from fuzzing.places import written

UPSTREAM = Path(__file__).resolve().parents[1] / "prompt_suites" / "upstream"
ALL_KEYS = """\
name: whole
version: 2
title: T
description: D
source: S
licence: L
model: microworld
protocol: {scheduler: ddim, steps: 2, guidance_scale: 1, eta: 0.5, height: 64, width: 64}
evaluators: clip
evaluator_options: {clip: {template: a {}}}
reference_resolution: 64
options: {set: [a, b]}
concepts:
  - each: [x, y]
    kind: style
    targets: ["{} style"]
    anchor: art
    other_names: true
    additions: ["{}, in colour"]
    when: {set: a}
  - {name: z, kind: unsafe, targets: z, anchor: art, evoked_by: [w], anchor_prompts: art}
prompts:
  - texts: ["a {} in {place}", b]
    fill: {place: [town, wood]}
    role: target
    others: retention
    images_of_others: 2
    label: "{}"
  - rows: [{prompt: p, n: 3, seed: 5, id: 7, tags: "q;r"}]
    columns: {prompt: prompt, seed: seed, id: id, tags: tags}
    where: {n: {above: 2}}
    concept: z
    template: "a {}"
    replace: {p: q}
    id: own
    expect: 1
"""
RUN = """\
suite: microworld-instances
methods: [esd-x, sld-medium]
method_options:
  esd-x: {eta: 0.5}
  steps: 3
evaluator_options: {clip: {template: [a, b]}}
edits: {mine: ~/weights.safetensors}
seeds: [0, 1]
limit: 4
task_timeout: 3.5
out: runs/mine
json: true
"""
ENTRY = """\
format: erasure-bench entry 1
name: mine
title: A title
authors: [Ada Lovelace, Ada Byron]
summary: What is new in it, in twenty characters and more.
licence: CC-BY-4.0
paper: https://example.org/a
"""
RATINGS = """\
# name: people
# metric: quality:higher:1:5:how good it looks
# metric: shows_it:lower/-:0:1
picture,metric,rater,value,note
abc/0,quality,ann,4,fine
abc/1,shows_it,bob,,
"""
PLACED = 'method;prompt_id;seed;image_index;value\n"dim";a/1;0;1;0.5\n'


def _suite(data: bytes) -> None:
    """As `bench suite check` reads it, with its prompts where nothing has to be fetched."""
    read = read_suite(written("suite.yaml", data), "suite.yaml")
    card = card_of_file(read)
    if not read.spec.upstream:
        read.load(None, {option: values[0] for option, values in card.options.items()})


def _rows(ending: str) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        for own in (True, False):
            rows_of(f"rows.{ending}", data, own=own)

    return parse


def _run(data: bytes) -> None:
    asked = read_run_yaml(written("run.yaml", data))
    said: dict[str, object] = {
        "methods": (),
        "edits": {},
        "references": (),
        "suite_options": {},
        "evaluators": (),
    }
    asked.joined({**said, "method_options": {}, "evaluator_options": {}}, ()).config()
    run_yaml(asked.values)


def _entry(data: bytes) -> None:
    read_entry(written("entry.yaml", data)).text()


def _ratings(data: bytes) -> None:
    """By the metrics of the file, else by one that a flag declares."""
    path = written("ratings.csv", data)
    try:
        read_ratings(path, "people")
    except BenchError:
        read_ratings(path, "people", ("quality:higher:0:5",))


def _shipped() -> list[bytes]:
    return [(UPSTREAM / f"{name}.yaml").read_bytes() for name in ("memorized", "styles")]


HARNESSES = (
    Harness(
        "suite-yaml",
        "a suite: YAML, its prompts read",
        lambda: [YAML.replace("file: NAME.csv", "texts: [a]").encode(), ALL_KEYS.encode(), *_shipped()],
        _suite,
    ),
    Harness(
        "prompts-csv",
        "prompts: CSV",
        lambda: [CSV.encode(), b'prompt,seed,tags\n"a, b",1,"c;d"\n\n"e ""f""",2,\n'],
        _rows("csv"),
    ),
    Harness(
        "prompts-json",
        "prompts: JSON",
        lambda: [b'{"cat": ["feline", "kitty"], "dog": []}'],
        _rows("json"),
    ),
    Harness("run-file", "a run file: YAML", lambda: [RUN.encode()], _run),
    Harness(
        "entry",
        "a public entry: YAML",
        lambda: [ENTRY.encode()],
        _entry,
    ),
    Harness(
        "ratings",
        "people's ratings: CSV",
        lambda: [RATINGS.encode(), PLACED.encode()],
        _ratings,
    ),
)
