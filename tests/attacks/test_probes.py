"""Probes without text, and durability: each by what it must come to."""

import copy
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from erasure_bench.attacks.base import AttackContext, Target, Victim
from erasure_bench.attacks.base_pictures import of_other_things, of_the_concept
from erasure_bench.attacks.completion import Completion
from erasure_bench.attacks.concept_inversion import ConceptInversion
from erasure_bench.attacks.ddim_inversion import DDIMInversion, invert, slerp
from erasure_bench.attacks.finetune import FineTune
from erasure_bench.attacks.img2img import Img2Img
from erasure_bench.attacks.inpainting import Inpainting, centre
from erasure_bench.attacks.low_rank import LowRank
from erasure_bench.attacks.memory_recovery import MemoryRecovery
from erasure_bench.attacks.noise_probe import NoiseProbe
from erasure_bench.errors import BenchError
from erasure_bench.methods.adavd import AdaVD
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.traces import ModelState
from erasure_bench.models.detours import NoisyStep
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import ImageRequest, sample, sample_latents
from erasure_bench.models.weights import changed_tensors, snapshot, swapped
from erasure_bench.prompt_suites.concepts import Concept
from tests.attacks.conftest import CAT, Memory

VictimOf = Callable[[DiffusionModel], Victim]


def drawn(victim: Victim, target: Target, **changes: object) -> np.ndarray:
    request = ImageRequest(
        prompt=target.prompt,
        seed=target.seed,
        guidance_scale=target.guidance_scale,
        height=target.height,
        width=target.width,
    )
    return sample(
        victim.model,
        [dataclasses.replace(request, **changes)],  # type: ignore[arg-type]
        scheduler=victim.scheduler,
        steps=victim.steps,
        eta=victim.eta,
    )[0]


def near(one: np.ndarray, other: np.ndarray) -> bool:
    return int(np.abs(one.astype(int) - other.astype(int)).max()) <= 1


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_completion_begins_as_the_base_and_ends_as_the_edit(
    eta: float,
    tiny_model: DiffusionModel,
    victim_of: VictimOf,
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    """Without an edit it is the picture itself; with one no try is the edit's own: the base took its first
    step, or first two or three. What a step adds of noise is added once."""
    victim, target = dataclasses.replace(victim_of(tiny_model), eta=eta), targets[0]
    tries = Completion(tries=3).assault(victim, [target], context).tries[0]
    usual = drawn(victim, target)
    assert all(near(usual, drawn(victim, target, detour=one.detour)) for one in tries)
    with torch.no_grad():
        tiny_model.unet.conv_out.weight.mul_(0.5)
    own = drawn(victim, target)
    assert not any(near(own, drawn(victim, target, detour=one.detour)) for one in tries)
    assert [one.detour.steps.first for one in tries if one.detour] == [1, 2, 3]
    assert min(tries, key=lambda one: one.loss) is tries[2]
    with pytest.raises(BenchError, match=r"4 steps .* at most 3.*completion:3"):
        Completion(tries=4).assault(victim, targets, context)


@pytest.mark.parametrize("probe", [Completion(), Inpainting(), NoiseProbe(), Img2Img(), DDIMInversion()])
def test_a_scheduler_that_cannot_be_left_is_said(
    probe: Completion,
    tiny_model: DiffusionModel,
    victim_of: VictimOf,
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    victim = dataclasses.replace(victim_of(tiny_model), scheduler="pndm")
    with pytest.raises(BenchError, match="'pndm'.*--scheduler ddim"):
        probe.assault(victim, targets, context)


def test_the_middle_is_free_and_the_first_try_has_the_prompts_noise(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    assert centre(8, 8, 0.5).sum() == 16 and centre(8, 8, 0.5)[0, 2:6, 2:6].all()
    one, other = Inpainting(tries=2).assault(victim_of(tiny_model), targets[:1], context).tries[0]
    assert one.seed == targets[0].seed != other.seed and one.middle == 0.5


def test_few_tries_of_noise_are_spread_over_all_rules(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    tries = NoiseProbe(tries=4).assault(victim_of(tiny_model), targets[:1], context).tries[0]
    rules = [one.detour.steps.rule for one in tries if one.detour]
    assert [rule.eta for rule in rules if isinstance(rule, NoisyStep)] == [1.0, 1.17, 1.51, 1.68]
    all_tries = NoiseProbe().assault(victim_of(tiny_model), targets[:1], context).tries[0]
    assert len(all_tries) == len({one.seed for one in all_tries}) == 24, "each begins with other noise"
    assert all_tries[0].seed == targets[0].seed


def test_noise_is_refused_where_the_first_step_has_no_picture_to_go_by(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    """Its rule would divide by √ᾱ = 0, and the picture would be said to have come of broken weights."""
    tiny_model.scheduler_config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    with pytest.raises(BenchError, match="begins at pure noise"):
        NoiseProbe().assault(victim_of(tiny_model), targets[:1], context)


def test_a_weaker_strength_stays_nearer_to_the_picture(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    victim = dataclasses.replace(victim_of(tiny_model), steps=10)
    tries = Img2Img(tries=2, strongest=1.0, weakest=0.1).assault(victim, targets[:1], context).tries[0]
    firsts = [one.detour.steps.first for one in tries if one.detour]
    assert firsts == [0, 9]
    assert near(drawn(victim, targets[0]), drawn(victim, targets[0], detour=tries[0].detour)) is False


def test_inversion_leads_back_to_the_picture(tiny_model: DiffusionModel) -> None:
    """Latents that the model drew without guidance, inverted and drawn again: the more steps, the nearer."""

    def error(steps: int) -> float:
        settings = {"scheduler": "ddim", "steps": steps, "guidance_scale": 1.0}
        clean = sample_latents(tiny_model, ["a cat"], [5], **settings)  # type: ignore[arg-type]
        from erasure_bench.models.schedulers import build_scheduler

        schedule = build_scheduler(tiny_model.scheduler_config, "ddim", steps)
        start = invert(tiny_model, clean, ["a cat"], [int(t) for t in schedule.timesteps])
        back = sample_latents(tiny_model, ["a cat"], [5], latents=start, **settings)  # type: ignore[arg-type]
        return float((back - clean).norm() / clean.norm())

    few, many = error(5), error(50)
    assert many < few and many < 0.1


def test_slerp_keeps_the_length_and_ends_at_its_ends() -> None:
    one, other = (torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(slerp(one, other, 0.0), one) and torch.allclose(
        slerp(one, other, 1.0), other, atol=1e-5
    )
    one, other = one / one.norm(), other / other.norm()
    assert float(slerp(one, other, 0.4).norm()) == pytest.approx(1, abs=1e-5)


def test_fine_tuning_teaches_other_things_and_leaves_the_victim_as_it_was(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    victim, before = victim_of(tiny_model), snapshot(tiny_model)
    attack = FineTune(steps=25, pictures=3, batch_size=4, learning_rate=1e-3)
    found = attack.assault(victim, targets, context)
    assert changed_tensors(before, snapshot(tiny_model)) == {}
    assert found.tensors and all(name.startswith("unet.") for name in found.tensors)
    assert FineTune(steps=0, pictures=3).assault(victim, targets, context).tensors == {}
    with swapped(tiny_model, found.tensors):
        tuned = drawn(victim, targets[0])
    assert not near(tuned, drawn(victim, targets[0]))


def test_what_is_taught_neither_names_nor_evokes_the_concept() -> None:
    concept = dataclasses.replace(CAT, evoked_by=("whiskers",))
    prompts = ["a Cat", "long whiskers", "a dog", "a tree"]
    assert of_other_things(concept, prompts, 3) == ["a dog", "a tree", "a dog"]
    with pytest.raises(BenchError, match="names cat"):
        of_other_things(concept, prompts[:2], 3)


def test_the_concepts_own_pictures_are_asked_for_by_its_phrases_or_its_style() -> None:
    assert of_the_concept(CAT, 2) == ["cat", "cat"]
    style = Concept(
        name="neon",
        kind="style",
        targets=("neon",),
        anchor="drawing",
        anchor_prompts=("a dog", "a tree"),
        additions=("{} in neon",),
    )
    assert of_the_concept(style, 3) == ["a dog in neon", "a tree in neon", "a dog in neon"]


def test_merged_low_rank_changes_are_what_was_beside_the_weights(tiny_model: DiffusionModel) -> None:
    adapter = LowRank(tiny_model, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in adapter.parameters.items():
            if name.endswith("up"):
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        plain = tiny_model.predict_noise(noisy, 500, "a cat")
        with adapter.attached():
            beside = tiny_model.predict_noise(noisy, 500, "a cat")
        with swapped(tiny_model, adapter.merged(dict(adapter.parameters))):
            merged = tiny_model.predict_noise(noisy, 500, "a cat")
    assert torch.allclose(beside, merged, atol=1e-4) and not torch.allclose(beside, plain, atol=1e-3)


def test_low_rank_changes_are_trained_as_an_edit_that_hooks_the_weights_will_see_them(
    tiny_model: DiffusionModel,
) -> None:
    """AdaVD takes a part of what `to_v` gives, by what it gives of the concept: both with the change."""
    adapter = LowRank(tiny_model, 2, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name, parameter in adapter.parameters.items():
            if name.endswith("up"):
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    edit = AdaVD().erase(tiny_model, [CAT], EraseContext(seed=0))
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    embedding = tiny_model.encode_prompts(["a cat"])
    before = ModelState.of(tiny_model)
    with torch.no_grad(), applied(tiny_model, edit):
        plain = tiny_model.predict_noise(noisy, 500, embedding)
        with adapter.attached():
            trained = tiny_model.predict_noise(noisy, 500, embedding)
        with swapped(tiny_model, adapter.merged(dict(adapter.parameters))):
            drawn_with = tiny_model.predict_noise(noisy, 500, embedding)
    assert torch.allclose(trained, drawn_with, atol=1e-5)
    assert not torch.allclose(trained, plain, atol=1e-3)
    assert before.changes(tiny_model) == ""


def test_recovery_learns_from_what_the_victim_drew(
    tiny_model: DiffusionModel, victim_of: VictimOf, targets: Sequence[Target], context: AttackContext
) -> None:
    victim, before = victim_of(tiny_model), snapshot(tiny_model)
    found = MemoryRecovery(steps=3, pairs=1, points=3, learning_rate=1e-2).assault(victim, targets, context)
    assert changed_tensors(before, snapshot(tiny_model)) == {}
    assert set(found.tensors) <= tiny_model.named_tensors().keys() and found.tensors
    assert all("attn2" in name for name in found.tensors)


@pytest.mark.parametrize(
    "attack",
    [
        ConceptInversion(steps=2, pictures=1, batch_size=1, accumulate=1),
        FineTune(steps=2, pictures=1, batch_size=1),
        MemoryRecovery(steps=2, batch_size=1),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_what_was_learned_of_one_base_models_pictures_is_not_anothers(
    attack: ConceptInversion | FineTune | MemoryRecovery,
    tiny_model: DiffusionModel,
    victim_of: VictimOf,
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    """A row that is another base model has the same edit, whatever the run's own base model is."""
    memory = Memory()
    own = dataclasses.replace(context, cache=memory)
    victim = victim_of(tiny_model)
    attack.assault(victim, targets[:1], own)
    assert victim.base is not None
    other = copy.copy(victim.base)
    other.digest = "another"
    attack.assault(dataclasses.replace(victim, base=other), targets[:1], own)
    assert memory.made == 2
