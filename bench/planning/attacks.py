"""The attacks of a run, with their settings, and the tasks that they are.

An attack on an edit is a drawing of its own: of each of the concept's prompts as many pictures as the attack
has tries, all with the noise seed of the prompt's first picture. Beside it the same tries of its control are
drawn, and both on the base model; and the attack on an edit of an unrelated concept. A suite's own prompts of
the role attack have both as well.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from erasure_bench.attacks.registry import ATTACKS, attack_card, build_attack, named
from erasure_bench.bench.identity.code import code_of
from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.cases import Case
from erasure_bench.bench.planning.chosen import ChosenEvaluator, default_settings, plain_settings
from erasure_bench.bench.planning.config import OFFICIAL, Options, RunConfig
from erasure_bench.bench.planning.stored_prompts import CONTROL, ROLE, stored
from erasure_bench.bench.planning.tasks import (
    EraseTask,
    GenerateTask,
    PlannedAttack,
    PlannedImages,
    ScoreTask,
)
from erasure_bench.bench.storage.memory import once
from erasure_bench.errors import BenchError, UnknownName
from erasure_bench.evaluators.base import Metric
from erasure_bench.foreign.sources import code_digest
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Role, Suite

REGISTRY = "erasure_bench.attacks.registry"
PROMPTS_PER_TASK = 4
"""A kill loses at most the search for so many prompts."""
MOST_TRIES = 10_000
"""Pictures of one prompt: far more than any paper's budget, and each is planned one by one."""
ASKED_FOR: tuple[Role, ...] = ("target", "implicit")
"""Whose prompts are attacked: those of the first role that the concept has any of."""
_TOKENS = "tokens"


@dataclass(frozen=True, kw_only=True)
class ChosenAttack:
    """An attack as one run uses it. `options` are the user's, as text; `settings` what came of them.

    `name` is what it is called in tables, NAME or NAME:VALUE. `control` names the attack that it stands
    beside, None for a control. The others are its card's.
    """

    name: str
    preset: str
    options: Options
    settings_class: str
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any]
    code: str
    tries: int
    control: str | None
    chosen_by: str
    needs_base: bool = False
    general_prompts: bool = False
    scheduler: str | None = None


def choose_attack(name: str, preset: str, options: Options, memory: Path) -> ChosenAttack:
    """The attack with its settings resolved; `memory` is the folder that remembers them.

    Raises UnknownName, or BenchError for an option that does not fit.
    """
    of = named(name)
    module = ATTACKS[of.name].partition(":")[0]
    # The registry parses the options, so its code counts for the settings, though not for what is found.
    asked = {"attack": name, "preset": preset, "options": options, "code": code_digest(module)}
    note = memory / f"{content_id({**asked, 'registry': code_digest(REGISTRY)})}.json"

    def resolve() -> dict[str, Any]:
        attack, card = build_attack(name, preset, options), attack_card(name)
        if attack.tries > MOST_TRIES:
            raise BenchError(f"attack {name!r}: {attack.tries} tries: at most {MOST_TRIES} (--attack-option)")
        return {
            "preset": preset if preset in card.presets else OFFICIAL,
            "settings_class": of.name,
            "settings": plain_settings(name, attack),
            "defaults": default_settings(type(attack)),
            "tries": attack.tries,
            "control": card.control,
            "chosen_by": card.chosen_by,
            "needs_base": card.needs_base,
            "general_prompts": card.general_prompts,
            "scheduler": card.scheduler,
        }

    found = once(note, resolve, _REMEMBERED)
    code = code_of("attack", of.name, module)
    return ChosenAttack(name=name, options=dict(options), code=code, **found)


def choose_attacks(
    config: RunConfig, preset: str, memory: Path, stored_pictures: int = 0
) -> tuple[ChosenAttack, ...]:
    """Those that are asked for, controls last; a control has at least the tries of all that it stands beside.

    A control that was not asked for is added; an option without a name is not meant for it, but its tokens
    are as many as its attacks are told to have, unless it is told itself. That of the suite's stored
    prompts, the last, has as many tries as one of them has pictures: `stored_pictures`, 0 where there are
    none. Raises BenchError for a control that is asked for twice, whose fewer tries are
    among the more.
    """
    if any(named(name).name == CONTROL for name in config.attacks):
        raise BenchError(
            f"--attacks {CONTROL}: it is made by itself beside a suite's prompts of the role "
            f"attack, and beside nothing else; leave it out"
        )

    def chosen(name: str, least: int = 1, tokens: Options | None = None) -> ChosenAttack:
        common = config.attack_options.get("", {}) if name in config.attacks else {}
        options = {**common, **config.attack_options.get(named(name).name, {})}
        found = choose_attack(name, preset, options, memory)
        if tokens and _TOKENS in found.settings and _TOKENS not in options:
            options |= tokens
            found = choose_attack(name, preset, options, memory)
        if found.tries >= least:
            return found
        return choose_attack(named(name).name, preset, {**options, "tries": str(least)}, memory)

    asked = [chosen(name) for name in config.attacks]
    searches = [attack for attack in asked if attack.control is not None]
    controls: dict[str, ChosenAttack] = {}
    for attack in (one for one in asked if one.control is None):
        if twin := controls.get(named(attack.name).name):
            raise BenchError(
                f"--attacks {twin.name},{attack.name}: a control is made once, with as many tries as the "
                f"most that it stands beside; leave one out"
            )
        controls[named(attack.name).name] = attack
    for name in dict.fromkeys(attack.control for attack in searches if attack.control is not None):
        beside = [attack for attack in searches if attack.control == name]
        most, own = max(attack.tries for attack in beside), controls.get(name)
        controls[name] = chosen(name if own is None else own.name, most, _tokens_told(beside))
    found = (*searches, *controls.values())
    _no_stray_options(config, {named(attack.name).name for attack in found})
    if not stored_pictures:
        return found
    return (*found, choose_attack(CONTROL, preset, {"tries": str(stored_pictures)}, memory))


def _tokens_told(searches: Sequence[ChosenAttack]) -> Options:
    """The most tokens of these searches as an option, where one of them was told how many; else none."""
    if not any(_TOKENS in search.options for search in searches):
        return {}
    return {_TOKENS: str(max(search.settings.get(_TOKENS, 1) for search in searches))}


def check_room(attacks: Sequence[ChosenAttack], length: int) -> None:
    """Raises BenchError where an attack looks for more tokens than a text of `length`, start and end among
    them, has room for."""
    for attack in attacks:
        tokens, most = attack.settings.get(_TOKENS, 0), length - 2
        if tokens > most:
            raise BenchError(
                f"attack {attack.name!r}: {tokens} tokens have no room in the {length} that the text encoder "
                f"is given, start and end among them: at most {most} "
                f"(--attack-option {named(attack.name).name}.tokens={most})"
            )


def check_scheduler(attacks: Sequence[ChosenAttack], suite: Suite) -> None:
    """Raises BenchError where an attack cannot draw with the suite's scheduler."""
    for attack in attacks:
        if attack.scheduler not in (None, suite.protocol.scheduler):
            raise BenchError(
                f"attack {attack.name!r} leaves the sampler's own steps, as the scheduler "
                f"{suite.protocol.scheduler!r} cannot: it needs {attack.scheduler!r} "
                f"(--scheduler {attack.scheduler}, or leave it out of --attacks)"
            )


def attack_tasks(
    attacks: Sequence[ChosenAttack],
    case: Case,
    seed: int,
    erase: EraseTask,
    unrelated: EraseTask | None,
    like: Sequence[GenerateTask],
    shown: Sequence[GenerateTask],
    general: str | None,
) -> tuple[GenerateTask, ...]:
    """Every attack on the edit, and those that search on the edit of an `unrelated` concept; on this the
    stored prompts as well, where their control is among the attacks.

    `like` are the cell's own pictures, whose prompts, noise and protocol the attacks take over, `shown` the
    base model's of the same.
    """
    tasks: list[GenerateTask] = []
    other = unrelated if unrelated is not None and unrelated.id != erase.id else None
    for attack in attacks:
        of_stored = attack.name == CONTROL
        if of_stored and other is not None:
            tasks += [dataclasses.replace(task, erase=other) for task in stored(like)]
        for images, known in _lots(like, shown, attack.tries, of_stored=of_stored):
            planned = PlannedAttack(
                name=attack.name,
                settings_class=attack.settings_class,
                settings=attack.settings,
                defaults=attack.defaults,
                code=attack.code,
                concept=case.concept,
                seed=seed,
                shown=known,
                general_prompts=general if attack.general_prompts else None,
            )
            victims = [erase]
            if attack.control is not None and other is not None:
                victims.append(other)
            tasks += [
                dataclasses.replace(like[0], erase=victim, images=images, attack=planned)
                for victim in victims
            ]
    return tuple(tasks)


def attack_scores(
    tasks: Sequence[GenerateTask],
    case: Case,
    evaluators: Sequence[ChosenEvaluator],
    by_base: Sequence[GenerateTask],
) -> tuple[ScoreTask, ...]:
    """Of the evaluators that judge success or coherence; none that compares picture with picture."""
    return tuple(
        ScoreTask(
            generate=task,
            concept=case.concept,
            evaluator=evaluator.name,
            protocol=evaluator.protocol,
            code=evaluator.code,
            base=() if evaluator.compares_with is None else tuple(by_base),
        )
        for evaluator in evaluators
        if evaluator.of_sets is None and evaluator.compares_with != "pairs"
        if any(is_success(metric) or metric.tells_collapse for metric in evaluator.metrics)
        for task in tasks
    )


def is_success(metric: Metric) -> bool:
    """Whether 1 says that a picture shows what should be gone: then an attack succeeded."""
    return (
        metric.kind == "share"
        and metric.aggregate == "mean"
        and metric.headline
        and metric.better.get("attack") == "lower"
        and not metric.tells_collapse
    )


def unrelated_case(suite: Suite, cases: Sequence[Case], case: Case) -> Case | None:
    """One whose edit should not touch the concept: of the run's own cases, else of the suite's concepts.

    It is the first after the concept, in the suite's order and round to its start, that is not related:
    neither is a neighbour of the other, and no phrase names both. None where there is none.
    """
    if len(case.erased) > 1:
        return None
    order = [concept.name for concept in suite.concepts]
    at = order.index(case.concept.name)
    around = [suite.concepts[(at + step) % len(order)] for step in range(1, len(order))]
    apart = [other for other in around if not _related(other, case)]
    in_run = {each.concept.name for each in cases if len(each.erased) == 1}
    first = next((other for other in apart if other.name in in_run), next(iter(apart), None))
    return None if first is None else Case(concept=first, erased=(first,))


def _related(other: Concept, case: Case) -> bool:
    words = {text.lower() for concept in (other, case.concept) for text in (concept.name, *concept.targets)}
    near = {text.lower() for concept in (other, case.concept) for text in concept.neighbours}
    targets = {text.lower() for text in other.targets} & {text.lower() for text in case.concept.targets}
    return bool(targets or words & near)


def _lots(
    like: Sequence[GenerateTask], shown: Sequence[GenerateTask], tries: int, *, of_stored: bool
) -> Iterator[tuple[PlannedImages, tuple[GenerateTask, ...]]]:
    """A few prompts at a time: `tries` pictures of each, and the base model's tasks that draw its first.

    They have the first one's noise. Those beside stored prompts have each the noise of the picture beside it,
    the first one's where the prompt has fewer pictures: who compares leaves these out.
    """
    asked = (role for role in ASKED_FOR if any(task.images.role == role for task in like))
    role = ROLE if of_stored else next(asked, None)
    drawn = [
        (image, base)
        for task, base in zip(like, shown, strict=True)
        if task.images.role == role
        for image in task.images.images
        if of_stored or image.image_index == 0
    ]
    of_prompt = [list(those) for _, those in groupby(drawn, key=lambda each: each[0].prompt.id)]
    for start in range(0, len(of_prompt), PROMPTS_PER_TASK):
        lot = of_prompt[start : start + PROMPTS_PER_TASK]
        images = tuple(
            dataclasses.replace((those[number] if number < len(those) else those[0])[0], image_index=number)
            for those in lot
            for number in range(tries)
        )
        known = {base.id: base for ((_, base), *_) in lot}
        yield PlannedImages(role=ROLE, images=images), tuple(known.values())


def _no_stray_options(config: RunConfig, names: Collection[str]) -> None:
    for name in config.attack_options:
        if not names:
            raise BenchError("--attack-option: no attack is there to take it (--attacks)")
        if name and name not in names:
            raise UnknownName("name before the dot", name, names, "--attack-option")


_REMEMBERED = frozenset(
    {
        *("preset", "settings_class", "settings", "defaults", "tries", "control", "chosen_by"),
        *("needs_base", "general_prompts", "scheduler"),
    }
)
