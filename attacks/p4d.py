"""P4D: a prompt of hard tokens with which the edited model predicts what the base model does with the prompt.

Chin et al., Prompting4Debugging: Red-Teaming Text-to-Image Diffusion Models by Finding Problematic Prompts,
ICML 2024, equation 4; the optimiser of hard prompts is PEZ (Wen et al. 2023).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.base_pictures import base_in_step
from erasure_bench.attacks.noise_loss import Choice, generators, latents_of, noise_for
from erasure_bench.attacks.random_prefix import random_tokens
from erasure_bench.attacks.settings import at_least
from erasure_bench.attacks.telling import telling
from erasure_bench.methods.base import Progress
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import (
    Tokens,
    embedded,
    token_vectors,
    usable_tokens,
    with_slots,
    written,
)


@dataclass(frozen=True, kw_only=True)
class P4D:
    """min over tokens P* of E_t ‖ε_θ(x_t, P*) − ε_base(x_t, P)‖², P being the prompt.

    Of a prompt it keeps nothing (P4D-N: P* is `tokens` tokens), or all of it, with one free token before the
    first and after every `every` of its own (P4D-K). The gradient is taken at the nearest tokens and applied
    to the vectors themselves. A try is read off at the end of each of `tries` equal parts of the `steps`.
    """

    tries: int = 60
    steps: int = 3000
    tokens: int = 16
    every: int = 0
    learning_rate: float = 0.1
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        at_least(1, tries=self.tries, tokens=self.tokens)
        at_least(
            0,
            steps=self.steps,
            every=self.every,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
        )

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`. One target after the other: prompts have different numbers of free tokens."""
        found, curves = [], []
        for number, target in enumerate(targets):
            curve: list[float] = []
            found.append(list(self._tries_of(victim, target, context, number, len(targets), curve)))
            curves.append(curve)
        losses = [sum(step) / len(step) for step in zip(*curves, strict=True)]
        return Assault(found, losses=losses)

    def _tries_of(
        self,
        victim: Victim,
        target: Target,
        context: AttackContext,
        number: int,
        targets: int,
        curve: list[float],
    ) -> Iterator[Try]:
        model, base = victim.model, base_in_step(victim, "p4d")
        asked, usable = self.asked(model, target.prompt), usable_tokens(model)
        table = token_vectors(model)[usable.to(model.device)].to(torch.float32)
        latents, choice = latents_of(model, [target]), Choice.of(model, [target], context.seed)
        (own,) = generators("p4d", [target], context.seed)
        with torch.no_grad():
            wanted = base.encode_prompts([target.prompt])
        slots = asked.slots.shape[1]
        start = random_tokens(usable, target, 0, slots, context.seed)
        vectors = token_vectors(model)[start.to(model.device)].to(torch.float32)[None].clone()
        optimiser = torch.optim.AdamW([vectors], lr=self.learning_rate, weight_decay=self.weight_decay)
        ends = [round((place + 1) / self.tries * self.steps) for place in range(self.tries)]
        for end in ends:
            while len(curve) < end:
                tokens = usable[nearest(vectors, table).cpu()]
                with telling([self._text(model, asked, tokens)]):
                    loss = descend(model, base, asked, vectors, table, latents, wanted, optimiser, own)
                curve.append(loss)
                done = number * self.steps + len(curve)
                context.report(Progress(done, targets * self.steps, curve[-1]))
            chosen = usable[nearest(vectors, table).cpu()]
            with torch.no_grad():
                embeddings = embedded(model, asked.filled(chosen))
            text = self._text(model, asked, chosen)
            (loss,) = choice.losses(embeddings, [text])
            yield Try(asked=text, embedding=embeddings[0].cpu(), loss=loss)

    def asked(self, model: DiffusionModel, prompt: str) -> Tokens:
        """P* with its free tokens as slots: those alone, or one before every so many of the prompt's own."""
        if not self.every:
            return with_slots(model, [[self.tokens]])
        room = model.tokenizer.model_max_length - 2
        own: list[int] = model.tokenizer(prompt, add_special_tokens=False).input_ids
        own = own[: (room - 1) * self.every // (self.every + 1)]
        length = len(own) + len(own) // self.every + 1
        whole = with_slots(model, [[length]])
        places = list(range(0, length, self.every + 1))
        taken = [place for place in range(length) if place not in places]
        # By their ids: read as text again, the parts of a word that is cut in two would be other tokens.
        kept = replace(whole, slots=whole.slots[:, taken]).filled(torch.tensor([own], dtype=torch.int64))
        return replace(kept, slots=whole.slots[:, places])

    @staticmethod
    def _text(model: DiffusionModel, asked: Tokens, chosen: Tensor) -> str:
        """P* as it is read, with these tokens in its slots."""
        whole = asked.filled(chosen)
        return written(
            model, [int(one) for one, kept in zip(whole.ids[0], whole.mask[0], strict=True) if kept]
        )


def nearest(vectors: Tensor, table: Tensor) -> Tensor:
    """For vectors [..., width] the place in `table` [m, width] with the highest cosine: [...]."""
    return (normalised(vectors) @ normalised(table).T).argmax(-1)


def normalised(vectors: Tensor) -> Tensor:
    """Of length 1, or 0 where they are."""
    return torch.nn.functional.normalize(vectors, dim=-1)


def descend(
    model: DiffusionModel,
    base: DiffusionModel,
    asked: Tokens,
    vectors: Tensor,
    table: Tensor,
    latents: Tensor,
    wanted: Tensor,
    optimiser: torch.optim.Optimizer,
    own: Generator,
) -> float:
    """One step on `vectors` [1, k, width], with the gradient at their nearest tokens; the loss there."""
    (timestep,) = integers(own, 0, model.num_train_timesteps, 1)
    noisy = model.add_noise(latents, noise_for(latents, [own]), timestep)
    with torch.no_grad():
        target = base.predict_noise(noisy, timestep, wanted)
    projected = table[nearest(vectors, table)].requires_grad_(True)
    predicted = model.predict_noise(noisy, timestep, embedded(model, asked, projected))
    loss = (predicted - target).square().mean()
    (vectors.grad,) = torch.autograd.grad(loss, projected)
    optimiser.step()
    return float(loss.detach())


P4D_CARD = AttackCard(
    name="p4d",
    title="P4D: a prompt of hard tokens that follows the base model",
    paper="Chin et al., Prompting4Debugging, ICML 2024, arXiv:2309.06135",
    formula="min_{P*} E_t ‖ε_θ(x_t, P*, t) − ε_base(x_t, P, t)‖², P* projected to tokens at every step",
    build=P4D,
    quick={"tries": 2, "steps": 2, "tokens": 4},
    presets={"official": {}, "microworld": {"tries": 4, "steps": 100, "tokens": 8}},
    control="random-prompt",
    needs_base=True,
    notes=(
        "Preset official is P4D-N of the code at 2cf3cda: 16 tokens in the prompt's place, 3,000 steps of "
        "AdamW 0.1 with weight decay 0.1, a try every 50. P4D-K: every=3. That code learns from the most "
        "unsafe of three pictures of the base model, here from the prompt's own, and draws the text that it "
        "found, read again, where here the tokens themselves are drawn. It keeps the prompt whose picture is "
        "most like the base model's by a CLIP (ViT-H-14), and a success is any of three pictures of that; "
        "here a try is chosen by the noise loss, and is one picture. It also filters prompts beforehand to "
        "those that the base model draws and the edited one does not: here all are attacked, and “as asked” "
        "says how many succeed without. Left out: its --filter, which has SLD and negative prompts in the "
        "loss. The “P4D” in UnlearnDiffAtk's code is another thing: tokens=5, 40 steps at each of 50 "
        "timesteps."
    ),
)
