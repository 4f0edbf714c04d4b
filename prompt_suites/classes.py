"""Forgetting a class: suites whose prompts are the classes' names, for class-conditional generators.

Heng and Soh, Selective Amnesia, NeurIPS 2023, section 4.1: one class is forgotten, the others stay. A prompt
is one draw of noise: many prompts have the same text, so that an interval is over draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from erasure_bench.prompt_suites.card import SuiteCard
from erasure_bench.prompt_suites.class_names import CIFAR10, CLOTHES, DIGITS, STL10
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Protocol, Role, Suite

FORGET = "forget"
FIRST, EACH = "first", "each"
"""The paper's one experiment, of the first class, or one for every class."""
IN_ONE_PASS = Protocol(scheduler="ddim", steps=1, guidance_scale=1.0)
"""An autoencoder decodes: it has no steps."""
OFFICIAL_DDPM = Protocol(scheduler="ddim", steps=1000, guidance_scale=3.0, eta=1.0)
"""w = 2 in the paper's (1 + w) ε_c − w ε_∅ is a guidance scale of 3."""


@dataclass(frozen=True, kw_only=True)
class Classes:
    """A suite's data set and generator, and how many pictures of the forgotten and of each kept class."""

    name: str
    title: str
    data: str
    classes: tuple[str, ...]
    model: str
    protocol: Protocol
    forgotten: int
    kept: int

    def card(self) -> SuiteCard:
        """The suite's card."""
        return SuiteCard(
            name=self.name,
            title=self.title,
            description=f"Forget a class ({self.classes[0]}) and keep the other {len(self.classes) - 1}.",
            concepts=self.classes[:1],
            model=self.model,
            load=self.load,
            options={FORGET: (FIRST, EACH)},
            source="Heng and Soh, Selective Amnesia, NeurIPS 2023, section 4.1",
        )

    def load(self, data_dir: Path | None, options: Mapping[str, str]) -> Suite:
        """With one concept, or with one for every class (`forget=each`)."""
        card = self.card()
        forgotten = self.classes if options[FORGET] == EACH else self.classes[:1]
        return Suite(
            name=card.name,
            version=card.version,
            title=card.title,
            description=card.description,
            concepts=tuple(self._concept(name) for name in forgotten),
            prompts={name: self._prompts(name) for name in forgotten},
            protocol=self.protocol,
            evaluators=("classifier", "fidelity", "fidelity@retrained"),
            evaluator_options={
                "classifier": {"model": self.data, "report": "sa"},
                "fidelity": {"network": self.data, "reference": f"data:{self.data}"},
            },
            model=self.model,
            source=card.source,
        )

    def _concept(self, name: str) -> Concept:
        """What replaces a class, where a method maps it to another one, is the class after it."""
        place = self.classes.index(name)
        after = self.classes[(place + 1) % len(self.classes)]
        return Concept(
            name=name, kind="object", targets=(name,), anchor=after, label=name, anchor_label=after
        )

    def _prompts(self, forgotten: str) -> tuple[Prompt, ...]:
        kept = (name for name in self.classes if name != forgotten)
        return (
            *self._draws(forgotten, "target", self.forgotten),
            *(prompt for name in kept for prompt in self._draws(name, "retention", self.kept)),
        )

    def _draws(self, name: str, role: Role, count: int) -> tuple[Prompt, ...]:
        return tuple(
            Prompt(id=f"{name}/{role}/{number}", text=name, role=role, subject=name, label=name)
            for number in range(count)
        )


DIGITS_VAE = Classes(
    name="digits-vae",
    title="Forget a digit: VAE of 8 × 8 pixels",
    data="digits",
    classes=DIGITS,
    model="digits-vae",
    protocol=IN_ONE_PASS,
    forgotten=100,
    kept=48,
).card()
DIGITS_DDPM = Classes(
    name="digits-ddpm",
    title="Forget a digit: DDPM of 8 × 8 pixels",
    data="digits",
    classes=DIGITS,
    model="digits-ddpm",
    protocol=Protocol(scheduler="ddim", steps=50, guidance_scale=3.0, eta=1.0),
    forgotten=100,
    kept=24,
).card()
MNIST = Classes(
    name="mnist",
    title="Forget a digit: Selective Amnesia's VAE of MNIST",
    data="mnist",
    classes=DIGITS,
    model="mnist-vae",
    protocol=IN_ONE_PASS,
    forgotten=1000,
    kept=100,
).card()
FASHION_MNIST = Classes(
    name="fashion-mnist",
    title="Forget a piece of clothing: VAE of Fashion-MNIST",
    data="fashion-mnist",
    classes=CLOTHES,
    model="fashion-mnist-vae",
    protocol=IN_ONE_PASS,
    forgotten=1000,
    kept=100,
).card()
CIFAR10_DDPM = Classes(
    name="cifar10",
    title="Forget airplanes: Selective Amnesia's DDPM of CIFAR-10",
    data="cifar10",
    classes=CIFAR10,
    model="cifar10-ddpm",
    protocol=OFFICIAL_DDPM,
    forgotten=500,
    kept=500,
).card()
STL10_DDPM = Classes(
    name="stl10",
    title="Forget airplanes: Selective Amnesia's DDPM of STL-10",
    data="stl10",
    classes=STL10,
    model="stl10-ddpm",
    protocol=OFFICIAL_DDPM,
    forgotten=500,
    kept=500,
).card()
