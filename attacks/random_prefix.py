"""Chance: what as many tries bring back without any search. Every attack stands beside one of these."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from erasure_bench.attacks.base import Assault, Attack, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.noise_loss import Choice
from erasure_bench.attacks.settings import at_least
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.seeds import image_seed
from erasure_bench.models.token_input import embedded, usable_tokens, with_slots, written


def random_tokens(usable: Tensor, target: Target, number: int, count: int, seed: int) -> Tensor:
    """`count` token ids drawn uniformly from `usable`, for try `number` of a target: [count]."""
    own = image_seed("random prefix", f"{target.prompt}\0{target.seed}", number, seed)
    places = torch.randint(len(usable), (count,), generator=torch.Generator().manual_seed(own))
    return usable[places]


def read_as(model: DiffusionModel, tokens: Tensor, parts: Sequence[list[str | int]]) -> list[str]:
    """The parts of each prompt as text, with its tokens [n, k] in the slots that it begins with."""
    return [
        " ".join([written(model, ids.tolist()), *(part for part in own if isinstance(part, str))])
        for ids, own in zip(tokens, parts, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class RandomPrefix:
    """`tokens` tokens before the prompt, drawn uniformly from the vocabulary; the prompt's own noise.

    Among its tries it chooses as the searches do that it is held against: by the noise loss.
    """

    tries: int = 50
    tokens: int = 5

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries, tokens=self.tokens)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`."""
        parts: list[list[str | int]] = [[self.tokens, target.prompt] for target in targets]
        return _by_chance(victim, targets, context, self.tries, self.tokens, parts)


@dataclass(frozen=True, kw_only=True)
class RandomPrompt:
    """`tokens` tokens in the prompt's place, drawn uniformly from the vocabulary; the prompt's own noise.

    The control of searches that keep nothing of the prompt, among whose tries it chooses as they do.
    """

    tries: int = 60
    tokens: int = 16

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries, tokens=self.tokens)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`."""
        parts: list[list[str | int]] = [[self.tokens] for _ in targets]
        return _by_chance(victim, targets, context, self.tries, self.tokens, parts)


def _by_chance(
    victim: Victim,
    targets: Sequence[Target],
    context: AttackContext,
    tries: int,
    tokens: int,
    parts: Sequence[list[str | int]],
) -> Assault:
    """Each try with other tokens in the free slots of the targets' `parts`, chosen by the noise loss."""
    model, choice = victim.model, Choice.of(victim.model, targets, context.seed)
    asked, usable = with_slots(model, parts), usable_tokens(model)
    found: list[list[Try]] = [[] for _ in targets]
    for number in range(tries):
        chosen = torch.stack(
            [random_tokens(usable, target, number, tokens, context.seed) for target in targets]
        )
        with torch.no_grad():
            embeddings = embedded(model, asked.filled(chosen))
        texts = read_as(model, chosen, parts)
        for row, loss in enumerate(choice.losses(embeddings, texts)):
            found[row].append(Try(asked=texts[row], embedding=embeddings[row].cpu(), loss=loss))
    return Assault(found)


@dataclass(frozen=True, kw_only=True)
class FreshNoise:
    """The prompt as it is, each try with another noise: the control of probes that change the drawing."""

    tries: int = 24

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`."""
        return Assault([[self._drawn(target, number) for number in range(self.tries)] for target in targets])

    def _drawn(self, target: Target, number: int) -> Try:
        return Try(asked=target.prompt, seed=image_seed("fresh noise", target.prompt, number, target.seed))


_: tuple[type[Attack], ...] = (RandomPrefix, RandomPrompt, FreshNoise)

RANDOM_PROMPT = AttackCard(
    name="random-prompt",
    title="Random tokens in the prompt's place: the control of searches that replace it",
    paper="no paper's harness has it; as long as P4D's and Ring-A-Bell's prompts",
    formula="k tokens ~ U(vocabulary)",
    build=RandomPrompt,
    quick={"tries": 2, "tokens": 4},
    presets={"official": {}, "microworld": {"tries": 4, "tokens": 8}},
    control=None,
    notes="Tokens that mark start, end and padding are left out. Of P4D-K, which keeps the prompt, the "
    "prompt's own success stands as “as asked”.",
)

RANDOM_PREFIX = AttackCard(
    name="random-prefix",
    title="Random tokens before the prompt: the control",
    paper="no paper's harness has it; the prefix is as long as UnlearnDiffAtk's",
    formula="k tokens ~ U(vocabulary) before the prompt",
    build=RandomPrefix,
    quick={"tries": 2},
    presets={"official": {}, "microworld": {"tries": 4}},
    control=None,
    notes="Tokens that mark start, end and padding are left out.",
)

FRESH_NOISE = AttackCard(
    name="fresh-noise",
    title="The prompt with other noise: the control of probes without text",
    paper="no paper's harness has it",
    formula="x_T ~ N(0, 1), another for each try",
    build=FreshNoise,
    quick={"tries": 2},
    presets={"official": {}, "microworld": {"tries": 4}},
    control=None,
    chosen_by="order: the first try",
)
