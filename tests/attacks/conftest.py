"""What attacks are tried on: the tiny model, two prompts and pictures for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from erasure_bench.attacks.base import AttackContext, Target, Victim
from erasure_bench.methods.base import NoCache
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.guidance import ClassifierFree
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="object", targets=("cat",), anchor="animal")


class Memory(NoCache):
    """Keeps what it is asked for, and counts how often something was made."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.made = 0

    def fetch(self, maker: str, key: Any, make: Callable[[], dict[str, torch.Tensor]]) -> Any:
        name = f"{maker} {key}"
        if name not in self.kept:
            self.kept[name] = make()
            self.made += 1
        return self.kept[name]


@pytest.fixture
def targets() -> list[Target]:
    """Two prompts with pictures of noise."""
    noise = np.random.default_rng(0)
    return [
        Target(
            prompt=prompt,
            seed=seed,
            guidance_scale=3.0,
            picture=noise.integers(0, 256, (64, 64, 3), dtype=np.uint8),
        )
        for seed, prompt in enumerate(["a cat", "the cat and a dog"])
    ]


@pytest.fixture
def victim_of() -> Callable[[DiffusionModel], Victim]:
    """A model as it is drawn in four steps; the base is a copy of it."""

    def of(model: DiffusionModel) -> Victim:
        return Victim(
            model=model,
            guidance=ClassifierFree(),
            concept=CAT,
            scheduler="ddim",
            steps=4,
            base=model.frozen_copy(),
        )

    return of


@pytest.fixture
def context() -> AttackContext:
    """Keeps nothing; a few prompts of all kinds."""
    return AttackContext(seed=0, general_prompts=("a dog", "a tree", "a cat", "two dogs"))
