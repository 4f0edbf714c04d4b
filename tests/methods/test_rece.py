"""RECE: what it finds is what the edited matrices make most like the concept, and is erased in turn."""

import dataclasses

import pytest
import torch

from erasure_bench.methods import rece
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.closed_form import matrices
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(
    name="cat", kind="instance", targets=("grumpy cat", "cross cat"), anchor="cat", neighbours=("tabby cat",)
)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("closeness", [1e-3, 0.1])
def test_what_is_recalled_is_optimal(closeness):
    """The gradient of Σ ‖W_l e' − W_l⁰ e‖² + λ ‖e'‖² by autograd is 0 there."""
    originals = [drawn(height, 6, seed=height) for height in (4, 9, 16)]
    change, concept = torch.eye(6).double() + 0.3 * drawn(6, 6, seed=1), drawn(5, 6, seed=2)
    found = rece.recalled(rece.gram(originals), change, concept, closeness).requires_grad_()

    fit = sum(((found @ (weight @ change).T - concept @ weight.T) ** 2).sum() for weight in originals)
    loss = fit + closeness * (found**2).sum()
    (gradient,) = torch.autograd.grad(loss, found)
    assert gradient.abs().max() < 1e-10 * loss.item()
    if closeness < 0.01:
        torch.testing.assert_close(found.detach() @ change.T, concept, rtol=0.01, atol=0.01)


def erased_to(model, method, found):
    """How far the edited matrices hold the concept's tokens from the blank's, before and after the edit."""
    edit = method.erase(model, [CAT], EraseContext())
    own = matrices(model)
    guide = model.encode_prompts([rece.NOTHING])[0]
    before = sum(((found - guide) @ weight.T).norm() for weight in own.values())
    after = sum(
        (found @ edit.tensors.get(name, weight).T - guide @ weight.T).norm() for name, weight in own.items()
    )
    return float(before), float(after)


def test_each_round_erases_what_brought_the_concept_back(tiny_model):
    """The embedding that recalls the concept from UCE's edit does so no longer after one round."""
    first = build_method("rece", options={"rounds": "0", "first_edit": "own"})
    own, concept = matrices(tiny_model), tiny_model.encode_prompts([CAT.target])[0].double()
    edit = first.erase(tiny_model, [CAT], EraseContext())
    assert edit.tensors.keys() == own.keys()
    name, weight = next((name, weight) for name, weight in own.items() if weight.shape[0] >= weight.shape[1])
    change = torch.linalg.lstsq(weight.double(), edit.tensors[name].double()).solution
    found = rece.recalled(rece.gram(own.values()), change, concept, 1e-3).float()

    def missed(embeddings):
        """How far the edited matrices are, for these, from what they made of the concept before."""
        new = edit.tensors
        return sum((embeddings @ new[name].T - concept.float() @ own[name].T).norm() for name in own)

    assert missed(found) < 0.5 * missed(concept.float()), "it brings the concept back"

    before, after_first = erased_to(tiny_model, first, found)
    _, after_round = erased_to(tiny_model, dataclasses.replace(first, rounds=1, closeness=1e-3), found)
    assert after_round < 0.5 * after_first and after_round < before


def test_the_whole_edit_is_least_squares_matrix_by_matrix(tiny_model):
    """Two rounds of both sums written out and solved by LAPACK, each with the matrices as they then are."""
    erase, retain, keep, closeness = 1.5, 0.2, 0.3, 0.05
    method = rece.RECE(
        retain=("tabby cat",),
        erase_scale=erase,
        retain_scale=retain,
        keep_scale=keep,
        rounds=2,
        closeness=closeness,
    )
    concept, blank, retained = (
        row.detach().double() for row in tiny_model.encode_prompts(["grumpy cat", " ", "tabby cat"])
    )
    last = [len(tiny_model.tokenizer(text).input_ids) - 2 for text in ("grumpy cat", " ")]
    length, kept = len(concept) - max(last), torch.cat([blank, retained])

    def uce(weight, seen, guide):
        parts = [(erase, seen, guide), (retain, kept, kept), (keep, *[torch.eye(32).double()] * 2)]
        left = torch.cat([scale**0.5 * rows for scale, rows, _ in parts])
        right = torch.cat([scale**0.5 * rows @ weight.T for scale, _, rows in parts])
        return torch.linalg.lstsq(left, right).solution.T

    original = {name: weight.double() for name, weight in matrices(tiny_model).items()}
    first = concept[last[0] : last[0] + length], blank[last[1] : last[1] + length]
    now = {name: uce(weight, *first) for name, weight in original.items()}
    for _ in range(2):
        rows = torch.cat([*now.values(), closeness**0.5 * torch.eye(32).double()])
        wanted = torch.cat([*(weight @ concept.T for weight in original.values()), torch.zeros(32, 16)])
        found = torch.linalg.lstsq(rows, wanted).solution.T
        now = {name: uce(weight, found, blank) for name, weight in now.items()}
    edit = method.erase(tiny_model, [CAT], EraseContext())
    assert edit.tensors.keys() == now.keys()
    for name, weight in now.items():
        torch.testing.assert_close(edit.tensors[name].double(), weight, rtol=1e-4, atol=1e-5)


def test_the_official_rounds_go_by_kind():
    method = build_method("rece")
    assert method.schedule([CAT]) == (1, 1e-3)
    assert method.schedule([dataclasses.replace(CAT, kind="unsafe")]) == (3, 0.1)
    assert method.schedule([CAT, dataclasses.replace(CAT, kind="implicit")]) == (2, 0.1)
    assert dataclasses.replace(method, rounds=5).schedule([CAT]) == (5, 1e-3)


def test_the_blank_stays_whatever_else_does():
    method = build_method("rece")
    assert method.retained([CAT]) == (" ",)
    assert dataclasses.replace(method, retain="neighbours").retained([CAT]) == (" ", "tabby cat")
    assert dataclasses.replace(method, retain=("tabby cat", " ")).retained([CAT]) == (" ", "tabby cat")
    assert dataclasses.replace(method, retain=("a", "b", "a")).retained([CAT]) == (" ", "a", "b")


def test_the_official_first_edit_is_old_uces(tiny_model):
    """Without a round the edit is the one that UCE's old code, as a method of its own, makes."""
    wanted = build_method("uce", "old", {"retain": '["tabby cat"]'}).erase(tiny_model, [CAT], EraseContext())
    method = build_method("rece", options={"rounds": "0", "retain": '["tabby cat"]'})
    found = method.erase(tiny_model, [CAT], EraseContext())
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-5, atol=1e-6)


def test_on_the_built_in_model_the_first_edit_is_uces(tiny_model):
    """Its preset begins where that of `uce` ends, so that a table's two rows differ by the rounds alone."""
    wanted = build_method("uce", "microworld").erase(tiny_model, [CAT], EraseContext())
    found = build_method("rece", "microworld", {"rounds": "0"}).erase(tiny_model, [CAT], EraseContext())
    assert found.tensors.keys() == wanted.tensors.keys()
    for name, tensor in wanted.tensors.items():
        torch.testing.assert_close(found.tensors[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_styles_official_guide_is_art():
    method = build_method("rece", options={"phrases": "all"})
    style = dataclasses.replace(CAT, kind="style")
    assert [pair.guide for pair in method.erased([CAT, style])] == [" ", " ", "art", "art"]
    assert build_method("rece", options={"guide": "anchor"}).erased([CAT])[0].guide == "cat"
