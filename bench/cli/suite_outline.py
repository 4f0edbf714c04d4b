"""What a suite is before its prompts are read: concepts, protocol and evaluators of its default form."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from erasure_bench.prompt_suites import registry
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Protocol, SuiteAttack
from erasure_bench.prompt_suites.suite_file import ReadSuite, read_suite
from erasure_bench.user_paths import user_path


class Outline(NamedTuple):
    """A suite without its prompts."""

    concepts: tuple[Concept, ...]
    protocol: Protocol
    evaluators: tuple[str, ...]
    attacks: tuple[SuiteAttack, ...]
    further_evaluators: tuple[str, ...]


def outline(name: str) -> Outline:
    """The outline of a registered suite or of one in a user's file; no upstream data are needed.

    Raises as `suite_card` does.
    """
    card = registry.suite_card(name)
    options = registry.complete_options(card, {})
    if (read := _file_of(name)) is not None:
        spec = read.spec
        protocol, concepts = spec.protocol.protocol(), read.concepts(options)
        return Outline(concepts, protocol, spec.evaluators, spec.suite_attacks(), card.further_evaluators)
    suite = card.load(None, options)
    return Outline(suite.concepts, suite.protocol, suite.evaluators, suite.attacks, card.further_evaluators)


def said(protocol: Protocol) -> str:
    """The protocol in words: `ddim, 50 steps, guidance scale 7.5, 1 picture a prompt, 512 × 512 pixels`."""
    pictures = protocol.images_per_prompt
    parts = [
        protocol.scheduler,
        f"{protocol.steps} steps",
        f"guidance scale {protocol.guidance_scale:g}",
        *([f"η {protocol.eta:g}"] if protocol.eta else []),
        f"{pictures} picture{'s' if pictures != 1 else ''} a prompt",
        f"{protocol.width} × {protocol.height} pixels"
        if protocol.width and protocol.height
        else "the model's own size",
    ]
    return ", ".join(parts)


def said_attacks(attacks: Iterable[SuiteAttack]) -> str:
    """The attacks in words: `unlearndiffatk (steps=5), random-prefix:8`."""
    return ", ".join(
        name + (f" ({', '.join(f'{key}={value}' for key, value in options.items())})" if options else "")
        for name, options in attacks
    )


def _file_of(name: str) -> ReadSuite | None:
    """The suite's YAML file, where it is in one."""
    if registry.in_suite_file(name):
        return read_suite(user_path(name), name)
    _, place = registry.SUITES[name].split(":")
    if not registry.in_suite_file(place):
        return None
    path = Path(registry.__file__).parent / place
    return read_suite(path, path.name)
