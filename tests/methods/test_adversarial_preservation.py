"""EAP and AGE: the choice goes where the loss is largest, and each of the three targets is what it says."""

import pytest
import torch

from erasure_bench.methods.adversarial_preservation import (
    AdversarialPreservation,
    gumbel,
    spread,
    weights_of,
)
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.adversary import Adversary
from erasure_bench.methods.machinery.on_the_way import Ways
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
TEXTS = ("a tree", "a red boat", "a house", "a grumpy cat")
TINY = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 2,
    "trajectories": 2,
    "vocabulary": TEXTS,
    "learning_rate": 1e-3,
}


def test_logits_are_drawn_by_their_probabilities():
    """Gumbel-max: the largest of π + g falls on i as often as softmax(π)_i says."""
    logits, generator = torch.tensor([0.0, 1.0, 2.0]), torch.Generator().manual_seed(0)
    counts = torch.zeros(3)
    for _ in range(4000):
        counts += weights_of(logits, gumbel(3, generator), 2.0, 1, True)
    torch.testing.assert_close(counts / 4000, logits.softmax(0), atol=0.03, rtol=0)


def test_hard_weights_are_equal_forwards_and_soft_backwards():
    drawn = torch.tensor([0.3, 0.1, 0.2])
    logits = torch.tensor([1.0, 0.5, -1.0], requires_grad=True)
    hard = weights_of(logits, drawn, 2.0, 2, True)
    assert hard.tolist() == pytest.approx([0.5, 0.5, 0.0])
    (of_hard,) = torch.autograd.grad(hard[0], logits)
    soft = weights_of(logits, drawn, 2.0, 2, False)
    assert float(soft.sum()) == pytest.approx(1.0) and float(soft[2]) == 0.0
    pair = ((logits.detach() + drawn) / 2.0)[:2].softmax(0)
    torch.testing.assert_close(soft[:2].detach(), pair)
    whole = ((logits + drawn) / 2.0).softmax(0)
    (of_whole,) = torch.autograd.grad(whole[0], logits)
    torch.testing.assert_close(of_hard, of_whole)


def setting(model, **options):
    method = AdversarialPreservation(**TINY, **options)
    base = model.frozen_copy()
    texts = method.candidates(model, [CAT], EraseContext())
    choice = method.near(base, CAT, texts)
    generator = torch.Generator().manual_seed(0)
    ways = Ways(method, base, model, [CAT.target], generator)
    return method, base, choice, ways, ways.draw(2, generator)


@pytest.mark.parametrize(
    ("options", "space"),
    [
        ({}, 1.0),
        ({"led_from": "choice", "eta": 0.0}, 1.0),
        ({"space": "image"}, None),
        ({"space": "image", "led_from": "choice", "climbs": "preserved"}, None),
    ],
    ids=["eap", "age to its choice", "eap on the image", "age beyond its choice"],
)
def test_the_loss_is_the_formula(tiny_model, options, space):
    method, base, choice, ways, seen = setting(tiny_model, preserve_weight=0.3, **options)
    with torch.no_grad():
        tiny_model.unet.conv_in.weight.mul_(1.1)
    chosen = choice.embeddings[1:2]
    found = method.loss(tiny_model, base, seen, ways.embeddings, chosen)

    def said(model, text):
        with torch.no_grad():
            return model.predict_noise(seen.latents, seen.timestep, text).double()

    other, concept, empty = (said(base, text) for text in (choice.texts[1], "grumpy cat", ""))
    origin = other if method.led_from == "choice" else empty
    target = origin - method.eta * (concept - origin)
    now, kept = said(tiny_model, "grumpy cat"), said(tiny_model, choice.texts[1])
    if space == 1.0:
        errors = [now - target, kept - other]
    else:
        alpha = float(base.alphas_cumprod[seen.timestep])

        def clean(noise):
            return (seen.latents.double() - (1 - alpha) ** 0.5 * noise) / alpha**0.5

        errors = [clean(now) - clean(target), clean(kept) - clean(other)]
    wanted = errors[0].square().mean() + 0.3 * errors[1].square().mean()
    torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-5)


def test_the_adversary_finds_what_suffers_most():
    """Of candidates whose losses are known, drawn hard, one at a time."""
    losses = torch.tensor([0.1, 0.5, 0.3, 0.2])
    adversary, generator = Adversary(torch.zeros(4), learning_rate=0.1), torch.Generator().manual_seed(0)
    for _ in range(100):
        drawn = gumbel(4, generator)
        adversary.ascend(lambda value, drawn=drawn: losses @ weights_of(value, drawn, 2.0, 1, True))
    assert int(adversary.value.argmax()) == 1
    assert float(adversary.value.detach().softmax(0)[1]) > 0.9


def test_the_adversary_climbs_the_models_loss(tiny_model):
    """Adam's first step is along the sign of each slope: these are taken by finite differences."""
    method, base, choice, ways, seen = setting(tiny_model, hard=False, top=3, led_from="choice", eta=0.0)
    with torch.no_grad():
        for name, parameter in tiny_model.unet.named_parameters():
            if "attn2.to_v" in name:
                parameter.mul_(2.0)
    drawn = torch.zeros(len(choice.texts))

    def loss(value):
        mixed = method._mixed(value, choice.embeddings, drawn)
        return method.loss(tiny_model, base, seen, ways.embeddings, mixed)

    slopes = []
    with torch.no_grad():
        for row in range(len(drawn)):
            step = torch.zeros_like(drawn)
            step[row] = 1.0
            slopes.append(float(loss(step) - loss(-step)))
    adversary = Adversary(torch.zeros_like(drawn), learning_rate=0.1)
    adversary.ascend(loss)
    moved = adversary.value.detach()
    assert moved.abs().tolist() == pytest.approx([0.1] * len(drawn), rel=0.1)
    assert [slope > 0 for slope in slopes] == [value > 0 for value in moved.tolist()]


def test_an_adversary_that_climbs_what_is_preserved_does_not_see_the_destination(tiny_model):
    """AGE's official code detaches it: the slopes are those of a target that stays where it is."""
    slopes = []
    options = {"hard": False, "top": 3, "led_from": "choice"}
    for own in ({"climbs": "both"}, {"climbs": "preserved"}, {"climbs": "both", "preserve_weight": 0.0}):
        method, base, choice, ways, seen = setting(tiny_model, **options | own)
        with torch.no_grad():
            tiny_model.unet.conv_in.weight.mul_(1.1)
        logits = torch.zeros(len(choice.texts), requires_grad=True)
        loss = method.loss_of_logits(
            tiny_model, base, seen, ways.embeddings, choice.embeddings, torch.zeros(len(logits)), logits
        )
        slopes.append(torch.autograd.grad(loss, logits)[0])
        with torch.no_grad():
            tiny_model.unet.conv_in.weight.div_(1.1)
    both, preserved, erased = slopes
    assert preserved.abs().max() > 0 and erased.abs().max() > 0
    torch.testing.assert_close(both - erased, preserved, rtol=1e-2, atol=1e-3 * float(both.abs().max()))


def test_what_names_the_concept_cannot_be_chosen_and_words_are_the_tokenizers(tiny_model):
    method = AdversarialPreservation(**TINY)
    assert method.candidates(tiny_model, [CAT], EraseContext()) == TEXTS[:3]
    words = build_method("eap").candidates(tiny_model, [CAT], EraseContext())
    assert words == ("cat", "dog"), "the tiny tokenizer's only words"
    near = AdversarialPreservation(**TINY | {"nearest": 2}).near(tiny_model, CAT, TEXTS)
    assert len(near.texts) == 2 and "a grumpy cat" in near.texts


def test_centres_of_k_means_are_members_one_in_each_cloud():
    generator = torch.Generator().manual_seed(0)
    points = torch.cat([torch.randn(10, 3, generator=generator) + 100 * k for k in range(4)])
    found = spread(points, 4)
    assert [row // 10 for row in found] == [0, 1, 2, 3]
