"""What seeds fresh networks leaves no generator changed, on whatever device."""

import pytest
import torch

from erasure_bench.models.conditional.folder import build
from erasure_bench.models.conditional.tiny import tiny_description
from erasure_bench.models.seeding import begin_at, seeded


def test_what_is_drawn_is_torchs_own_of_that_seed_and_the_generator_goes_on_where_it_was() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(7):
        assert torch.equal(torch.rand(3), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_devices_that_nobody_named_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.manual_seed` seeds every GPU, and `fork_rng` puts back those alone that it is told of."""

    def refuse(*seeds: int) -> None:
        raise AssertionError("seeds all devices")

    monkeypatch.setattr(torch, "manual_seed", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed", refuse)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    with seeded(0):
        begin_at(1, torch.device("cpu"))
        build(tiny_description("ddpm"), 0)
