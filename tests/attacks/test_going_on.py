"""An attack that trains goes on after a kill where it was, to the same bits."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from erasure_bench.attacks.base import Assault, AttackContext, Target, Victim
from erasure_bench.attacks.registry import build_attack
from erasure_bench.bench.storage.cache import StoreCache
from erasure_bench.bench.storage.store import Store
from erasure_bench.methods.base import Progress
from erasure_bench.models.diffusion_model import DiffusionModel
from tests.attacks.test_every_attack import flat, quick

STEPS, KILLED_AT = 5, 3


class Killed(BaseException):
    """As a kill that leaves no time for anything."""


@pytest.mark.parametrize("name", ["concept-inversion", "memory-recovery", "finetune"])
def test_a_training_that_was_killed_is_gone_on_with(
    name: str,
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
    tmp_path: Path,
) -> None:
    attack = build_attack(name, "official", quick(name) | {"steps": str(STEPS), "tries": "1"})
    victim, steps, found = victim_of(tiny_model), list[int](), list[Assault]()

    def report(progress: Progress) -> None:
        steps.append(progress.step)
        if len(steps) == KILLED_AT:
            raise Killed

    for place, told in (("killed", report), ("killed", report), ("undisturbed", lambda progress: None)):
        with Store(tmp_path / place) as store:
            caches = (StoreCache(store, digest, "float32", checkpoint_seconds=0) for digest in "eb")
            own = dataclasses.replace(context, report=told, cache=next(caches), base_cache=next(caches))
            with suppress(Killed):
                found.append(attack.assault(victim, targets, own))
    assert steps == [1, 2, 3, 2, 3, 4, 5], "from the last step whose outcome was known"
    one, other = found
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(tensor, other.tensors[key]) for key, tensor in one.tensors.items())
    for mine, its in zip(flat(one.tries), flat(other.tries), strict=True):
        if mine.embedding is None or its.embedding is None:
            assert mine.embedding is its.embedding is None
        else:
            assert torch.equal(mine.embedding, its.embedding)
