"""SPEED: its invariants, its optimality within the null space, and what it retains."""

import dataclasses

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods import speed
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.closed_form import last_token
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(
    name="cat", kind="instance", targets=("grumpy cat", "cross cat"), anchor="cat", neighbours=("tabby cat",)
)
WIDTH, OUT = 12, 7


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def problem():
    """W, targets, anchors, retained texts that span 5 of 12 directions, and the empty prompt's tokens."""
    retained = drawn(20, 5, seed=3) @ drawn(5, WIDTH, seed=4)
    free = speed.null_space(retained, 1e-9)
    assert free.shape == (WIDTH, WIDTH - 5)
    return (
        drawn(OUT, WIDTH),
        drawn(3, WIDTH, seed=1),
        drawn(3, WIDTH, seed=2),
        retained,
        free,
        drawn(4, WIDTH, seed=5),
    )


def test_retained_texts_and_the_empty_prompt_are_not_touched(problem):
    weight, targets, anchors, retained, free, empty = problem
    change = speed.weight_update(weight, speed.moments(targets, anchors, 3), free, empty, 1.0, 0.0)

    assert (change @ retained.T).abs().max() < 1e-11
    assert (change @ empty.T).abs().max() < 1e-11
    before = (weight @ (targets - anchors).T).norm()
    after = ((weight + change) @ targets.T - weight @ anchors.T).norm()
    assert after < before and change.abs().max() > 1e-3


@pytest.mark.parametrize("keep_scale", [1.0, 0.05])
def test_the_change_is_the_best_within_the_null_space(problem, keep_scale):
    """Against a ridge regression in coordinates of the space that both constraints leave free."""
    weight, targets, anchors, _, free, empty = problem
    change = speed.weight_update(weight, speed.moments(targets, anchors, 3), free, empty, keep_scale, 0.0)

    seen = (empty @ free).T  # of the null space's coordinates, [free, tokens]
    allowed = free @ torch.linalg.svd(seen, full_matrices=True).U[:, seen.shape[1] :]
    inputs = (targets @ allowed) / len(targets) ** 0.5
    missing = ((anchors - targets) @ weight.T) / len(targets) ** 0.5
    padded = torch.cat([inputs, keep_scale**0.5 * torch.eye(allowed.shape[1], dtype=torch.float64)])
    wanted = torch.cat([missing, torch.zeros(allowed.shape[1], OUT, dtype=torch.float64)])
    best = torch.linalg.lstsq(padded, wanted).solution.T @ allowed.T
    torch.testing.assert_close(change, best, rtol=1e-9, atol=1e-9)


def test_an_empty_prompt_that_is_retained_already_is_no_obstacle(problem):
    weight, targets, anchors, retained, free, _ = problem
    seen = speed.moments(targets, anchors, 3)
    change = speed.weight_update(weight, seen, free, retained[:4], 1.0, 0.0)
    assert change.isfinite().all() and (change @ retained.T).abs().max() < 1e-9
    torch.testing.assert_close(change, speed.weight_update(weight, seen, free, retained[:1], 1.0, 0.0))


def test_the_prior_filter_keeps_what_a_first_edit_moves_most(problem):
    weight, targets, anchors, retained, *_ = problem
    moved = speed.first_edit(weight, speed.moments(targets, anchors, 3))
    closed = torch.stack(
        [torch.linalg.solve(torch.eye(WIDTH).double() + targets.T @ targets / 3, row) for row in
         weight @ (anchors - targets).T @ targets / 3]
    )  # fmt: skip
    torch.testing.assert_close(moved, closed)
    kept = speed.above_the_mean(retained, moved)
    norms = (retained @ moved.T).norm(dim=1)
    assert torch.equal(kept, retained[norms > norms.mean()]) and 0 < len(kept) < len(retained)
    assert len(speed.above_the_mean(retained[:1], moved)) == 1


def ridge(weight, keys, wanted, directions, keep_scale):
    """argmin_Δ Σ ‖(W + Δ) k − W a‖² + ρ ‖Δ‖² with Δ = D directionsᵀ, by stacked least squares."""
    inputs, missing = keys @ directions, (wanted - keys) @ weight.T
    padded = torch.cat([inputs, keep_scale**0.5 * torch.eye(directions.shape[1], dtype=torch.float64)])
    target = torch.cat([missing, torch.zeros(directions.shape[1], len(weight), dtype=torch.float64)])
    return torch.linalg.lstsq(padded, target).solution.T @ directions.T


def test_of_all_tokens_officially_a_phrases_sum_counts_and_not_their_mean(tiny_model):
    """Of one phrase the official change solves the ridge over all of its tokens, each with weight 1."""
    options = {"tokens": "all", "retain": "none"}
    own, tokens = tiny_model.named_tensors(), {}
    for text in ("grumpy cat", ""):
        tokens[text] = tiny_model.encode_prompts([text])[0].double()
    empty = speed.empty_tokens(tokens[""], 3, 0)
    _, sizes, directions = torch.linalg.svd(empty, full_matrices=True)
    free = directions[int((sizes > 1e-9 * sizes[0]).sum()) :].T
    keys, anchors = tokens["grumpy cat"][1:], tokens[""][1:]
    for mean_over, keep_scale in (("phrases", 1.0), ("tokens", float(len(keys)))):
        edit = build_method("speed", options=options | {"mean_over": mean_over}).erase(
            tiny_model, [CAT], EraseContext()
        )
        assert edit.tensors
        for name, new in edit.tensors.items():
            weight = own[name].double()
            best = ridge(weight, keys, anchors, free, keep_scale)
            torch.testing.assert_close(new.double() - weight, best, rtol=1e-3, atol=1e-4)


def test_the_empty_prompt_is_officially_retained_for_nudity(tiny_model):
    """What all of its tokens span, less one filtered half, is what the change does not see."""
    options = {"prior_filter": "false", "copies": "0", "threshold": "1e-6", "empty_scale": "1e9"}
    method = build_method("speed", "official-nudity", options)
    tokens = tiny_model.encode_prompts([""])[0].double()
    own = tiny_model.named_tensors()
    edit = method.erase(tiny_model, [dataclasses.replace(CAT, kind="unsafe")], EraseContext())
    assert edit.tensors
    for name, new in edit.tensors.items():
        change = new.double() - own[name].double()
        assert (change @ tokens[1:].T).norm() < 1e-2 * change.norm() * tokens[1:].norm()
    assert method.retained([CAT], ("a tree",)) == ()


@pytest.mark.parametrize("kept", ["last", "all"])
def test_of_a_text_that_stays_the_last_token_or_all_are_not_touched(tiny_model, kept):
    """Of which officially the last alone: the padding behind it, which says as much, is not seen then."""
    options = {"prior_filter": "false", "copies": "0", "threshold": "1e-6", "empty_scale": "1e9"}
    options |= {"tokens": "all", "retain": '["tabby cat"]', "retained_tokens": kept}
    edit = build_method("speed", options=options).erase(tiny_model, [CAT], EraseContext())
    own, tokens = tiny_model.named_tensors(), tiny_model.encode_prompts(["tabby cat"])[0].double()
    last = last_token(tiny_model.tokenizer, "tabby cat")
    assert edit.tensors
    for name, new in edit.tensors.items():
        moved = (tokens @ (new.double() - own[name].double()).T).norm(dim=1)
        assert moved[last] < 1e-2 * moved.max() or kept == "all"
        seen = moved[1:] if kept == "all" else moved[last + 1 :]
        change = (new.double() - own[name].double()).norm() * tokens[-1].norm()
        assert (seen.max() < 1e-3 * change) == (kept == "all")


def test_tokens_of_what_stays_are_refused_where_nothing_or_the_empty_prompt_does():
    for retain in ("none", "empty"):
        with pytest.raises(BenchError, match="retained_tokens"):
            build_method("speed", options={"retain": retain, "retained_tokens": "all"})


def test_noisy_copies_are_officially_filtered_whether_or_not_the_texts_are(problem):
    weight, targets, anchors, retained, *_ = problem
    seen = speed.moments(targets, anchors, 3)
    method = build_method("speed", options={"prior_filter": "false"})
    assert method.filter_copies

    def chosen(method):
        return method._chosen(weight, seen, retained, torch.Generator().manual_seed(0))

    every = chosen(dataclasses.replace(method, filter_copies=False))
    copies = every[len(retained) :]
    norms = (copies @ speed.first_edit(weight, seen).T).norm(dim=1)
    assert len(copies) == 10 * len(retained) and torch.equal(every[: len(retained)], retained)
    assert torch.equal(chosen(method), torch.cat([retained, copies[norms > norms.mean()]]))


def test_copies_differ_where_the_matrix_sees_least(problem):
    weight, _, _, retained, *_ = problem
    square = weight[:, :OUT]
    copies = speed.noisy_copies(square, retained[:2, :OUT], 10, torch.Generator().manual_seed(0))
    differences = copies - retained[:2, :OUT].repeat_interleave(10, 0)
    assert torch.linalg.matrix_rank(differences) == 1
    smallest = torch.linalg.svdvals(square)[-1]
    torch.testing.assert_close((differences @ square.T).norm(dim=1), smallest * differences.norm(dim=1))


def test_values_alone_change_and_the_empty_prompt_keeps_its_own(tiny_model):
    method = build_method("speed", options={"retain": '["a tree", "a boat"]', "threshold": "1e-6"})
    edit = method.erase(tiny_model, [CAT], EraseContext())
    assert edit.tensors and all("attn2.to_v.weight" in name for name in edit.tensors)

    own = tiny_model.named_tensors()
    (tree,) = (tiny_model.encode_prompts(["a tree"])[0].double(),)
    last = len(tiny_model.tokenizer("a tree").input_ids) - 2
    start = tiny_model.encode_prompts([""])[0, 0].double()
    target = tiny_model.encode_prompts(["grumpy cat"])[0].double()
    at = len(tiny_model.tokenizer("grumpy cat").input_ids) - 2
    for name, new in edit.tensors.items():
        change = new.double() - own[name].double()
        assert (change @ start).norm() < 1e-4 * (change @ target[at]).norm()
        if "prior_filter" not in name:
            assert (change @ target[at]).norm() > 1e-3
    unfiltered = dataclasses.replace(method, prior_filter=False, copies=0)
    for name, new in unfiltered.erase(tiny_model, [CAT], EraseContext()).tensors.items():
        change = new.double() - own[name].double()
        assert (change @ tree[last]).norm() < 1e-3 * (change @ target[at]).norm()


def test_who_is_erased_and_who_stays():
    method = build_method("speed", options={"phrases": "all"})
    assert [pair.guide for pair in method.erased([CAT])] == ["", ""]
    style = dataclasses.replace(CAT, kind="style")
    identity = dataclasses.replace(CAT, kind="identity")
    assert [pair.guide for pair in method.erased([style, identity])][::2] == ["art", "person"]
    general = ("a tree", "a CROSS CAT sleeps", "a tree")
    assert method.retained([CAT], general) == ("tabby cat", "a tree")
    assert dataclasses.replace(method, retain="neighbours").retained([CAT], general) == ("tabby cat",)
    assert dataclasses.replace(method, retain="none").retained([CAT], general) == ()
