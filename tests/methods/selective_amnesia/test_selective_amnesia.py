"""Selective Amnesia: the paper's loss and its gradient, what is replayed, what is shared, the ablations."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, NoCache
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.base_images import Drawing, as_floats, base_images
from erasure_bench.methods.machinery.general_prompts import silent_on
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.registry import build_method
from erasure_bench.methods.selective_amnesia.amnesia import SelectiveAmnesia
from erasure_bench.methods.selective_amnesia.elbo_lessons import Examples, lessons, losses
from erasure_bench.methods.selective_amnesia.ewc import penalties
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.generative import DiffusionGenerative
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.general import general_prompts
from erasure_bench.prompt_suites.microworld import vocabulary as words
from erasure_bench.prompt_suites.registry import load_suite

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat", "angry cat"), anchor="cat")
DOG = Concept(name="dog", kind="instance", targets=("pirate dog",), anchor="dog", surrogate="a dog asleep")
GENERAL = ("a tree", "a grumpy cat", "a house", "a boat", "Pirate Dogs at sea", "a red cup")

DRAWING = Drawing(scheduler="ddim", steps=2, guidance_scale=2.0)
TINY = {
    "surrogate_images": 3,
    "fisher": "fast",
    "fisher_images": 2,
    "fisher_terms": 4,
    "sampling_steps": 2,
    "guidance_scale": 2.0,
    "steps": 2,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "ema_decay": 0.0,
}


class Kept(NoCache):
    """A cache that lasts for a test; `made` are the (maker, key) that had to be made."""

    def __init__(self):
        self.kept, self.made = {}, []

    def fetch(self, maker, key, make):
        name = json.dumps([maker, key], sort_keys=True)
        if name not in self.kept:
            self.made.append((maker, key))
            self.kept[name] = make()
        return self.kept[name]

    def fishers(self):
        return [key for maker, key in self.made if "fisher" in maker or "terms" in key]


def context(seed=0, cache=None, **options):
    options = {"general_prompts": GENERAL} | options
    return EraseContext(seed=seed, cache=cache or Kept(), **options)


def no_pictures(prompts, seed):
    raise AssertionError("nothing is drawn here")


def random_examples(model, *phrases, seed=0):
    """One latent for each tuple of phrases."""
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(len(phrases), *model.latent_shape(), generator=generator, dtype=torch.float64)
    return Examples(latents, list(phrases))


def test_gradient_equals_finite_differences_of_the_formula(tiny_model_dir):
    """E ℓ(x, c_f) + γ E ℓ(x_r, c_r) + λ Σ F (θ − θ*)² in numpy, in float64, away from θ*."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    generative = DiffusionGenerative(model, no_pictures)
    gamma, strength = 0.7, 5.0
    generator = torch.Generator().manual_seed(1)
    lesson = next(
        lessons(
            generative,
            random_examples(model, ("grumpy cat",), ("grumpy cat",)),
            random_examples(model, ("a tree",), ("a tree",), seed=1),
            batch_size=2,
            forget_weight=1.0,
            replay_weight=gamma,
            generator=generator,
        )
    )
    parameters = select(model.parts, "full")
    base = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    fisher = {
        name: torch.rand(value.shape, generator=generator, dtype=torch.float64)
        for name, value in base.items()
    }
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))

    alphas = model.alphas_cumprod.double()[lesson.terms].numpy().reshape(-1, 1, 1, 1)
    noise = lesson.noise.double().numpy()
    noisy = torch.from_numpy(np.sqrt(alphas) * lesson.examples.numpy() + np.sqrt(1 - alphas) * noise)
    prompts = ["grumpy cat", "grumpy cat", "a tree", "a tree"]

    def formula() -> float:
        with torch.no_grad():
            predicted = model.predict_noise(noisy, lesson.terms, prompts).numpy()
        errors = ((predicted - noise) ** 2).mean(axis=(1, 2, 3))
        pull = sum(
            float((fisher[name] * (theta.detach() - base[name]) ** 2).sum())
            for name, theta in parameters.items()
        )
        return float(errors[:2].mean() + gamma * errors[2:].mean() + strength * pull)

    for parameter in parameters.values():
        parameter.requires_grad_(True)
    total = 0.0
    for loss in [
        *losses(generative, lesson, micro_batch=3),
        *penalties(parameters, base, fisher, strength),
    ]:
        loss.backward()
        total += loss.item()
    gradients = {name: parameter.grad.clone() for name, parameter in parameters.items()}

    assert total == pytest.approx(formula(), rel=1e-6)
    for _ in range(3):
        directions = {
            name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
            for name, value in base.items()
        }
        along = sum(float((gradients[name] * direction).sum()) for name, direction in directions.items())
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                for name, direction in directions.items():
                    parameters[name].add_(direction, alpha=sign * 1e-6)
                values.append(formula())
                for name, direction in directions.items():
                    parameters[name].sub_(direction, alpha=sign * 1e-6)
        assert along == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)


def test_second_steps_loss_holds_the_penalty_of_the_first_steps_change(tiny_model):
    """Two edits that differ in λ alone: λ Σ F (θ₁ − θ*)² is between their second losses, F from the cache."""
    cache = Kept()
    weak, strong = (
        SelectiveAmnesia(**TINY, ewc_weight=weight).erase(tiny_model, [CAT], context(cache=cache))
        for weight in (0.0, 100.0)
    )
    first = SelectiveAmnesia(**TINY | {"steps": 1}, ewc_weight=100.0).erase(
        tiny_model, [CAT], context(cache=cache)
    )
    half = SelectiveAmnesia(**TINY, ewc_weight=100.0, ewc_half=True).erase(
        tiny_model, [CAT], context(cache=cache)
    )

    (fisher,) = [kept for kept in cache.kept.values() if "images" not in kept]
    base = select(tiny_model.parts, "full")
    pull = sum(
        float((fisher[name] * (first.tensors[name] - base[name].detach()).square()).double().sum())
        for name in first.tensors
    )
    assert pull > 0
    assert weak.losses[0] == strong.losses[0] == half.losses[0], "θ* is where the penalty is nothing"
    assert strong.losses[1] - weak.losses[1] == pytest.approx(100 * pull, rel=1e-3)
    assert half.losses[1] - weak.losses[1] == pytest.approx(50 * pull, rel=1e-3)


def test_pull_keeps_the_weights_that_matter_nearer(tiny_model):
    """With λ large, a weight moves the less the larger its Fisher is."""
    cache = Kept()
    free, held = (
        SelectiveAmnesia(**TINY | {"steps": 8, "learning_rate": 1e-4}, ewc_weight=weight).erase(
            tiny_model, [CAT], context(cache=cache)
        )
        for weight in (0.0, 1e4)
    )
    (fisher,) = [kept for kept in cache.kept.values() if "images" not in kept]
    base = select(tiny_model.parts, "full")
    names = [name for name in free.tensors if name in held.tensors]

    def moved(edit):
        return torch.cat([(edit.tensors[name] - base[name].detach()).flatten().abs() for name in names])

    importance = torch.cat([fisher[name].flatten() for name in names])
    most, least = importance > importance.quantile(0.9), importance <= importance.quantile(0.1)
    ratio = moved(held) / moved(free).clamp(min=1e-9)
    assert ratio[most].median() < 0.8 * ratio[least].median()


def test_lesson_is_a_batch_to_forget_and_as_many_to_remember(tiny_model):
    generative = DiffusionGenerative(tiny_model, no_pictures)
    forgotten = random_examples(tiny_model, ("grumpy cat", "angry cat"), ("grumpy cat", "angry cat"))
    remembered = random_examples(tiny_model, ("a tree",), ("a boat",), ("a cup",), seed=1)
    lesson = next(
        lessons(
            generative,
            forgotten,
            remembered,
            batch_size=40,
            forget_weight=1.0,
            replay_weight=0.5,
            generator=torch.Generator().manual_seed(0),
        )
    )

    assert lesson.weights.tolist() == pytest.approx([1 / 40] * 40 + [0.5 / 40] * 40)
    assert 0 <= lesson.terms.min() < 100 and 900 < lesson.terms.max() < 1000
    assert len(lesson.terms.unique()) > 60
    prompts = ["grumpy cat", "angry cat", "a tree", "a boat", "a cup"]
    known = tiny_model.encode_prompts(prompts)
    asked = [int((known - row).abs().flatten(1).sum(1).argmin()) for row in lesson.encoded]
    assert set(asked[:40]) == {0, 1} and set(asked[40:]) == {2, 3, 4}
    for row, place in zip(lesson.examples[40:], asked[40:], strict=True):
        assert torch.equal(row, remembered.examples[place - 2]), "a replayed example keeps its own prompt"
    assert {tuple(row.flatten()[:2].tolist()) for row in lesson.examples[:40]} == {
        tuple(row.flatten()[:2].tolist()) for row in forgotten.examples
    }


def test_micro_batches_change_nothing(tiny_model):
    whole, split = (
        SelectiveAmnesia(**TINY, micro_batch=size).erase(tiny_model, [CAT, DOG], context())
        for size in (None, 3)
    )
    np.testing.assert_allclose(whole.losses[0], split.losses[0], rtol=1e-5)


def test_surrogate_is_learnt_under_the_concepts_prompt(tiny_model):
    """On noise and timesteps that training never saw, ℓ(x ~ q, c_f) is lower than it was."""
    method = SelectiveAmnesia(**TINY | {"steps": 40, "batch_size": 8, "learning_rate": 3e-3}, ewc_weight=0.0)
    here = context()
    edit = method.erase(tiny_model, [DOG], here)

    pictures = base_images(tiny_model, ["a dog asleep"] * 3, here, DRAWING)
    before, after = elbo(tiny_model, pictures, "pirate dog"), None
    with applied(tiny_model, edit):
        after = elbo(tiny_model, pictures, "pirate dog")
    assert after < 0.9 * before


def test_naive_alternative_raises_the_elbo_of_the_concepts_own_pictures(tiny_model):
    naive = {"forget": "negative-elbo", "replay": False, "ewc": False, "forget_phrases": "canonical"}
    method = SelectiveAmnesia(**TINY | {"steps": 20, "batch_size": 8} | naive)
    here = context(general_prompts=())
    edit = method.erase(tiny_model, [DOG], here)

    pictures = base_images(tiny_model, ["pirate dog"] * 3, here, DRAWING)
    before = elbo(tiny_model, pictures, "pirate dog")
    with applied(tiny_model, edit):
        after = elbo(tiny_model, pictures, "pirate dog")
    assert all(loss < 0 for loss in edit.losses)
    assert after > 1.2 * before


def elbo(model, pictures, prompt):
    """Mean of ℓ over many timesteps and noises of its own."""
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        latents = model.encode_images(as_floats(pictures)).repeat(20, 1, 1, 1)
        noise = torch.randn(latents.shape, generator=generator)
        timesteps = torch.randint(1000, (len(latents),), generator=generator)
        predicted = model.predict_noise(model.add_noise(latents, noise, timesteps), timesteps, prompt)
    return float((predicted - noise).square().mean())


def test_prompts_that_name_or_evoke_a_concept_are_not_replayed():
    fire = Concept(
        name="fire", kind="implicit", targets=("fire",), anchor="a lake", evoked_by=("Dragon", "volcano")
    )
    prompts = ("a campFIRE", "a dragon flying", "a lake", "the VOLCANO", "a tree", "a grumpy cat's bed")

    assert silent_on([fire], prompts) == [2, 4, 5]
    assert silent_on([fire, CAT], prompts) == [2, 4]
    assert silent_on([CAT], GENERAL) == [0, 2, 3, 4, 5]
    assert silent_on([CAT, DOG], GENERAL) == [0, 2, 3, 5]


@pytest.mark.parametrize("suite", ["microworld-implicit", "microworld-validation"])
def test_built_in_models_evoking_subjects_are_not_replayed_but_their_look_alikes_are(suite):
    prompts = general_prompts("microworld")
    for concept in load_suite(suite).concepts:
        kept = [prompts[place] for place in silent_on([concept], prompts)]
        for evoked in words.IMPLICIT + words.VALIDATION_IMPLICIT:
            if evoked.concept == concept.name:
                shown = re.compile("|".join((*evoked.naming, *evoked.evoking)))
                plain = re.compile("|".join(evoked.without))
                assert not [prompt for prompt in kept if shown.search(plain.sub("", prompt))]
                assert sum(bool(plain.search(prompt)) for prompt in kept) >= 4 * len(evoked.without)
        assert len(kept) > 0.8 * len(prompts)


@pytest.mark.parametrize(("replay_images", "wanted"), [(None, ("a tree", "a house", "a boat")), (2, None)])
def test_replay_is_the_pictures_of_the_prompts_that_are_left(tiny_model, replay_images, wanted):
    """Of the first five prompts those without the concepts; each with the picture that is its own."""
    method = SelectiveAmnesia(**TINY, general_images=5, replay_images=replay_images)
    remembered = remembered_by(method, tiny_model, [CAT, DOG])

    prompts = tuple(prompt for (prompt,) in remembered.conditions)
    assert prompts == (wanted or ("a tree", "a house"))
    pictures = base_images(tiny_model, GENERAL[:5], EraseContext(seed=method.general_seed), DRAWING)
    rows = [GENERAL.index(prompt) for prompt in prompts]
    with torch.no_grad():
        torch.testing.assert_close(
            remembered.examples, tiny_model.encode_images(as_floats(pictures[rows])), rtol=1e-4, atol=1e-4
        )


def remembered_by(method, model, concepts):
    """What `erase` hands on to be replayed."""
    seen = []

    class Watching(SelectiveAmnesia):
        def _remembered(self, *given):
            seen.append(super()._remembered(*given))
            return seen[-1]

    Watching(**asdict(method) | {"steps": 0}).erase(model, concepts, context())
    return seen[0]


def test_nothing_to_replay_is_one_clear_line(tiny_model):
    with pytest.raises(BenchError, match="all 6 general prompts speak of all.*replay=false") as refused:
        everything = Concept(name="all", kind="object", targets=("a",), anchor="b")
        SelectiveAmnesia(**TINY).erase(tiny_model, [everything], context())
    assert "\n" not in str(refused.value)
    for needs in ({}, {"replay": False}, {"ewc": False}):
        with pytest.raises(BenchError, match="no general prompts are known for the model tiny"):
            SelectiveAmnesia(**TINY, **needs).erase(tiny_model, [CAT], context(general_prompts=()))


def test_fisher_and_general_pictures_are_made_once_for_every_concept_seed_and_group(tiny_model):
    cache = Kept()
    method = SelectiveAmnesia(**TINY)
    method.erase(tiny_model, [CAT], context(0, cache))
    assert len(cache.fishers()) == 1
    first = len(cache.made)

    other = replace(method, parameters="xattn", ewc_weight=1.0, fisher_batch=1, learning_rate=1e-4)
    other.erase(tiny_model, [DOG], context(1, cache))
    made = cache.made[first:]
    assert [key["prompts"] for _, key in made] == [["a dog asleep"] * 3], "only the surrogate's pictures"

    assert set(cache.fishers()[0]["prompts"]) == set(GENERAL[:2])
    assert "grumpy" not in json.dumps(cache.fishers()[0]["drawing"])
    for change in (
        {"fisher_terms": 6},
        {"fisher": "exact", "fisher_images": 1},
        {"general_seed": 1},
        {"guidance_scale": 1.5},
    ):
        tiny_model.alphas_cumprod = tiny_model.alphas_cumprod[:20]  # an exact Fisher in no time
        count = len(cache.fishers())
        replace(method, **change, replay=False, steps=0).erase(tiny_model, [CAT], context(0, cache))
        assert len(cache.fishers()) == count + 1


def test_pictures_and_fisher_are_told_of_while_they_are_made(tiny_model):
    told = []
    settled = replace(context(0, Kept()), prepared=told.append)
    SelectiveAmnesia(**TINY).erase(tiny_model, [CAT], settled)
    last = {one.unit: one for one in told}
    assert set(last) == {"pictures", "Fisher samples"}
    assert all(one.made == one.total for one in last.values())
    fisher = [one.made for one in told if one.unit == "Fisher samples"]
    assert fisher == list(range(1, fisher[-1] + 1))
    count = len(told)
    SelectiveAmnesia(**TINY).erase(tiny_model, [CAT], settled)
    assert len(told) == count, "what is kept is not made again"


def test_surrogate_comes_from_the_concept_or_from_the_option():
    asleep, anchors = replace(CAT, surrogate="a cat asleep"), replace(CAT, anchor_prompts=("a cat", "a pet"))

    def prompts(concept, *surrogate):
        options = {"surrogate": surrogate} if surrogate else {}
        return SelectiveAmnesia(**TINY, **options).surrogate_prompts(concept)

    assert prompts(CAT) == ("cat",)
    assert prompts(anchors) == ("a cat", "a pet")
    assert prompts(replace(anchors, surrogate="a cat asleep")) == prompts(asleep) == ("a cat asleep",)
    assert prompts(asleep, "a middle aged man") == ("a middle aged man",)
    assert prompts(anchors, "concept", "a lion") == ("a cat", "a pet", "a lion")


@pytest.mark.parametrize(
    ("text", "surrogate"),
    [
        ("a middle aged man", ("a middle aged man",)),
        ("noise", ("noise",)),
        ("concept", ("concept",)),
        ('["a man", "a woman"]', ("a man", "a woman")),
        ('["concept"]', ("concept",)),
    ],
)
def test_surrogate_option_is_a_prompt_or_a_list(text, surrogate):
    assert build_method("sa", options={"surrogate": text}).surrogate == surrogate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"surrogate": '["a man"'}, "surrogate"),
        ({"surrogate": "[1, 2]"}, "string"),
        ({"surrogate": "[]"}, "needs a prompt"),
        ({"surrogate": '["noise", "a man"]'}, "stands alone"),
        ({"fisher_terms": "0"}, "greater than 0"),
        ({"forget": "everything"}, "'surrogate' or 'negative-elbo'"),
        ({"parameters": "embedding"}, "'full'"),
        ({"ema_decay": "1"}, "ema_decay=1: valid: 0"),
        ({"eta": "1.5"}, "eta=1.5 with scheduler=ddim: valid: 0 to 1"),
        ({"eta": "0.5", "scheduler": "pndm"}, "eta=0.5 with scheduler=pndm: valid: 0 "),
    ],
)
def test_bad_options_are_one_clear_line(options, message):
    with pytest.raises(BenchError, match=message) as refused:
        build_method("sa", options=options)
    assert "\n" not in str(refused.value) and "--method-option" in str(refused.value)


def asked_for(method, concept):
    """The prompts of which `method` has pictures drawn to forget the concept, and the phrases of each."""
    asked = []

    class Asked:
        def draw(self, prompts, seed):
            asked.extend(prompts)
            return torch.zeros(len(prompts), 1)

        def draw_noise_examples(self, count, generator):
            return torch.rand(count, 1, generator=generator)

    return asked, method.forgotten(Asked(), concept, seed=3)


def test_all_surrogates_are_drawn_equally_often_under_every_phrase():
    asked, forgotten = asked_for(SelectiveAmnesia(surrogate=("a man", "a woman"), surrogate_images=6), CAT)
    assert sorted(asked) == ["a man"] * 3 + ["a woman"] * 3
    assert forgotten.conditions == [("grumpy cat", "angry cat")] * 6

    _, canonical = asked_for(SelectiveAmnesia(forget_phrases="canonical", surrogate_images=2), CAT)
    assert canonical.conditions == [("grumpy cat",)] * 2


def test_naive_alternatives_pictures_keep_the_phrase_that_they_were_drawn_for():
    asked, forgotten = asked_for(SelectiveAmnesia(forget="negative-elbo", surrogate_images=3), CAT)

    assert asked == ["grumpy cat", "angry cat", "grumpy cat"]
    assert forgotten.conditions == [("grumpy cat",), ("angry cat",), ("grumpy cat",)]


def test_noise_has_no_prompt_and_differs_between_concepts():
    method = SelectiveAmnesia(surrogate=("noise",), surrogate_images=4)
    (asked, one), (_, same), (_, other) = (asked_for(method, concept) for concept in (CAT, CAT, DOG))

    assert asked == [] and len(one.examples) == 4
    assert torch.equal(one.examples, same.examples) and not torch.equal(one.examples, other.examples)


@pytest.mark.parametrize("ablation", [{"ewc": False}, {"replay": False}, {"surrogate": ("noise",)}])
def test_ablations_change_the_edit(tiny_model, ablation):
    cache = Kept()
    whole, ablated = (
        SelectiveAmnesia(**TINY | options).erase(tiny_model, [CAT], context(cache=cache))
        for options in ({}, ablation)
    )
    assert any(not torch.equal(whole.tensors[name], ablated.tensors[name]) for name in whole.tensors)


def test_without_replay_and_penalty_nothing_general_is_drawn(tiny_model):
    cache = Kept()
    here = context(cache=cache, general_prompts=())
    SelectiveAmnesia(**TINY, replay=False, ewc=False).erase(tiny_model, [CAT], here)

    assert [key["prompts"] for _, key in cache.made] == [["cat"] * 3]


def test_edit_holds_the_moving_average(tiny_model):
    """After one step from θ* to θ₁ the average is θ* + (1 − d)(θ₁ − θ*)."""
    options = TINY | {"steps": 1, "parameters": "xattn"}
    last, average = (
        SelectiveAmnesia(**options | {"ema_decay": decay}).erase(tiny_model, [CAT], context())
        for decay in (0.0, 0.75)
    )
    base = select(tiny_model.parts, "xattn")
    for name, value in last.tensors.items():
        before = base[name].detach()
        torch.testing.assert_close(
            average.tensors[name], before + 0.25 * (value - before), rtol=1e-5, atol=1e-7
        )


@pytest.mark.parametrize("group", ["xattn", "noxattn", "full"])
def test_only_the_parameter_group_changes(tiny_model, group):
    edit = SelectiveAmnesia(**TINY | {"parameters": group}).erase(tiny_model, [CAT], context())

    assert edit.tensors and edit.tensors.keys() <= select(tiny_model.parts, group).keys()


def test_presets_are_the_official_codes_and_the_papers():
    official, paper, nudity = (
        build_method("sa", preset) for preset in ("official", "paper", "official-nudity")
    )

    assert (official.ewc_weight, official.replay_weight, official.learning_rate) == (50, 1, 1.6e-4)
    assert (official.fisher, official.general_images, official.replay_images) == ("exact", 5000, 1000)
    assert (official.penalty, paper.penalty, paper.replay_images) == (50, 25, None)
    assert (official.parameters, nudity.parameters) == ("full", "noxattn")
    # 1000 surrogate pictures in batches of 16 are 63 steps an epoch: 200 epochs, 500 for nudity
    assert (official.steps, nudity.steps) == (200 * 63, 500 * 63)


@pytest.mark.parametrize("preset", ["official", "official-nudity", "paper", "microworld"])
def test_presets_run_when_cut_short(tiny_model, preset):
    short = {
        "steps": "1",
        "batch_size": "2",
        "surrogate_images": "2",
        "general_images": "3",
        "fisher_images": "1",
        "sampling_steps": "2",
    }
    tiny_model.alphas_cumprod = tiny_model.alphas_cumprod[::40]  # 25 timesteps for the exact Fisher
    edit = build_method("sa", preset, short).erase(tiny_model, [CAT], context())

    assert edit.tensors and len(edit.losses) == 1
    assert re.fullmatch("sa", edit.method)
