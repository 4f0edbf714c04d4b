"""A compiled network draws the same pictures, is compiled once for all edits, and only where that pays."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from erasure_bench.errors import BenchError
from erasure_bench.methods.machinery.traces import ModelState
from erasure_bench.models.batches import is_out_of_memory
from erasure_bench.models.compiling import CompileCost, CompiledUNet, drawn_with, pays, release
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import ImageRequest, Pixels, sample
from erasure_bench.models.weights import swapped

EDITS = 10


@pytest.fixture(autouse=True)
def _compile_anew() -> Any:
    release()
    yield
    release()


def drawn(model: DiffusionModel, sizes: list[int], unet: CompiledUNet | None = None) -> list[Pixels]:
    requests = [ImageRequest("a cat", seed, 3.0, side, 64) for seed, side in enumerate(sizes)]
    with drawn_with(unet):
        return sample(model, requests, scheduler="ddim", steps=2, batch_size=2)


@pytest.mark.slow
def test_ten_edits_are_drawn_with_what_was_compiled_once(tiny_model: DiffusionModel) -> None:
    """Batches of two pictures, of three and of two with another guidance; the weights change in place."""
    before = ModelState.of(tiny_model)
    counter = CompileCounter()
    unet = CompiledUNet(tiny_model.unet, backend=counter)
    name = next(name for name in tiny_model.named_tensors() if "attn2.to_k" in name)
    pictures = [drawn(tiny_model, [64] * 4, unet)]
    compiled = counter.frame_count
    assert compiled >= 1
    for edit in range(1, EDITS + 1):
        tensors = {name: tiny_model.named_tensors()[name].detach() * (1 + edit)}
        with swapped(tiny_model, tensors):
            pictures.append(drawn(tiny_model, [64] * 4, unet))
            assert all(map(np.array_equal, pictures[-1], drawn(tiny_model, [64] * 4)))
    assert len({np.stack(each).tobytes() for each in pictures}) == EDITS + 1, "each edit draws its own"
    drawn(tiny_model, [64] * 3, unet)
    assert counter.frame_count == compiled
    assert before.changes(tiny_model) == ""


class Small(nn.Module):
    """Takes what a UNet takes."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 3, padding=1)

    def forward(
        self, latents: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor, return_dict: bool
    ) -> tuple[Tensor]:
        told = timesteps[:, None, None, None] + encoder_hidden_states.mean((1, 2))[:, None, None, None]
        return (self.convolution(latents) * told,)


def asked(unet: Any, pictures: int, side: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(pictures)
    latents = torch.randn(pictures, 4, side, side, generator=generator)
    timesteps = torch.full((pictures,), 5)
    embeddings = torch.randn(pictures, 3, 6, generator=generator)
    with torch.inference_mode():
        output: Tensor = unet(latents, timesteps, encoder_hidden_states=embeddings, return_dict=False)[0]
    return output


def test_any_batch_goes_through_what_was_compiled_and_another_size_does_not() -> None:
    counter, network = CompileCounter(), Small()
    unet = CompiledUNet(network, backend=counter)
    compiled = []
    for pictures in (1, 4, 2, 64, 7, 1, 30):
        assert torch.equal(asked(unet, pictures), asked(network, pictures))
        compiled.append(counter.frame_count)
    # Kernels are others for large batches: it is compiled anew for a larger one, never for a smaller one.
    assert compiled[:3] == [0, 1, 1] and compiled[3] <= 2 and len(set(compiled[3:])) == 1
    assert torch.equal(asked(unet, 99, side=10), asked(network, 99, side=10))
    assert counter.frame_count == compiled[-1] and unet.compile_seconds > 0 and not unet.failed


def test_an_edits_hooks_are_asked_whenever_they_came() -> None:
    """The compiler looks for no hooks once it has compiled: they would be left out without a word."""
    counter, network = CompileCounter(), Small()
    unet = CompiledUNet(network, backend=counter)
    plain = asked(unet, 4)
    for module, register in (
        (network.convolution, lambda it: it.register_forward_hook(lambda m, given, output: 2 * output)),
        (network, lambda it: it.register_forward_pre_hook(lambda m, given: (given[0] + 1, *given[1:]))),
    ):
        handle = register(module)
        assert torch.equal(asked(unet, 4), asked(network, 4)) and not torch.equal(asked(unet, 4), plain)
        handle.remove()
    assert torch.equal(asked(unet, 4), plain) and counter.frame_count == 1


def broken(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no C++ compiler\nfound")


def test_where_it_cannot_be_compiled_it_goes_on_without_or_says_so() -> None:
    said: list[str] = []
    network = Small()
    unet = CompiledUNet(network, said.append, backend=broken)
    for _ in range(2):
        assert torch.equal(asked(unet, 3), asked(network, 3))
    assert unet.failed and len(said) == 1 and "no C++ compiler found" in said[0]
    with pytest.raises(BenchError, match=r"^--compile on: .*no C\+\+ compiler found.*--compile auto or off$"):
        asked(CompiledUNet(network, backend=broken), 3)


def test_full_memory_is_not_taken_for_a_compiler_that_fails() -> None:
    def full(graph: Any, inputs: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    unet = CompiledUNet(Small(), lambda line: None, backend=full)
    with pytest.raises(Exception, match="out of memory") as raised:
        asked(unet, 2)
    assert is_out_of_memory(raised.value) and not unet.failed


def test_it_pays_where_it_saves_twice_what_it_costs() -> None:
    cost = CompileCost(seconds=60.0, saves=0.5)
    assert pays(241.0, cost) and not pays(240.0, cost)
    assert not pays(1e9, CompileCost(60.0, -0.1))
    assert not pays(60.0) and pays(3600.0)


@pytest.mark.slow
def test_inductors_pictures_are_the_same_to_rounding(tiny_model: DiffusionModel) -> None:
    unet = CompiledUNet(tiny_model.unet)
    one, other = (np.stack(drawn(tiny_model, [64] * 4, each)).astype(int) for each in (unet, None))
    assert not unet.failed and np.abs(one - other).max() <= 1
