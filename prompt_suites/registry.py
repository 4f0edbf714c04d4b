"""The suites by name. Adding one is a line here and a YAML file, or a module with a `SuiteCard` in it."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.prompt_suites.fetch import DATA_FOLDER_VARIABLE
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
    "microworld-composition": "erasure_bench.prompt_suites.microworld.composition:CARD",
    "microworld-validation": "erasure_bench.prompt_suites.microworld.validation:CARD",
    "i2p": "erasure_bench.prompt_suites.suite_file:upstream/i2p.yaml",
    "celebrities": "erasure_bench.prompt_suites.suite_file:upstream/celebrities.yaml",
    "instances": "erasure_bench.prompt_suites.suite_file:upstream/instances.yaml",
    "styles": "erasure_bench.prompt_suites.suite_file:upstream/styles.yaml",
    "objects": "erasure_bench.prompt_suites.suite_file:upstream/objects.yaml",
    "coco": "erasure_bench.prompt_suites.suite_file:upstream/coco.yaml",
    "memorized": "erasure_bench.prompt_suites.suite_file:upstream/memorized.yaml",
    "artists": "erasure_bench.prompt_suites.suite_file:upstream/artists.yaml",
    "unlearndiffatk": "erasure_bench.prompt_suites.suite_file:upstream/unlearndiffatk.yaml",
    "ring-a-bell": "erasure_bench.prompt_suites.suite_file:upstream/ring_a_bell.yaml",
    "unlearncanvas": "erasure_bench.prompt_suites.suite_file:upstream/unlearncanvas.yaml",
    "digits-vae": "erasure_bench.prompt_suites.classes:DIGITS_VAE",
    "digits-ddpm": "erasure_bench.prompt_suites.classes:DIGITS_DDPM",
    "mnist": "erasure_bench.prompt_suites.classes:MNIST",
    "fashion-mnist": "erasure_bench.prompt_suites.classes:FASHION_MNIST",
    "cifar10": "erasure_bench.prompt_suites.classes:CIFAR10_DDPM",
    "stl10": "erasure_bench.prompt_suites.classes:STL10_DDPM",
}

FILE_FLAG = "--suite NAME or PATH.yaml"


def suite_names() -> tuple[str, ...]:
    """Every registered suite, in the order of the table."""
    return tuple(SUITES)


def suite_card(name: str) -> "SuiteCard":
    """The card of a suite; reads no prompts. `name` may be the path of a user's own, a YAML file.

    Raises UnknownName, which suggests the nearest names, where there is no such suite, and BenchError for a
    file that is none.
    """
    if in_suite_file(name):
        from erasure_bench.prompt_suites.suite_file import own_card

        return own_card(name, user_path(name), suite_names())
    if name not in SUITES:
        raise UnknownName("suite", name, SUITES, flag=FILE_FLAG)
    module, attribute = SUITES[name].split(":")
    if in_suite_file(attribute):
        from erasure_bench.prompt_suites.suite_file import shipped_card

        return shipped_card(Path(__file__).parent / attribute)
    card: SuiteCard = getattr(import_module(module), attribute)
    return card


def in_suite_file(name: str) -> bool:
    """Whether `name` means a suite's own file, and is no name of the registry."""
    return name.endswith((".yaml", ".yml"))


def load_suite(
    name: str, *, data_dir: Path | None = None, options: Mapping[str, str] | None = None
) -> "Suite":
    """The suite with its prompts, without those that are never sent to a model (`screen.py`).

    `data_dir` is a folder with upstream data; without it $BENCH_DATA counts, and what is in
    neither is fetched from upstream. Raises BenchError for an unknown suite or option, a value
    that the option does not take, and data that cannot be had or are not the pinned ones.
    """
    from erasure_bench.prompt_suites.screen import WEAK_ROWS, WEAK_ROWS_CHOICES, screened

    card = suite_card(name)
    chosen = complete_options(card, options or {})
    suite = card.load(data_folder(data_dir), chosen)
    return screened(suite, chosen.get(WEAK_ROWS, WEAK_ROWS_CHOICES[0]))


def data_folder(asked: Path | None) -> Path | None:
    """--data-dir, else $BENCH_DATA, else None."""
    named = os.environ.get(DATA_FOLDER_VARIABLE)
    return user_path(named) if asked is None and named else asked


def complete_options(card: "SuiteCard", given: Mapping[str, str]) -> dict[str, str]:
    """The given options with the defaults of the others.

    Raises BenchError for an option that the suite has not and for a value that it does not take.
    """
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
