"""The suites by name. Adding one is a line here and a module with a `SuiteCard` in it."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.user_paths import user_path

if TYPE_CHECKING:
    from erasure_bench.prompt_suites.card import SuiteCard
    from erasure_bench.prompt_suites.suite import Suite

SUITES: dict[str, str] = {
    "microworld-instances": "erasure_bench.prompt_suites.microworld.instances:CARD",
    "microworld-styles": "erasure_bench.prompt_suites.microworld.styles:CARD",
    "microworld-identities": "erasure_bench.prompt_suites.microworld.identities:CARD",
    "microworld-implicit": "erasure_bench.prompt_suites.microworld.implicit:CARD",
    "microworld-objects": "erasure_bench.prompt_suites.microworld.objects:CARD",
    "microworld-memorized": "erasure_bench.prompt_suites.microworld.memorised:CARD",
    "microworld-validation": "erasure_bench.prompt_suites.microworld.validation:CARD",
    "i2p": "erasure_bench.prompt_suites.i2p:CARD",
}

DATA_FOLDER_VARIABLE = "BENCH_DATA"


def suite_names() -> tuple[str, ...]:
    """Every registered suite, in the order of the table."""
    return tuple(SUITES)


def suite_card(name: str) -> "SuiteCard":
    """The card of a suite; reads no data.

    Raises UnknownName, which suggests the nearest names, where there is no such suite.
    """
    if name not in SUITES:
        raise UnknownName("suite", name, SUITES, flag="--suite")
    module, attribute = SUITES[name].split(":")
    card: SuiteCard = getattr(import_module(module), attribute)
    return card


def load_suite(
    name: str, *, data_dir: Path | None = None, options: Mapping[str, str] | None = None
) -> "Suite":
    """The suite with its prompts.

    `data_dir` is a folder with upstream data; without it $BENCH_DATA counts, and what is in
    neither is fetched from upstream. Raises BenchError for an unknown suite or option, a value
    that the option does not take, and data that cannot be had or are not the pinned ones.
    """
    card = suite_card(name)
    if data_dir is None and (named := os.environ.get(DATA_FOLDER_VARIABLE)):
        data_dir = user_path(named)
    return card.load(data_dir, _complete(card, options or {}))


def _complete(card: "SuiteCard", given: Mapping[str, str]) -> dict[str, str]:
    """The given options with the defaults of the others."""
    for option, value in given.items():
        if option not in card.options:
            valid = ", ".join(f"{name}={'|'.join(values)}" for name, values in card.options.items())
            raise BenchError(
                f"suite {card.name} has no option {option!r} (--suite-option): valid: {valid or 'none'}"
            )
        if value not in card.options[option]:
            valid = ", ".join(card.options[option])
            raise BenchError(
                f"suite {card.name}: option {option} cannot be {value!r} "
                f"(--suite-option {option}=…): valid: {valid}"
            )
    return {option: given.get(option, values[0]) for option, values in card.options.items()}
