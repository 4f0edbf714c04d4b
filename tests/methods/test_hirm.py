"""HiRM: a target of the norm it says, reached by the first layer alone."""

import dataclasses

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods import hirm
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat", "cross cat"), anchor="cat")


def test_targets_have_the_norm_and_the_direction(tiny_model):
    method = build_method("hirm", "paper")
    random = method._targets(tiny_model, ["cat", "dog"], torch.Generator().manual_seed(0))
    assert random.shape == (2, 16, 32) and (random >= 0).all() and not torch.equal(*random)
    torch.testing.assert_close(random.norm(dim=2), torch.full((2, 16), 500.0))
    whole = dataclasses.replace(method, norm=5000.0, norm_of="all")
    random = whole._targets(tiny_model, ["cat", "dog"], torch.Generator().manual_seed(0))
    torch.testing.assert_close(random.flatten(1).norm(dim=1), torch.full((2,), 5000.0))

    anchored = dataclasses.replace(whole, target="anchor", norm=7.0)
    (found,) = anchored._targets(tiny_model, ["cat"], torch.Generator())
    given = hirm.last_attention(tiny_model, ["cat"])[0].detach()
    torch.testing.assert_close(found, 7.0 * given / given.square().sum().sqrt())

    (found,) = build_method("hirm", "paper-anchor")._targets(tiny_model, ["cat"], torch.Generator())
    torch.testing.assert_close(found, given)


@pytest.mark.parametrize(("preset", "steps"), [("paper", (40, 25, 50)), ("paper-anchor", (30, 15, 25))])
def test_the_papers_steps_go_by_kind_and_target(preset, steps):
    method = build_method("hirm", preset)
    style, unsafe = (dataclasses.replace(CAT, kind=kind) for kind in ("style", "unsafe"))
    found = [method.schedule([concept]) for concept in (style, CAT, unsafe)]
    assert found == list(zip(steps, (5e-5, 5e-5, 1e-4), strict=True))
    assert method.schedule([CAT, unsafe]) == found[2]
    assert build_method("hirm", preset, {"steps": "3", "learning_rate": "0.1"}).schedule([CAT]) == (3, 0.1)


def test_a_random_target_needs_a_length():
    with pytest.raises(BenchError, match="a random target has no length"):
        hirm.HiRM(norm=None)


def test_what_is_caught_is_what_the_last_attention_adds(tiny_model):
    """The residual stream after the last attention, less the one before it, by the encoder's own layers."""
    stream = {}
    last = hirm.layers(tiny_model)[-1]
    before = last.register_forward_pre_hook(
        lambda module, given, named: stream.update(before=given[0] if given else named["hidden_states"]),
        with_kwargs=True,
    )
    middle = last.layer_norm2.register_forward_pre_hook(lambda module, given: stream.update(after=given[0]))
    try:
        added = hirm.last_attention(tiny_model, ["a cat"])
    finally:
        before.remove()
        middle.remove()
    torch.testing.assert_close(added, stream["after"] - stream["before"])


def test_the_first_layer_alone_learns_the_target(tiny_model):
    method = build_method(
        "hirm",
        options={"steps": "40", "norm": "5", "learning_rate": "1e-2", "phrases": "all"},
    )
    edit = method.erase(tiny_model, [CAT], EraseContext(seed=3))
    assert edit.tensors.keys() <= hirm.first_layer(tiny_model).keys()
    assert {name.split(".")[4] for name in edit.tensors} == {"self_attn", "mlp"}
    assert edit.losses[-1] < 0.7 * edit.losses[0]

    phrases = list(CAT.targets)
    targets = method._targets(tiny_model, ["cat", "cat"], torch.Generator().manual_seed(3))
    before = (hirm.last_attention(tiny_model, phrases) - targets).square().mean()
    assert abs(before.item() - edit.losses[0]) < 1e-5 * before.item()
    with applied(tiny_model, edit):
        assert (hirm.last_attention(tiny_model, phrases) - targets).square().mean() < before
