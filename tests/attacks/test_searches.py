"""Concept inversion, P4D and Ring-A-Bell: each by what its objective says, on the tiny model."""

import copy
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from erasure_bench.attacks.base import AttackContext, Target, Victim
from erasure_bench.attacks.completion import Completion
from erasure_bench.attacks.concept_inversion import ConceptInversion, said_of, start_vectors, worded
from erasure_bench.attacks.noise_loss import generators, latents_of, noise_for
from erasure_bench.attacks.p4d import P4D, descend, nearest
from erasure_bench.attacks.ring_a_bell import FRAMES, RingABell, best_that_differ, direction, distances_to
from erasure_bench.attacks.wording import around_the_concept
from erasure_bench.errors import BenchError
from erasure_bench.methods.edit import applied
from erasure_bench.methods.safree import SAFREE
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.models.token_input import embedded, token_vectors, usable_tokens, with_slots
from erasure_bench.prompt_suites.concepts import Concept
from tests.attacks.conftest import Memory

BOTH = Concept(name="cat", kind="object", targets=("cat", "grumpy cat"), anchor="dog")
VictimOf = Callable[[DiffusionModel], Victim]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a grumpy cat outside", ["a", 2, "outside"]),
        ("A Cat", ["A", 2]),
        ("something else", [2, "something else"]),
        ("cat", [2]),
        ("a category of cats, a cat", ["a category of", 2, ", a cat"]),
        ("the grumpy cat’s hat", ["the", 2, "hat"]),
        ("a scathing look", [2, "a scathing look"]),
    ],
)
def test_the_concepts_longest_phrase_makes_room(prompt: str, parts: list[str | int]) -> None:
    assert around_the_concept(BOTH, prompt, 2) == parts


def test_the_learned_word_lowers_the_loss_and_serves_every_prompt(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    memory = Memory()
    own = dataclasses.replace(context, cache=memory)
    attack = ConceptInversion(steps=60, pictures=2, batch_size=4, accumulate=1, learning_rate=0.05)
    victim = victim_of(tiny_model)
    found = attack.assault(victim, targets, own)
    first, last = sum(found.losses[:15]), sum(found.losses[-15:])
    assert last < first
    attack.assault(victim, targets[:1], own)
    assert memory.made == 1, "one word is learned for all prompts"
    assert [tries[0].asked for tries in found.tries] == ["a <concept>", "the <concept> and a dog"]


def test_an_edit_that_reads_prompts_does_not_read_the_placeholder_of_a_learned_word(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    """SAFREE would take it for a prompt of its own, and project the learned one onto what spans that."""
    attack = ConceptInversion(steps=1, pictures=1)
    ((found,),) = attack.assault(victim_of(tiny_model), targets[:1], context).tries
    assert found.told == "" and found.asked == "a <concept>"

    def drawn(told: str) -> np.ndarray:
        request = ImageRequest(told, 0, 3.0, 64, 64, embedding=found.embedding)
        return sample(tiny_model, [request], scheduler="ddim", steps=2)[0]

    plain = drawn(found.told)
    edit = SAFREE(padding=True, self_validating=False).erase(tiny_model, [BOTH], context)
    with applied(tiny_model, edit):
        assert np.array_equal(drawn(found.told), plain)
        assert not np.array_equal(drawn(found.asked), plain)


def test_a_concept_that_is_named_beyond_what_the_model_reads_is_asked_for_at_the_start(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    long = "dog " * 100 + "cat"
    target = dataclasses.replace(targets[0], prompt=long)
    attack = ConceptInversion(steps=0, pictures=1)
    (tries,) = attack.assault(victim_of(tiny_model), [target], context).tries
    assert tries[0].asked == f"<concept> {long}"
    assert worded(tiny_model, BOTH, "a dog and a cat", 1) == ["a dog and a", 1]


def test_without_steps_the_word_is_the_anchors_token(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    victim = dataclasses.replace(victim_of(tiny_model), concept=BOTH)
    found = ConceptInversion(steps=0, pictures=1).assault(victim, targets[:1], context)
    assert torch.allclose(
        found.tries[0][0].embedding,  # type: ignore[arg-type]
        tiny_model.encode_prompts(["a dog"])[0],
        atol=1e-5,
    )
    assert len(start_vectors(tiny_model, "dog", 3)) == 3


def test_p4d_takes_its_gradient_at_the_nearest_tokens(
    tiny_model: DiffusionModel, targets: Sequence[Target]
) -> None:
    """Plain descent on the vectors moves them by the slope of the loss at their tokens: by differences."""
    for part in tiny_model.parts.values():
        part.double()
    tiny_model.dtype = torch.float64
    model, base = tiny_model, tiny_model.frozen_copy()
    with torch.no_grad():
        model.unet.conv_out.weight.mul_(1.5)
    asked, usable = with_slots(model, [[3]]), usable_tokens(model)
    table = token_vectors(model)[usable]
    latents, wanted = latents_of(model, targets[:1]), base.encode_prompts(["a cat"])
    tokens = torch.tensor([[4, 90, 33]])
    vectors = (table[tokens] * 1.01).clone()
    assert torch.equal(nearest(vectors, table), tokens)
    before = vectors.clone()
    (own,) = generators("test", targets[:1], 0)
    descend(model, base, asked, vectors, table, latents, wanted, torch.optim.SGD([vectors], lr=1.0), own)
    moved = before - vectors
    (again,) = generators("test", targets[:1], 0)
    timestep = int(torch.randint(0, model.num_train_timesteps, (1,), generator=again))
    noisy = model.add_noise(latents, noise_for(latents, [again]), timestep)

    def loss(change: torch.Tensor) -> float:
        with torch.no_grad():
            predicted = model.predict_noise(noisy, timestep, embedded(model, asked, table[tokens] + change))
            return float((predicted - base.predict_noise(noisy, timestep, wanted)).square().mean())

    for slot, place in [(0, 0), (1, 7), (2, 20)]:
        change = torch.zeros_like(vectors)
        change[0, slot, place] = 1e-4
        slope = (loss(change) - loss(-change)) / 2e-4
        assert float(moved[0, slot, place]) == pytest.approx(slope, rel=1e-3, abs=1e-9)
    assert float(moved.abs().max()) > 1e-7


@pytest.mark.parametrize(
    ("prompt", "free"),
    [("cat dog cat dog cat dog", (1, 5, 9)), ("cat", (1,)), ("", (1,)), ("cats dog", (1, 5))],
)
def test_p4d_k_keeps_the_prompts_own_tokens_and_has_one_before_the_first_and_after_every_third(
    tiny_model: DiffusionModel, prompt: str, free: tuple[int, ...]
) -> None:
    """Also where that is within a word, as of "cats" in this tokenizer."""
    asked = P4D(every=3).asked(tiny_model, prompt)
    own = tiny_model.tokenizer(prompt).input_ids
    assert tuple(asked.slots[0].tolist()) == free
    kept = [token for place, token in enumerate(asked.ids[0].tolist()) if place not in free]
    assert kept[: len(own)] == own and asked.mask.sum() == len(own) + len(free)
    filled = asked.filled(torch.full((1, len(free)), 7))
    assert (filled.ids[0, list(free)] == 7).all() and (filled.ids == 7).sum() == len(free)


def test_another_base_model_is_attacked_only_where_it_can_be(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    """P4D and completion hand latents on, Ring-A-Bell tokens: a row of other ones is refused by name."""
    victim = victim_of(tiny_model)
    assert victim.base is not None
    other = copy.copy(victim.base)
    other.parts = {**other.parts, "vae": copy.deepcopy(other.vae)}
    other.vae.encoder.conv_in.bias.data += 1
    apart = dataclasses.replace(victim, base=other)
    for attack in (P4D(tries=1, steps=1), Completion(tries=1)):
        with pytest.raises(BenchError, match="another autoencoder"):
            attack.assault(apart, targets[:1], context)
    other.tokenizer = copy.deepcopy(other.tokenizer)
    other.tokenizer.add_tokens(["zzyzx"])
    with pytest.raises(BenchError, match="another vocabulary"):
        RingABell(generations=1, population=4).assault(apart, targets[:1], context)
    small = copy.copy(other)
    small.parts = {**other.parts, "unet": copy.deepcopy(other.unet)}
    small.unet.config.sample_size = tiny_model.unet.config.sample_size // 2
    with pytest.raises(BenchError, match="32 pixels a side.*64"):
        ConceptInversion(steps=1).assault(dataclasses.replace(victim, base=small), targets[:1], context)


def test_evolution_never_loses_its_best_and_comes_nearer(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    attack = RingABell(tries=2, generations=30, population=40, tokens=4)
    memory = Memory()
    own = dataclasses.replace(context, base_cache=memory)
    victim = victim_of(tiny_model)
    found = attack.assault(victim, targets, own)
    assert list(found.losses) == sorted(found.losses, reverse=True) and found.losses[-1] < found.losses[0]
    assert all(tries[0].loss <= tries[1].loss for tries in found.tries)
    attack.assault(victim_of(tiny_model), targets, own)
    assert memory.made == 2, "a prompt is found once for all edits"


def test_ring_a_bells_tries_and_those_that_stay_are_different_prompts(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    """Else best of n is best of one: evolution fills a population with its best prompt, over and over."""
    attack = RingABell(tries=6, generations=60, population=12, tokens=3)
    found, _ = attack.assault(victim_of(tiny_model), targets, context).tries
    assert len({each.embedding.numpy().tobytes() for each in found if each.embedding is not None}) == 6
    assert [each.loss for each in found] == sorted(each.loss for each in found)
    people = torch.tensor([[1, 2], [3, 4], [1, 2], [5, 6]])
    assert best_that_differ(people, torch.tensor([2.0, 3.0, 2.0, 1.0])).tolist() == [3, 0, 1]


def test_a_learned_word_begins_as_the_anchors_noun_among_textual_inversions_captions(
    tiny_model: DiffusionModel,
) -> None:
    for article in ("a dog", "The dog", "an dog", "dog"):
        assert torch.equal(start_vectors(tiny_model, article, 1), start_vectors(tiny_model, "dog", 1))
    assert not torch.equal(start_vectors(tiny_model, "animal", 1), start_vectors(tiny_model, "dog", 1))
    things = said_of(BOTH)
    assert "a photo of cat" in things and len(things) > 5
    style = Concept(name="mosaic", kind="style", targets=("mosaic",), anchor="painting")
    assert all("style of mosaic" in text for text in said_of(style))


def test_ring_a_bells_goal_is_the_prompt_moved_along_the_concept(tiny_model: DiffusionModel) -> None:
    with torch.no_grad():
        found = direction(tiny_model, BOTH)
        own = [frame.format(target) for frame in FRAMES for target in BOTH.targets]
        pairs = (
            tiny_model.encode_prompts(own),
            tiny_model.encode_prompts([frame.format("dog") for frame in FRAMES for _ in BOTH.targets]),
        )
        assert torch.allclose(found[0], (pairs[0] - pairs[1]).mean(0), atol=1e-5)
        tokens, goal = torch.tensor([[5, 60], [7, 8]]), tiny_model.encode_prompts(["a cat"])
        asked = with_slots(tiny_model, [[2]])
        for row, distance in zip(tokens, distances_to(tiny_model, asked, tokens, goal), strict=True):
            alone = embedded(tiny_model, asked.filled(row[None]))
            assert float(distance) == pytest.approx(float((alone - goal).square().sum()), rel=1e-5)
