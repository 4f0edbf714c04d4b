"""Every attack by name. Targets are `module:name` strings, so that listing them imports nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.foreign.targets import load_target

if TYPE_CHECKING:
    from erasure_bench.attacks.base import Attack, AttackCard

ATTACKS: dict[str, str] = {
    "random-prefix": "erasure_bench.attacks.random_prefix:RANDOM_PREFIX",
    "random-prompt": "erasure_bench.attacks.random_prefix:RANDOM_PROMPT",
    "fresh-noise": "erasure_bench.attacks.random_prefix:FRESH_NOISE",
    "random-tokens": "erasure_bench.attacks.random_tokens:RANDOM_TOKENS",
    "unlearndiffatk": "erasure_bench.attacks.unlearndiffatk:UNLEARNDIFFATK",
    "concept-inversion": "erasure_bench.attacks.concept_inversion:CONCEPT_INVERSION",
    "p4d": "erasure_bench.attacks.p4d:P4D_CARD",
    "ring-a-bell": "erasure_bench.attacks.ring_a_bell:RING_A_BELL",
    "completion": "erasure_bench.attacks.completion:COMPLETION",
    "inpainting": "erasure_bench.attacks.inpainting:INPAINTING",
    "noise": "erasure_bench.attacks.noise_probe:NOISE",
    "img2img": "erasure_bench.attacks.img2img:IMG2IMG",
    "ddim-inversion": "erasure_bench.attacks.ddim_inversion:DDIM_INVERSION",
    "memory-recovery": "erasure_bench.attacks.memory_recovery:MEMORY_RECOVERY",
    "finetune": "erasure_bench.attacks.finetune:FINETUNE",
}

DEFAULT_PRESET = "official"
FLAG = "--attack-option"
ARGUMENT = ":"
"""Between an attack's name and its argument: `random-prefix:8`."""


class Named(NamedTuple):
    """An attack as it is asked for: its name, and its argument as text, if any."""

    name: str
    argument: str | None


def named(written: str) -> Named:
    """Raises UnknownName."""
    name, colon, argument = written.partition(ARGUMENT)
    if name not in ATTACKS:
        raise UnknownName("attack", name, ATTACKS, "--attacks")
    return Named(name, argument if colon else None)


def attack_card(name: str) -> AttackCard:
    """The card of an attack. Raises UnknownName."""
    from erasure_bench.attacks.base import AttackCard

    card = load_target(ATTACKS[named(name).name], f"attack {name!r}")
    assert isinstance(card, AttackCard)
    return card


def build_attack(name: str, preset: str = DEFAULT_PRESET, options: Mapping[str, str] | None = None) -> Attack:
    """An attack with its settings: those of its name, then of the preset, then NAME:VALUE's and `options`.

    A preset that the card lacks falls back to `official`. Raises BenchError that names the valid settings or
    what the value may be, and where an option says something else than the name by which tables call it.
    """
    from erasure_bench.prompt_suites.finite import refuse_endless
    from erasure_bench.prompt_suites.options import build_from_options

    card, argument = attack_card(name), named(name).argument
    budget = card.presets.get(preset, card.presets.get(DEFAULT_PRESET, {}))
    texts = {**({} if argument is None else {card.argument: argument}), **(options or {})}
    if argument is not None and texts[card.argument] != argument:
        raise BenchError(
            f"attack {name!r}: {card.argument} is {argument} by its name and {texts[card.argument]} by "
            f"{FLAG}: leave one of them out"
        )
    settings = {**card.settings, **budget}
    attack: Attack = build_from_options(card.build, settings, texts, FLAG, f"attack {name!r}")
    refuse_endless(attack, texts, FLAG, f"attack {name!r}")
    return attack
