"""Selective Amnesia on class-conditional models: the official code's quirks, and that it forgets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Generator

from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.evaluators.classifier import ClassProbability
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.registry import build_method
from erasure_bench.methods.selective_amnesia.elbo_lessons import Examples, lessons
from erasure_bench.methods.selective_amnesia.fisher import exact_fisher
from erasure_bench.methods.selective_amnesia.general_set import NO_QUIRKS, Quirks, stretched
from erasure_bench.methods.selective_amnesia.label_dropout import LabelDropout
from erasure_bench.models.conditional.folder import load_class_model
from erasure_bench.models.conditional.tiny import tiny_class_model
from erasure_bench.models.generative import generative_of
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.models.zoo import SHIPPED
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt


def no_pictures(prompts, seed):
    raise AssertionError("nothing is drawn here")


def concept(name: str, anchor: str) -> Concept:
    return Concept(name=name, kind="object", targets=(name,), anchor=anchor, label=name)


def test_stretched_pictures_span_the_whole_range() -> None:
    pictures = torch.tensor([[50, 100, 150, 100], [7, 7, 7, 7]], dtype=torch.uint8).reshape(2, 1, 2, 2)
    assert stretched(pictures).flatten(1).tolist() == [[0, 128, 255, 128], [7, 7, 7, 7]]


def test_a_fisher_with_quirks_is_kept_apart_from_one_without() -> None:
    assert NO_QUIRKS.key == {}
    assert Quirks(unit_range=True).key != Quirks(stretched=True).key != {}


def test_a_dropped_class_is_the_empty_one() -> None:
    """With probability 1 the bound is that of ∅, with 0 that of the class; between, each term has its own."""
    model = tiny_class_model("ddpm")
    generative = generative_of(model, no_pictures)
    examples = torch.rand(6, 1, 8, 8, generator=Generator().manual_seed(0)) * 2 - 1
    encoded, terms = generative.encode_conditions(["ring"] * 6), torch.arange(6)
    losses = {}
    for probability in (0.0, 0.5, 1.0):
        quirky = LabelDropout(generative, probability)
        noise = quirky.noise_for(examples, Generator().manual_seed(1))
        losses[probability] = quirky.elbo_loss(examples, encoded, terms, noise)
    plain = noise[:, :-1].reshape(examples.shape)
    none = generative.encode_conditions([""] * 6)
    torch.testing.assert_close(losses[0.0], generative.elbo_loss(examples, encoded, terms, plain))
    torch.testing.assert_close(losses[1.0], generative.elbo_loss(examples, none, terms, plain))
    dropped = noise[:, -1] < 0.5
    assert 0 < dropped.sum() < 6
    torch.testing.assert_close(losses[0.5], losses[1.0].where(dropped, losses[0.0]))


def test_the_fisher_of_dropped_classes_reaches_the_empty_embedding() -> None:
    model = tiny_class_model("ddpm")
    generative = generative_of(model, no_pictures)
    examples = torch.rand(2, 1, 8, 8, generator=Generator().manual_seed(0)) * 2 - 1
    name = "unet.label.embedding.weight"
    parameters = {name: select(model.parts, "full")[name]}
    none = len(model.classes)
    for probability, touched in ((0.0, False), (0.5, True)):
        fisher = exact_fisher(
            LabelDropout(generative, probability),
            parameters,
            examples,
            ["ring", "bar"],
            generator=Generator().manual_seed(0),
        )[name]
        assert bool(fisher[none].any()) == touched
        assert fisher[0].any() and fisher[1].any() and not fisher[2].any()


def test_replayed_pictures_may_share_the_forgotten_ones_timesteps() -> None:
    generative = generative_of(tiny_class_model("ddpm"), no_pictures)
    examples = Examples(torch.zeros(3, 1, 8, 8), [("ring",)] * 3)
    settings = {"batch_size": 5, "forget_weight": 1.0, "replay_weight": 2.0}

    def first(**more: bool):
        drawn = lessons(
            generative, examples, examples, generator=Generator().manual_seed(0), **settings, **more
        )
        return next(drawn)

    assert first(shared_terms=True).terms[:5].tolist() == first(shared_terms=True).terms[5:].tolist()
    assert first().terms[:5].tolist() != first().terms[5:].tolist()
    assert first().weights.sum().item() == pytest.approx(3.0)
    assert first(summed=True).weights.sum().item() == pytest.approx(15.0)


def test_a_classs_name_speaks_of_no_other_class() -> None:
    clothes = ("T-shirt/top", "shirt", "dress")
    gone = [concept("shirt", "dress")]
    assert silent_on(gone, clothes, clothes) == [0, 2]
    assert silent_on(gone, clothes) == [2]


def test_a_penalty_that_rises_with_adams_first_steps_is_no_divergence() -> None:
    """It begins at zero, and one step of Adam moves every weight by the learning rate, whatever λ is."""
    model = tiny_class_model("ddpm")
    settings = {
        **{"surrogate_images": 2, "general_images": 4, "fisher": "fast", "fisher_images": 2},
        **{"fisher_terms": 4, "sampling_steps": 2, "steps": 4, "batch_size": 2, "ewc_weight": 1e9},
    }
    method = replace(build_method("sa", "digits-ddpm"), **settings)
    context = EraseContext(general_prompts=model.classes * 2)
    edit = method.erase(model, [concept("ring", "bar")], context)
    assert len(edit.losses) == 4 and edit.losses[1] > 1000 * edit.losses[0]


@pytest.mark.slow
def test_a_forgotten_digit_becomes_noise_and_the_others_stay() -> None:
    """SA's finding for the VAE: p is near 1/10, the entropy near ln 10 nats; the kept digits stay."""
    model = load_class_model(SHIPPED / "digits-vae", name="digits-vae")
    context = EraseContext(general_prompts=model.classes * 500)
    edit = build_method("sa", "digits-vae").erase(model, [concept("3", "4")], context)
    judge = ClassProbability(model="digits", report="sa")
    judge.prepare()
    with applied(model, edit) as guidance:
        asked = [(digit, seed) for digit in model.classes for seed in range(30)]
        requests = [ImageRequest(digit, seed, 1.0, 8, 8) for digit, seed in asked]
        drawn = sample(model, requests, scheduler="ddim", steps=1, guidance=guidance, batch_size=100)
    prompts = [
        Prompt(
            id=f"{digit}/{seed}",
            text=digit,
            role="target" if digit == "3" else "retention",
            subject=digit,
            label=digit,
        )
        for digit, seed in asked
    ]
    pictures = tuple(Picture(prompt, 0, pixels) for prompt, pixels in zip(prompts, drawn, strict=True))
    scores = judge.score(ImageSet(concept("3", "4"), pictures)).values
    found = scores[scores.metric == "class_probability"].value.to_numpy()
    entropy = scores[scores.metric == "entropy"].value.to_numpy()
    gone = np.array([digit == "3" for digit, _ in asked])
    assert found[gone].mean() < 0.25
    assert entropy[gone].mean() > 0.75 * np.log(10) > 3 * entropy[~gone].mean()
    assert found[~gone].mean() > 0.9
