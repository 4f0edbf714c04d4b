"""The harnesses by name. Adding one is a line here and an entry of `HARNESSES` in its module."""

from importlib import import_module
from typing import NamedTuple

from fuzzing.harness import Harness


class Parser(NamedTuple):
    """The module that has the harness, and the modules whose branches guide a search."""

    module: str
    modules: tuple[str, ...]


_ROOT = "erasure_bench"
_YAML = (f"{_ROOT}.yaml_marks", f"{_ROOT}.yaml_files", f"{_ROOT}.users_text")
_SUITES = f"{_ROOT}.prompt_suites"
_RESULTS, _STORAGE = f"{_ROOT}.bench.reporting", f"{_ROOT}.bench.storage"
PARSERS: dict[str, Parser] = {
    "suite-yaml": Parser(
        "texts", (*_YAML, *(f"{_SUITES}.{part}" for part in ("schema", "suite_file", "prompt_rows", "suite")))
    ),
    "prompts-csv": Parser("texts", (f"{_SUITES}.rows", f"{_SUITES}.hostile", _YAML[2])),
    "prompts-json": Parser("texts", (f"{_SUITES}.rows", f"{_SUITES}.hostile", _YAML[2])),
    "run-file": Parser(
        "texts", (*_YAML, f"{_ROOT}.bench.planning.run_yaml", f"{_ROOT}.bench.planning.config")
    ),
    "gate-policy": Parser(
        "results", (*_YAML, f"{_ROOT}.bench.comparing.policy", f"{_ROOT}.bench.comparing.gate")
    ),
    "entry": Parser("texts", (*_YAML, f"{_ROOT}.bench.sharing.entry")),
    "ratings": Parser("texts", (f"{_RESULTS}.rating_file",)),
    "run-json": Parser("results", (f"{_RESULTS}.run_file", f"{_RESULTS}.record")),
    "leaderboard-json": Parser("results", (f"{_RESULTS}.results", f"{_RESULTS}.board")),
    "robustness-json": Parser("results", (f"{_RESULTS}.robustness", f"{_RESULTS}.robustness_table")),
    "scores-parquet": Parser("results", (f"{_RESULTS}.counting",)),
    "safetensors": Parser("weights", (f"{_ROOT}.models.checkpoints.reading",)),
    "checkpoint": Parser("weights", (f"{_ROOT}.models.checkpoints.reading",)),
    "array-file": Parser("weights", (f"{_ROOT}.evaluators.array_file", "pickletools")),
    "state-pickle": Parser("weights", (f"{_ROOT}.evaluators.array_file", "pickletools")),
    "numpy-pickle": Parser("weights", (f"{_ROOT}.evaluators.numpy_pickle", "pickletools")),
    "weights-json": Parser("weights", (f"{_ROOT}.models.json_files", f"{_ROOT}.models.weight_files")),
    "packed-run": Parser("archives", (f"{_ROOT}.bench.sharing.archives", "tarfile")),
    "remote-entry": Parser("archives", (f"{_STORAGE}.remote", f"{_STORAGE}.manifest", "tarfile")),
    "remote": Parser("words", (f"{_STORAGE}.remote",)),
    "concepts": Parser("words", (f"{_ROOT}.bench.planning.cases", f"{_ROOT}.bench.planning.config")),
    "transformations": Parser("words", (f"{_SUITES}.transformations", f"{_SUITES}.options")),
    "method-settings": Parser("words", (f"{_ROOT}.methods.registry", f"{_ROOT}.bench.planning.config")),
    "evaluator-settings": Parser("words", (f"{_SUITES}.options", f"{_ROOT}.evaluators.instances")),
    "attack-settings": Parser("words", (f"{_SUITES}.options", f"{_ROOT}.attacks.registry")),
    "command-line": Parser("command_line", (f"{_ROOT}.bench.cli", f"{_ROOT}.bench.planning")),
}


def harness(name: str) -> Harness:
    """The harness of that name; its parser is imported here. Raises KeyError."""
    module = import_module(f"fuzzing.{PARSERS[name].module}")
    found: Harness = next(each for each in module.HARNESSES if each.name == name)
    return found
