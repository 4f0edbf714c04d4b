"""Concept Ablation: prompt pairs, every objective and its gradient, the detached first token, the recipes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from erasure_bench import prompt_suites
from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, NoCache
from erasure_bench.methods.concept_ablation.ablation import ConceptAblation
from erasure_bench.methods.concept_ablation.augmentation import CLOSE, SMALL
from erasure_bench.methods.concept_ablation.recipes import RECIPES
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.gradient_limits import first_token_detached, only_rows_of
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.machinery.prompt_pairs import names, overlaps, prompt_pairs, with_target
from erasure_bench.methods.machinery.retargeting import Lesson, losses, masked_errors
from erasure_bench.methods.registry import build_method
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite_file import read_suite

PROMPTS = ("a cat", "cat at sea", "the cat", "2 cats")
CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", anchor_prompts=PROMPTS)
DOG = Concept(name="dog", kind="instance", targets=("rex",), anchor="dog", anchor_prompts=("a dog", "dog"))
STYLE = Concept(
    name="op",
    kind="style",
    targets=("op art",),
    anchor="art",
    anchor_prompts=("a cat",),
    additions=("op {}",),
)
PICTURE = Concept(
    name="x", kind="memorised", targets=("X y", "X z"), anchor="art", anchor_prompts=("art", "an art")
)

TINY = {
    "images": 5,
    "denoise_steps": 2,
    "eta": 0.0,
    "parameters": "xattn-strict",
    "steps": 2,
    "learning_rate": 1e-4,
    "batch_size": 4,
}


class Remembering(NoCache):
    """A cache that keeps nothing and remembers what it was asked for."""

    def __init__(self):
        self.keys = []

    def fetch(self, maker, key, make):
        self.keys.append(key)
        return make()


def lessons_of(method, model, *concepts, seed=0, count=4):
    material = method.material(model, concepts, EraseContext(seed=seed))
    return method.lessons(model, material, count, torch.Generator().manual_seed(seed))


def formula(model, lessons, targets=None):
    """The loss image by image in numpy; `targets` are the predictions to approach, if not the model's own."""
    total = 0.0
    targets = answers(model, lessons) if targets is None else targets
    with torch.no_grad():
        for lesson, answer in zip(lessons, targets, strict=True):
            of_images = []
            for row, prompt in enumerate(lesson.prompts):
                one = slice(row, row + 1)
                said = model.predict_noise(lesson.latents[one], lesson.timesteps[one], prompt)[0].numpy()
                counts = np.ones(said.shape[1:], bool)
                if lesson.masks is not None:
                    counts = lesson.masks[row, 0].numpy().astype(bool)
                error = (said - answer[row])[:, counts]
                of_images.append(float(lesson.weights[row]) * float(np.mean(error**2)))
            total += float(np.mean(of_images))
    return total


def answers(model, lessons):
    """What should be predicted: the model's answer to the anchor's prompt, or the noise."""
    found = []
    with torch.no_grad():
        for lesson in lessons:
            if lesson.anchors is None:
                found.append(lesson.noise.numpy())
            else:
                found.append(
                    model.predict_noise(lesson.latents, lesson.timesteps, list(lesson.anchors)).numpy()
                )
    return found


def slope(parameters, directions, value, width):
    """Central difference of `value()` along `directions`."""
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, direction in directions.items():
                parameters[name].add_(direction, alpha=sign * width)
            values.append(value())
            for name, direction in directions.items():
                parameters[name].sub_(direction, alpha=sign * width)
    return (values[0] - values[1]) / (2 * width)


def random_directions(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        for name, parameter in parameters.items()
    }


def disturbed(model, group):
    """The group's parameters, away from the base weights as they are in the middle of training."""
    parameters = select(model.parts, group)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return parameters


# Prompt pairs


@pytest.mark.parametrize(
    ("prompt", "anchor", "target", "written"),
    [
        ("a photo of a cat", "cat", "grumpy cat", "a photo of a grumpy cat"),
        ("a photo of a boat at night", "boat", "apple", "a photo of an apple at night"),
        ("an apple by the sea", "apple", "mushroom", "a mushroom by the sea"),
        ("An apple by the sea", "apple", "mushroom", "A mushroom by the sea"),
        ("A boat", "boat", "apple", "An apple"),
        ("the Cat on the mat", "cat", "grumpy cat", "the grumpy cat on the mat"),
        ("two cats and a cat", "cat", "grumpy cat", "two grumpy cats and a grumpy cat"),
        ("an orange cat", "cat", "grumpy cat", "an orange grumpy cat"),
        ("cat", "cat", "grumpy cat", "grumpy cat"),
        ("a robot, in rain", "robot", "R2D2", "R2D2, in rain"),
        ("a dog in the park", "dog", "Snoopy", "Snoopy in the park"),
        ("a photo of a person at night", "a person", "Mira Voss", "a photo of Mira Voss at night"),
        ("A person at night", "a person", "Mira Voss", "Mira Voss at night"),
        ("an image of an empty campsite", "an empty campsite", "fire", "an image of fire"),
        (
            "an image of an empty campsite",
            "an empty campsite",
            "a blazing fire",
            "an image of a blazing fire",
        ),
        ("a photo of a cat", "cat", "a blazing fire", "a photo of a blazing fire"),
        ("a british shorthair cat asleep", "british shorthair cat", "grumpy cat", "a grumpy cat asleep"),
        ("art (oil)", "art", "c++", "c++ (oil)"),
    ],
)
def test_target_takes_the_anchors_place(prompt, anchor, target, written):
    assert with_target(prompt, anchor, target) == written


def test_anchor_is_a_whole_word():
    assert not names("a category of scattered things", "cat")
    assert names("Cats!", "cat")
    assert not names("persons", "a person")
    with pytest.raises(BenchError, match="does not name the anchor 'cat'.*anchor="):
        with_target("a category", "cat", "grumpy cat")


def test_overlap_is_of_the_anchors_own_words():
    person = Concept(name="p", kind="identity", targets=("Mira Voss",), anchor="a person")
    man = Concept(name="m", kind="identity", targets=("the angry person",), anchor="a person")

    assert overlaps(CAT) and overlaps(man)
    assert not overlaps(DOG) and not overlaps(person)
    assert not overlaps(CAT, "felidae")
    assert overlaps(DOG, "rex")


def test_pairs_of_an_instance_replace_the_anchor_by_every_phrase():
    several = Concept(
        name="c",
        kind="instance",
        targets=("grumpy cat", "Tardar Sauce"),
        anchor="cat",
        anchor_prompts=("a cat at night", "a dog", "an image of cats"),
    )
    assert [tuple(pair) for pair in prompt_pairs(several)] == [
        ("a cat at night", ("a grumpy cat at night", "Tardar Sauce at night")),
        ("an image of cats", ("an image of grumpy cats", "an image of Tardar Sauces")),
    ]


def test_pairs_of_a_style_add_it():
    assert [tuple(pair) for pair in prompt_pairs(STYLE)] == [("a cat", ("op a cat",))]
    painter = Concept(
        name="v", kind="style", targets=("van gogh",), anchor="painting", anchor_prompts=("a {} hill",)
    )
    assert [tuple(pair) for pair in prompt_pairs(painter)] == [
        (
            "a {} hill",
            (
                "a {} hill, in the style of van gogh",
                "van gogh inspired painting, a {} hill",
                "in van gogh's style, a {} hill",
            ),
        )
    ]


def test_a_style_is_said_as_each_official_code_says_it():
    """compvis: three ways, half of the time with the name twice; diffusers: one way for a third of the time,
    another one for the rest."""
    painter = Concept(name="v", kind="style", targets=("Dali",), anchor="painting", anchor_prompts=("hill",))
    ((_, compvis),) = prompt_pairs(painter, book="compvis")
    ((_, diffusers),) = prompt_pairs(painter, book="diffusers")

    assert sorted(compvis) == [
        "Dali Dali inspired painting, hill",
        "Dali inspired painting, hill",
        "hill, in the style of Dali",
        "hill, in the style of Dali Dali",
        "in Dali Dali's style, hill",
        "in Dali's style, hill",
    ]
    assert sorted(diffusers) == ["hill, in the style of Dali", *["in Dali's style, hill"] * 2]


def test_pairs_of_unsafe_content_add_every_phrase():
    concept = Concept(
        name="n", kind="unsafe", targets=("bad", "worse"), anchor="a person", anchor_prompts=("a man",)
    )
    (pair,) = prompt_pairs(concept)
    assert pair.targets == (
        "bad, a man", "in bad style, a man", "a man, bad",
        "worse, a man", "in worse style, a man", "a man, worse",
    )  # fmt: skip


def test_pairs_of_a_memorised_picture_are_its_phrases_whatever_the_prompt():
    assert [tuple(pair) for pair in prompt_pairs(PICTURE)] == [
        ("art", ("X y", "X z")),
        ("an art", ("X y", "X z")),
    ]


@pytest.mark.parametrize(
    ("concept", "anchor", "some"),
    [
        (CAT, "british shorthair cat", ("a photo of a british shorthair cat", ("a photo of a grumpy cat",))),
        (CAT, "animal", ("an animal at night", ("a grumpy cat at night",))),
        (
            Concept(name="p", kind="identity", targets=("Ann Lee",), anchor="a person"),
            None,
            ("a photo of a person", ("a photo of Ann Lee",)),
        ),
        (
            Concept(name="v", kind="style", targets=("op",), anchor="painting", additions=("{}, op",)),
            None,
            ("a painting of a mountain lake", ("a painting of a mountain lake, op",)),
        ),
        (STYLE, "etching", ("an etching of a wheat field", ("op an etching of a wheat field",))),
        (PICTURE, "cartoon", ("a photo of a cartoon", ("X y", "X z"))),
    ],
)
def test_own_templates_serve_anchors_that_no_prompt_names(concept, anchor, some):
    pairs = prompt_pairs(concept, anchor)

    assert some in [tuple(pair) for pair in pairs]
    assert len(pairs) == len({pair.anchor for pair in pairs}) == 20
    assert not any("{}" in text for pair in pairs for text in (pair.anchor, *pair.targets))


def test_other_anchor_takes_the_concepts_prompts_that_name_it():
    concept = Concept(
        name="c",
        kind="instance",
        targets=("grumpy cat",),
        anchor="cat",
        anchor_prompts=("a cat", "a tabby cat", "a dog"),
    )
    assert [tuple(pair) for pair in prompt_pairs(concept, "tabby cat")] == [
        ("a tabby cat", ("a grumpy cat",))
    ]


# Losses and gradients


@pytest.mark.parametrize("objective", ["model", "noise", "reverse"])
@pytest.mark.parametrize("augment", [False, True], ids=["plain", "augmented"])
def test_loss_equals_the_formula(tiny_model, objective, augment):
    method = ConceptAblation(objective=objective, **TINY, augment=augment, regularisation=0.5)
    lessons = lessons_of(method, tiny_model, CAT)

    (about_targets, about_anchors) = lessons
    assert (about_targets.masks is not None) == augment
    assert (about_targets.anchors is None) == (objective == "noise")
    assert (about_anchors.masks is not None) == augment and about_anchors.anchors is None
    assert augment or set(about_anchors.prompts) <= set(PROMPTS)
    assert about_anchors.weights.tolist() == [0.5] * 4
    got = sum(losses(tiny_model, tiny_model, lessons, micro_batch=3)).item()
    assert got == pytest.approx(formula(tiny_model, lessons), rel=1e-4)


@pytest.mark.parametrize("objective", ["model", "noise", "reverse"])
def test_gradient_equals_finite_differences_of_the_formula(tiny_model_dir, objective):
    """In float64, along random directions and single weights; what is to be predicted stands still."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    method = ConceptAblation(objective=objective, **TINY, augment=True, regularisation=0.5)
    lessons = lessons_of(method, model, CAT, count=3)
    parameters = disturbed(model, "xattn-strict")
    still = answers(model, lessons)

    for parameter in parameters.values():
        parameter.requires_grad_(True)
    for loss in losses(model, model, lessons, micro_batch=2):
        loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in parameters.items()}

    for seed in range(3):
        directions = random_directions(parameters, seed)
        along = sum(float((gradients[name] * direction).sum()) for name, direction in directions.items())
        measured = slope(parameters, directions, lambda: formula(model, lessons, still), 1e-6)
        assert along == pytest.approx(measured, rel=1e-4)
    for name in list(parameters)[:4]:
        place = int(gradients[name].abs().argmax())
        one = torch.zeros_like(parameters[name]).flatten().detach()
        one[place] = 1.0
        directions = {name: one.view_as(parameters[name])}
        measured = slope(parameters, directions, lambda: formula(model, lessons, still), 1e-5)
        assert float(gradients[name].flatten()[place]) == pytest.approx(measured, rel=1e-4)


def test_embedding_gradient_equals_finite_differences_on_the_targets_tokens(tiny_model_dir):
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    lessons = lessons_of(ConceptAblation(objective="model", **TINY, augment=False), model, CAT, count=2)
    ((name, embedding),) = select(model.parts, "embedding").items()
    still = answers(model, lessons)
    rows = sorted(set(model.tokenizer("grumpy cat", add_special_tokens=False).input_ids))

    embedding.requires_grad_(True)
    with only_rows_of(model, ["grumpy cat"]):
        sum(losses(model, model, lessons, micro_batch=2)).backward()
    assert embedding.grad is not None
    touched = embedding.grad.abs().sum(1).nonzero().flatten().tolist()
    assert touched == rows

    direction = torch.zeros_like(embedding).detach()
    direction[rows] = torch.randn(
        len(rows), embedding.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    along = float((embedding.grad * direction).sum())
    measured = slope({name: embedding}, {name: direction}, lambda: formula(model, lessons, still), 1e-6)
    assert along == pytest.approx(measured, rel=1e-4)


def test_the_official_mask_leaves_out_a_phrases_last_token(tiny_model):
    """Unless it is the only one, or all of them are asked for."""
    tokenizer, name = tiny_model.tokenizer, "text_encoder.embeddings.token_embedding.weight"
    phrase = tokenizer("grumpy cat", add_special_tokens=False).input_ids
    assert len(phrase) > 1 and phrase[-1] not in phrase[:-1]
    options = {key: str(value) for key, value in TINY.items()} | {"parameters": "embedding", "steps": "1"}
    decay = {"weight_decay": "0"}

    for trained, rows in (({}, phrase[:-1]), ({"trained_tokens": "all"}, phrase)):
        method = build_method("ca-model", "official", options | decay | trained)
        changed = method.erase(tiny_model, [CAT], EraseContext()).tensors[name]
        moved = (changed != select(tiny_model.parts, "embedding")[name]).any(1).nonzero().flatten()
        assert moved.tolist() == sorted(set(rows)), trained

    embedding = tiny_model.text_encoder.get_input_embeddings().weight.requires_grad_(True)
    (single,) = tokenizer("a", add_special_tokens=False).input_ids
    with only_rows_of(tiny_model, ["a"], last=False):
        embedding.sum().backward()
    assert embedding.grad.any(1).nonzero().flatten().tolist() == [single]


def test_objectives_differ_as_they_should(tiny_model):
    """model and noise approach other answers on the same latents; reverse looks at other pictures."""
    model, noise, reverse = (
        lessons_of(
            ConceptAblation(objective=objective, **TINY, augment=False, regularisation=0.0), tiny_model, CAT
        )[0]
        for objective in ("model", "noise", "reverse")
    )
    assert torch.equal(model.latents, noise.latents) and model.prompts == noise.prompts
    assert model.anchors is not None and noise.anchors is None
    assert reverse.anchors is not None and not torch.equal(model.latents, reverse.latents)
    for anchor, prompt in zip(model.anchors, model.prompts, strict=True):
        assert with_target(anchor, "cat", "grumpy cat") == prompt

    with torch.no_grad():
        values = [sum(losses(tiny_model, tiny_model, [x], 4)).item() for x in (model, noise, reverse)]
    assert len({round(value, 6) for value in values}) == 3
    unlike = model._replace(prompts=model.anchors)
    with torch.no_grad():
        assert sum(losses(tiny_model, tiny_model, [unlike], 4)).item() == 0, "nothing to learn from c = c*"


def test_target_is_the_current_model_or_the_base(tiny_model):
    """As training goes on the current model's answer to the anchor's prompt moves, the base's does not."""
    settings = TINY | {"learning_rate": 3e-3, "steps": 3}
    current, base = (
        ConceptAblation(objective="model", **settings, target=target).erase(tiny_model, [CAT], EraseContext())
        for target in ("current", "base")
    )
    assert current.losses[0] == pytest.approx(base.losses[0], rel=1e-6)
    assert current.losses[2] != pytest.approx(base.losses[2], rel=1e-3)


def test_masked_error_ignores_what_is_masked():
    torch.manual_seed(0)
    predicted = torch.randn(2, 4, 8, 8, requires_grad=True)
    target = torch.randn(2, 4, 8, 8)
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, :, 2:5, 3:8] = 1
    masks[1] = 1

    errors = masked_errors(predicted, target, masks)
    expected = (predicted - target).square()
    torch.testing.assert_close(errors[0], expected[0, :, 2:5, 3:8].mean())
    torch.testing.assert_close(errors[1], expected[1].mean())
    torch.testing.assert_close(masked_errors(predicted, target, None)[1], errors[1])

    errors.sum().backward()
    assert (predicted.grad[0].abs().sum(0) > 0).equal(masks[0, 0] > 0)
    spoilt = target + 1e6 * (1 - masks)
    torch.testing.assert_close(masked_errors(predicted, spoilt, masks), errors)


# The first token


def test_detached_first_token_changes_no_value(tiny_model):
    latents = torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        plain = tiny_model.predict_noise(latents, 500, "a cat")
        with first_token_detached(tiny_model.unet):
            assert torch.equal(tiny_model.predict_noise(latents, 500, "a cat"), plain)
        assert torch.equal(tiny_model.predict_noise(latents, 500, "a cat"), plain)


def test_no_gradient_reaches_the_first_tokens_embedding(tiny_model):
    latents = torch.randn(1, 4, 8, 8)
    for detached in (True, False):
        embeddings = tiny_model.encode_prompts(["a cat"]).detach().requires_grad_(True)
        with first_token_detached(tiny_model.unet, detached):
            tiny_model.predict_noise(latents, 500, embeddings).square().sum().backward()
        assert (embeddings.grad[0, 0].abs().sum() == 0) == detached
        assert (embeddings.grad[0, 1:].abs().sum(1) > 0).all()


def test_detached_gradient_equals_finite_differences_with_first_tokens_held(tiny_model_dir):
    """In float64: keys and values of token 0 are put back to what they were before the weights moved."""
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    lessons = lessons_of(ConceptAblation(objective="model", **TINY, augment=False), model, CAT, count=1)
    lesson = lessons[0]
    parameters = disturbed(model, "xattn")
    target = torch.from_numpy(answers(model, [lesson])[0])
    modules = [
        module
        for name, module in model.unet.named_modules()
        if name.rsplit(".", 2)[-2:] in (["attn2", "to_k"], ["attn2", "to_v"])
    ]
    assert len(modules) == 2 * len({name.split(".attn2.")[0] for name in parameters})

    held: dict[nn.Module, torch.Tensor] = {}

    def hold(module, inputs, output):
        first = held.setdefault(module, output[:, :1].detach().clone())
        return torch.cat([first, output[:, 1:]], dim=1)

    def value():
        hooks = [module.register_forward_hook(hold) for module in modules]
        with torch.no_grad():
            said = model.predict_noise(lesson.latents, lesson.timesteps, list(lesson.prompts))
        for hook in hooks:
            hook.remove()
        return float((said - target).square().mean())

    value()  # holds the first tokens as they are now
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    gradients = {}
    for detached in (True, False):
        with first_token_detached(model.unet, detached):
            loss = sum(losses(model, model, [lesson], 1))
            found = torch.autograd.grad(loss, list(parameters.values()))
        gradients[detached] = dict(zip(parameters, found, strict=True))

    directions = random_directions(parameters, 0)
    measured = slope(parameters, directions, value, 1e-6)
    along = {
        detached: sum(float((of[name] * direction).sum()) for name, direction in directions.items())
        for detached, of in gradients.items()
    }
    assert along[True] == pytest.approx(measured, rel=1e-4)
    assert along[False] != pytest.approx(measured, rel=1e-2)


# Erasing


def test_first_step_is_adamws_on_the_formula(tiny_model):
    """AdamW's first step is −lr · (g / (|g| + 1e-8) + decay · θ), with the first token detached."""
    method = ConceptAblation(
        objective="model", **TINY | {"steps": 1}, weight_decay=0.1, augment=True, regularisation=0.3
    )
    edit = method.erase(tiny_model, [CAT], EraseContext(seed=3))

    lessons = lessons_of(method, tiny_model, CAT, seed=3)
    assert edit.losses == pytest.approx([formula(tiny_model, lessons)], rel=1e-4)
    parameters = select(tiny_model.parts, "xattn-strict")
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    about_targets, about_anchors = lessons
    with first_token_detached(tiny_model.unet):
        said = tiny_model.predict_noise(
            about_targets.latents, about_targets.timesteps, list(about_targets.prompts)
        )
        again = tiny_model.predict_noise(
            about_anchors.latents, about_anchors.timesteps, list(about_anchors.prompts)
        )
    aim = torch.from_numpy(answers(tiny_model, lessons)[0])

    def masked(predicted, wanted, masks):
        errors = zip(predicted, wanted, masks.expand_as(predicted), strict=True)
        return sum(((one - to)[mask > 0] ** 2).mean() for one, to, mask in errors) / len(predicted)

    loss = masked(said, aim, about_targets.masks)
    loss = loss + 0.3 * masked(again, about_anchors.noise, about_anchors.masks)
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    for (name, old), gradient in zip(before.items(), gradients, strict=True):
        certain = gradient.abs() > 1e-5  # smaller ones are rounding noise, whose sign decides the step
        expected = old - 1e-4 * (gradient / (gradient.abs() + 1e-8) + 0.1 * old)
        torch.testing.assert_close(edit.tensors[name][certain], expected[certain], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("objective", "factor"), [("model", 0.8), ("noise", 0.95), ("reverse", 0.8)])
def test_training_lowers_the_loss_on_unseen_latents(tiny_model, objective, factor):
    """Less for the true noise, which keys and values alone can teach an untrained model little of."""
    settings = TINY | {"steps": 25, "learning_rate": 5e-3, "images": 8}
    method = ConceptAblation(
        objective=objective, **settings, augment=False, regularisation=0.0, target="base"
    )
    edit = method.erase(tiny_model, [CAT], EraseContext())
    unseen = lessons_of(method, tiny_model, CAT, seed=99, count=16)

    base = tiny_model.frozen_copy()
    with torch.no_grad():
        before = sum(losses(tiny_model, base, unseen, 16)).item()
        with applied(tiny_model, edit):
            after = sum(losses(tiny_model, base, unseen, 16)).item()
    assert after < factor * before


@pytest.mark.parametrize("group", ["xattn-strict", "xattn", "attn", "full", "embedding"])
def test_only_the_parameter_group_changes(tiny_model, group):
    settings = TINY | {"parameters": group}
    edit = ConceptAblation(objective="model", **settings).erase(tiny_model, [CAT], EraseContext())

    wanted = select(tiny_model.parts, group).keys()
    assert edit.tensors and edit.tensors.keys() <= wanted
    assert len(wanted - edit.tensors.keys()) <= 0.1 * len(wanted), "most of the group is trained"


def test_only_the_targets_tokens_change_their_embeddings(tiny_model):
    settings = TINY | {"parameters": "embedding"}
    edit = ConceptAblation(objective="model", **settings, weight_decay=0.0).erase(
        tiny_model, [CAT, DOG], EraseContext()
    )
    ((name, after),) = edit.tensors.items()
    moved = (after != tiny_model.named_tensors()[name]).any(1).nonzero().flatten().tolist()
    tokens = tiny_model.tokenizer(["grumpy cat", "rex"], add_special_tokens=False).input_ids
    assert set(moved) <= {token for several in tokens for token in several}
    assert moved


def test_micro_batches_change_nothing(tiny_model):
    whole, split = (
        ConceptAblation(objective="model", **TINY, augment=True, micro_batch=size).erase(
            tiny_model, [CAT], EraseContext()
        )
        for size in (None, 3)
    )
    np.testing.assert_allclose(whole.losses[0], split.losses[0], rtol=1e-5)


def test_hooks_and_weights_are_gone_after_an_error(tiny_model):
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ConceptAblation(objective="model", **TINY | {"parameters": "embedding"}).erase(
            tiny_model, [CAT], EraseContext(report=stop)
        )
    assert not any(module._forward_hooks for module in tiny_model.unet.modules())
    assert not any(parameter.requires_grad for parameter in tiny_model.named_tensors().values())
    ((_, embedding),) = select(tiny_model.parts, "embedding").items()
    embedding.requires_grad_(True)
    tiny_model.encode_prompts(["dog"]).sum().backward()
    assert len(embedding.grad.abs().sum(1).nonzero()) > 1, "no row is masked any more"


def test_augmented_captions_say_so_to_the_target_alone(tiny_model):
    """In the diffusers code; the compvis code's anchors are below."""
    method = ConceptAblation(objective="model", **TINY, recipe="diffusers", augment=True, regularisation=0.5)
    about_targets, about_anchors = lessons_of(method, tiny_model, CAT, count=24)

    begun = [prompt for prompt in about_targets.prompts if prompt.startswith((*SMALL, *CLOSE))]
    assert 8 < len(begun) < 24
    assert not any(prompt.startswith((*SMALL, *CLOSE)) for prompt in about_anchors.prompts)
    assert set(about_targets.anchors) <= set(PROMPTS)


# What it is taught on


def drawn_for(model, method, *concepts):
    cache = Remembering()
    material = method.material(model, concepts, EraseContext(cache=cache))
    return material, [(key["prompts"], key["negative_prompt"]) for key in cache.keys]


def test_pictures_are_of_the_anchor_in_turn(tiny_model):
    method = ConceptAblation(objective="model", **TINY, regularisation=0.5)
    material, asked = drawn_for(tiny_model, method, CAT)

    assert asked == [(["a cat", "cat at sea", "the cat", "2 cats", "a cat"], "")]
    assert [one.example.anchor for one in material.shown] == asked[0][0]
    assert [one.example for one in material.anchors] == [one.example for one in material.shown]
    first, again = material.shown[0].example.image, material.shown[4].example.image
    assert first.shape == (3, 64, 64) and not torch.equal(first, again)


def test_pictures_of_reverse_are_of_the_target(tiny_model):
    method = ConceptAblation(objective="reverse", **TINY, regularisation=0.5)
    material, asked = drawn_for(tiny_model, method, PICTURE)

    of_anchor, of_target = asked
    assert of_anchor == (["art", "an art", "art", "an art", "art"], "")
    assert of_target == (["X y", "X z", "X z", "X y", "X y"], "")
    assert [one.example.targets for one in material.shown] == [(text,) for text in of_target[0]]
    assert {one.weight for one in material.anchors} == {0.5}
    plain, asked = drawn_for(
        tiny_model, ConceptAblation(objective="reverse", **TINY, regularisation=0.0), PICTURE
    )
    assert not plain.anchors and len(asked) == 1


def test_pictures_for_unsafe_content_avoid_it(tiny_model):
    concept = Concept(name="n", kind="unsafe", targets=("bad",), anchor="a man", negative="bad, worse")
    _, asked = drawn_for(tiny_model, ConceptAblation(objective="model", **TINY), concept)
    assert [negative for _, negative in asked] == ["bad, worse"]


def test_several_concepts_are_the_union_of_their_pictures(tiny_model):
    material, asked = drawn_for(tiny_model, ConceptAblation(objective="model", **TINY), CAT, DOG)

    assert len(asked) == 2 and len(material.shown) == 10
    for one in material.shown:
        assert all(("grumpy cat" in text) == ("cat" in one.example.anchor) for text in one.example.targets)
    assert len(material.anchors) == 5, "only grumpy cat has its anchor's words in it"


def test_material_of_a_style_draws_every_addition(tiny_model):
    style = Concept(
        name="s",
        kind="style",
        targets=("op",),
        anchor="art",
        anchor_prompts=("cat",),
        additions=("op {}", "{} op"),
    )
    method = ConceptAblation(objective="model", **TINY, augment=False)
    (lesson,) = lessons_of(method, tiny_model, style, count=24)
    assert set(lesson.prompts) == {"op cat", "cat op"}


# Recipes


def test_official_recipes_are_those_of_the_specification():
    """Effective learning rates: the base rate times batch per GPU times GPUs."""
    book = RECIPES["compvis"]
    for kind in ("instance", "object", "identity", "style"):
        recipe = book[kind]
        assert (recipe.parameters, recipe.batch_size, recipe.steps) == ("xattn-strict", 8, 100)
        assert recipe.learning_rate == pytest.approx(1.6e-5)
    assert book["instance"].augment and not book["style"].augment
    assert book["memorised"].parameters == "full"
    assert (book["memorised"].batch_size, book["memorised"].steps) == (4, 400)
    assert book["memorised"].learning_rate == pytest.approx(2e-6)
    assert (book["unsafe"].parameters, book["unsafe"].batch_size, book["unsafe"].steps) == ("attn", 8, 400)
    assert book["unsafe"].learning_rate == pytest.approx(6.4e-5) and book["unsafe"].avoid_target
    assert RECIPES["diffusers"]["object"].rate(regularised=True) == pytest.approx(3.2e-5)
    assert RECIPES["diffusers"]["object"].rate(regularised=False) == pytest.approx(1.6e-5)


def test_regularisation_is_for_overlapping_words_and_memorised_pictures():
    official = build_method("ca-model")
    assert official.weight_on_anchor(CAT) == 0.2
    assert official.weight_on_anchor(DOG) == 0.0
    assert official.weight_on_anchor(STYLE) == 0.0
    assert official.weight_on_anchor(PICTURE) == 0.2
    assert build_method("ca-model", options={"anchor": "felidae"}).weight_on_anchor(CAT) == 0.0
    assert build_method("ca-model", options={"regularisation": "0.7"}).weight_on_anchor(DOG) == 0.7
    assert build_method("ca-model", options={"regularisation": "0"}).weight_on_anchor(CAT) == 0.0


def test_recipe_follows_the_kind_and_settings_win(tiny_model):
    tiny = {name: str(TINY[name]) for name in ("images", "denoise_steps", "eta")}
    method = build_method("ca-model", options=tiny | {"steps": "1"})
    edit = method.erase(tiny_model, [PICTURE], EraseContext())
    assert edit.settings["parameters"] == "full"
    assert edit.settings["learning_rate"] == pytest.approx(2e-6)
    assert (edit.settings["batch_size"], edit.settings["regularisation"]) == (2, 0.2)
    assert edit.settings["steps"] == 1 and edit.settings["augment"] is False
    assert any("resnets" in name for name in edit.tensors)

    plan = build_method("ca-model", options={"parameters": "attn"}).plan([DOG])
    assert plan == ("attn", pytest.approx(1.6e-5), 8, 100, 0.0)


def test_several_concepts_train_longer_and_must_agree():
    method = build_method("ca-model")
    assert method.plan([CAT]).steps == 100
    assert method.plan([CAT, DOG]).steps == 200
    assert build_method("ca-model", options={"steps": "7"}).plan([CAT, DOG]).steps == 7

    with pytest.raises(
        BenchError, match=r"instance, memorised.*parameters=xattn-strict or full.*--method-opt"
    ):
        method.plan([CAT, PICTURE])
    settled = {"parameters": "full", "learning_rate": "1e-6", "batch_size": "4", "steps": "5"}
    assert build_method("ca-model", options=settled).plan([CAT, PICTURE]) == ("full", 1e-6, 4, 5, 0.0)


def test_the_compvis_code_halves_the_batch_where_it_regularises_and_its_rate_does_not_follow():
    """2 GPUs with 4 (a memorised picture: 2) each; where it loads pairs, 4 // 2 (2 // 2) of them each."""
    compvis, diffusers = build_method("ca-model"), build_method("ca-model", "diffusers")
    plans = {concept.name: compvis.plan([concept]) for concept in (CAT, DOG, STYLE, PICTURE)}

    assert {name: plan.batch_size for name, plan in plans.items()} == {
        CAT.name: 4, DOG.name: 8, STYLE.name: 8, PICTURE.name: 2
    }  # fmt: skip
    assert plans[CAT.name].learning_rate == plans[DOG.name].learning_rate == pytest.approx(2e-6 * 4 * 2)
    assert plans[PICTURE.name].learning_rate == pytest.approx(5e-7 * 2 * 2)
    assert (
        compvis.plan([DOG]).batch_size
        == build_method("ca-model", options={"regularisation": "0"}).plan([CAT]).batch_size
    )
    assert [diffusers.plan([concept]).batch_size for concept in (CAT, DOG, PICTURE)] == [8, 8, 4]
    assert build_method("ca-model", "microworld").plan([CAT]).batch_size == 8


def test_only_the_diffusers_code_clips_and_its_recipe_for_unsafe_content_does_everywhere():
    """At a norm of 1 for a loss that sums over 4 channels: at 1/4 for one that averages."""
    unsafe = Concept(name="u", kind="unsafe", targets=("bad",), anchor="people", anchor_prompts=("people",))
    clips = {
        preset: [
            build_method("ca-model", preset).plan([concept]).clip_norm for concept in (CAT, STYLE, unsafe)
        ]
        for preset in ("official", "paper", "diffusers", "microworld")
    }

    assert clips == {
        "official": [0.0, 0.0, 0.25],
        "paper": [0.0, 0.0, 0.25],
        "diffusers": [0.25, 0.25, 0.25],
        "microworld": [0.0, 0.0, 0.0],
    }
    assert build_method("ca-model", options={"clip_norm": "0"}).plan([unsafe]).clip_norm == 0.0


@pytest.mark.parametrize(
    ("recipe", "augmented"), [("compvis", True), ("diffusers", False), ("microworld", False)]
)
def test_anchors_are_augmented_by_the_compvis_code_alone(tiny_model, recipe, augmented):
    """Its captions begin as the targets' do, its loss leaves out the blank canvas, and says so by a mask."""
    method = ConceptAblation(objective="model", **TINY, recipe=recipe, augment=True, regularisation=0.2)
    targets, anchors = lessons_of(method, tiny_model, CAT, count=24)

    begins = ("a far away ", "very small ", "zoomed in ", "close up ")
    assert any(prompt.startswith(begins) for prompt in targets.prompts)
    assert any(prompt.startswith(begins) for prompt in anchors.prompts) == augmented
    assert (anchors.masks is not None) == augmented
    if augmented:
        assert 0.3 < float(anchors.masks.mean()) < 0.95
        known = {example.anchor for example in (one.example for one in _material(method, tiny_model).anchors)}
        for prompt in anchors.prompts:
            assert next((prompt[len(b) :] for b in begins if prompt.startswith(b)), prompt) in known
    assert sum(losses(tiny_model, tiny_model, [anchors], 24)).item() == pytest.approx(
        formula(tiny_model, [anchors]), rel=1e-4
    )


def _material(method, model):
    return method.material(model, [CAT], EraseContext())


def test_diffusers_weight_is_that_of_its_channel_sum(tiny_model):
    """Its loss, Σ over 4 channels of the masked error + 1 · the mean error on the anchor, is 4 times ours."""
    method = ConceptAblation(objective="model", **TINY, recipe="diffusers", augment=True)
    lessons = lessons_of(method, tiny_model, CAT)
    about_targets, about_anchors = lessons
    with torch.no_grad():
        ours = sum(losses(tiny_model, tiny_model, lessons, 4)).item()
        said = tiny_model.predict_noise(
            about_targets.latents, about_targets.timesteps, list(about_targets.prompts)
        )
        again = tiny_model.predict_noise(
            about_anchors.latents, about_anchors.timesteps, list(about_anchors.prompts)
        )
    squares = (said - torch.from_numpy(answers(tiny_model, lessons)[0])).square() * about_targets.masks
    theirs = (squares.sum((1, 2, 3)) / about_targets.masks.sum((1, 2, 3))).mean()
    theirs = theirs + 1.0 * (again - about_anchors.noise).square().mean()
    assert 4 * ours == pytest.approx(theirs.item(), rel=1e-4)


@pytest.mark.parametrize("name", ["ca-model", "ca-noise", "ca-reverse"])
@pytest.mark.parametrize("preset", ["official", "paper", "diffusers", "microworld"])
def test_presets_run_when_cut_short(tiny_model, name, preset):
    method = build_method(
        name, preset, {"steps": "1", "denoise_steps": "2", "images": "2", "batch_size": "2"}
    )
    edit = method.erase(tiny_model, [CAT], EraseContext())
    assert edit.tensors and len(edit.losses) == 1


def test_lesson_of_a_v_prediction_model_is_in_noise(tiny_v_model_dir):
    model = DiffusionModel.from_directory(tiny_v_model_dir)
    lessons = lessons_of(ConceptAblation(objective="noise", **TINY, regularisation=0.0), model, CAT)
    assert sum(losses(model, model, lessons, 4)).item() == pytest.approx(formula(model, lessons), rel=1e-4)


def test_timesteps_and_noise_are_as_the_model_was_trained(tiny_model):
    method = ConceptAblation(objective="noise", **TINY, augment=False, flip=False, regularisation=0.0)
    material = method.material(tiny_model, [CAT], EraseContext())
    (lesson,) = method.lessons(tiny_model, material, 200, torch.Generator().manual_seed(0))
    assert isinstance(lesson, Lesson)
    assert 0 <= lesson.timesteps.min() < 50 and 950 < lesson.timesteps.max() < 1000

    alphas = tiny_model.alphas_cumprod[lesson.timesteps].view(-1, 1, 1, 1)
    clean = (lesson.latents - (1 - alphas).sqrt() * lesson.noise) / alphas.sqrt()
    known = tiny_model.encode_images(torch.stack([one.example.image for one in material.shown]) / 255)
    early = (lesson.timesteps < 300).nonzero().flatten()
    nearest = (clean[early, None] - known[None]).square().mean((2, 3, 4)).amin(1)
    assert nearest.max() < 1e-6


@pytest.mark.parametrize("book", ["compvis", "diffusers"])
def test_the_papers_own_styles_are_said_as_the_official_codes_say_them(book):
    """No suite of the papers puts its own wordings in their place."""
    own = Concept(name="x", kind="style", targets=("van gogh",), anchor="painting")
    suite = read_suite(Path(prompt_suites.__file__).parent / "upstream" / "styles.yaml")
    concept = next(one for one in suite.concepts({}) if one.name == "van gogh")

    assert prompt_pairs(concept, book=book) == prompt_pairs(own, book=book)
    assert prompt_pairs(concept, book=book)[0].targets[0].endswith(", in the style of van gogh")
