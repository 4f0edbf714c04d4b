"""What holds for every registered attack, tried with next to no budget on the tiny model."""

import dataclasses
from collections.abc import Callable, Sequence

import pytest
import torch

from erasure_bench.attacks.base import AttackContext, Target, Try, Victim
from erasure_bench.attacks.registry import ATTACKS, attack_card, build_attack, named
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.methods.machinery.traces import ModelState
from erasure_bench.models.asking import asked
from erasure_bench.models.diffusion_model import DiffusionModel


def quick(name: str) -> dict[str, str]:
    """A budget of next to nothing: the card's own."""
    return {key: str(value) for key, value in attack_card(name).quick.items()}


@pytest.mark.parametrize("name", ATTACKS)
def test_contract(
    name: str,
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    """As many tries as it says; the same again; nothing of the model is left changed; each target alone gets
    what it gets beside others."""
    attack, victim = build_attack(name, "official", quick(name)), victim_of(tiny_model)
    before = ModelState.of(tiny_model)
    both = attack.assault(victim, targets, context)
    assert [len(tries) for tries in both.tries] == [attack.tries] * len(targets)
    assert before.changes(tiny_model) == ""
    again = attack.assault(victim, targets, context)
    assert all(same(*pair) for pair in zip(flat(both.tries), flat(again.tries), strict=True))
    alone = attack.assault(victim, targets[1:], context)
    assert all(same(*pair) for pair in zip(both.tries[1], alone.tries[0], strict=True))


@pytest.mark.parametrize("name", ATTACKS)
def test_an_edit_that_reads_prompts_is_told_them_in_every_pass(
    name: str,
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    """A gate that is told nothing stands half open: the search would be of another network than is drawn."""
    told: list[tuple[str, ...] | None] = []
    tiny_model.unet.register_forward_pre_hook(lambda *_: told.append(asked().layout.texts))

    found = build_attack(name, "official", quick(name)).assault(victim_of(tiny_model), targets, context)

    assert None not in told
    said = {text for texts in told if texts for text in texts}
    chosen = {each.asked if each.told is None else each.told for each in flat(found.tries)}
    by_the_loss = attack_card(name).chosen_by.startswith("the noise loss")
    assert chosen <= said or not by_the_loss, "each try was weighed as it will be drawn"


@pytest.mark.parametrize("name", ATTACKS)
def test_card(name: str) -> None:
    card = attack_card(name)
    assert card.name == name and {"official", "microworld"} <= card.presets.keys()
    assert card.control is None or attack_card(card.control).control is None
    for preset in card.presets:
        assert build_attack(name, preset).tries >= 1
    assert card.argument in card.build.__dataclass_fields__


@pytest.mark.parametrize("name", ATTACKS)
def test_the_card_says_which_scheduler_an_attack_needs(
    name: str,
    tiny_model: DiffusionModel,
    victim_of: Callable[[DiffusionModel], Victim],
    targets: Sequence[Target],
    context: AttackContext,
) -> None:
    attack, card = build_attack(name, "official", quick(name)), attack_card(name)
    victim = dataclasses.replace(victim_of(tiny_model), scheduler="pndm")
    if card.scheduler is None:
        assert attack.assault(victim, targets[:1], context).tries
    else:
        with pytest.raises(BenchError, match="'pndm'"):
            attack.assault(victim, targets[:1], context)


def test_a_name_with_a_value_sets_the_cards_argument() -> None:
    assert build_attack("random-prefix:7").tries == 7
    assert named("random-prefix:7") == ("random-prefix", "7") and named("random-prefix").argument is None


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("nonsense", {}, "--attacks"),
        ("random-prefix:many", {}, "--attack-option"),
        ("random-prefix:0", {}, "at least 1"),
        ("random-prefix", {"steps": "2"}, "--attack-option"),
        ("finetune:100", {"steps": "5"}, "steps is 100 by its name and 5 by --attack-option"),
        ("p4d", {"learning_rate": "nan"}, "a finite number"),
        ("p4d", {"weight_decay": "inf"}, "a finite number"),
    ],
)
def test_a_mistake_is_said_with_its_flag(name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises((BenchError, UnknownName), match=said):
        build_attack(name, "official", options)


def flat(tries: Sequence[Sequence[Try]]) -> list[Try]:
    return [one for of_target in tries for one in of_target]


def same(one: Try, other: Try) -> bool:
    """To kernel rounding."""
    starts = [None if each.detour is None else each.detour.start for each in (one, other)]
    return (
        one.asked == other.asked
        and one.seed == other.seed
        and abs(one.loss - other.loss) < 1e-4
        and close(one.embedding, other.embedding)
        and close(*starts)
    )


def close(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)
