"""Concept inversion: a new word is learned with which the edited model denoises the base model's pictures.

Pham et al., Circumventing Concept Erasure Methods For Text-to-Image Generative Models, ICLR 2024 (CCE):
textual inversion (Gal et al. 2023) on the edited model.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from erasure_bench.attacks.base import Assault, AttackCard, AttackContext, Target, Try, Victim
from erasure_bench.attacks.base_pictures import base_of, of_the_concept
from erasure_bench.attacks.base_pictures import latents as base_latents
from erasure_bench.attacks.noise_loss import Choice
from erasure_bench.attacks.settings import at_least
from erasure_bench.attacks.telling import telling
from erasure_bench.attacks.wording import around_the_concept, said
from erasure_bench.methods.machinery.lots import integers
from erasure_bench.methods.machinery.textual_inversion import OF_A_PERSON, OF_A_STYLE, TEMPLATES
from erasure_bench.methods.machinery.training import Training
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.token_input import embedded, token_vectors, with_slots
from erasure_bench.prompt_suites.concepts import Concept

LOSSES = "losses"
UNREAD = ""
"""What an edit that reads prompts is told: the learned word has no letters, and those of its placeholder
would be read in its stead. The words around it are not told either."""


@dataclass(frozen=True, kw_only=True)
class ConceptInversion:
    """min over v of E_{x₀, t, ε} ‖ε − ε_θ(x_t, [prompt with v in the concept's place])‖².

    v is `tokens` vectors of the text encoder's input, which begin as the first tokens of the concept's
    anchor, without its article. `captions` says what it stands in while it is learned: textual inversion's
    templates by lot, or what the picture was drawn of. x₀ are `pictures` of the base model, of the concept's
    phrases alone or of things in its style, on noise that no suite draws with; one v serves all of the
    concept's prompts. Each try is a training of its own, from another seed.
    """

    tries: int = 1
    steps: int = 5000
    pictures: int = 25
    batch_size: int = 4
    accumulate: int = 4
    learning_rate: float = 0.08
    weight_decay: float = 0.01
    tokens: int = 1
    guidance_scale: float = 7.5
    captions: Literal["templates", "phrases"] = "templates"

    def __post_init__(self) -> None:
        at_least(
            1,
            tries=self.tries,
            pictures=self.pictures,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            tokens=self.tokens,
        )
        at_least(0, steps=self.steps, learning_rate=self.learning_rate, weight_decay=self.weight_decay)

    def assault(self, victim: Victim, targets: Sequence[Target], context: AttackContext) -> Assault:
        """See `Attack`."""
        model, choice = victim.model, Choice.of(victim.model, targets, context.seed)
        parts = [worded(model, victim.concept, target.prompt, self.tokens) for target in targets]
        asked = with_slots(model, parts)
        found: list[list[Try]] = [[] for _ in targets]
        losses: list[float] = []
        for number in range(self.tries):
            learned = self._learned(victim, context, number)
            losses += learned[LOSSES].tolist()
            with torch.no_grad():
                vectors = learned["vectors"].expand(len(targets), -1, -1)
                embeddings = embedded(model, asked, vectors)
            for row, loss in enumerate(choice.losses(embeddings, [UNREAD] * len(targets))):
                text = said(parts[row])
                found[row].append(Try(asked=text, told=UNREAD, embedding=embeddings[row].cpu(), loss=loss))
        return Assault(found, losses=losses)

    def _learned(self, victim: Victim, context: AttackContext, number: int) -> dict[str, Tensor]:
        """The vectors of a try [tokens, width] and the training's curve; kept for other prompts."""
        key: dict[str, Any] = {
            "settings": {**dataclasses.asdict(self), "tries": None},
            "base": base_of(victim).digest,
            "concept": dataclasses.asdict(victim.concept),
            "seed": context.seed,
            "try": number,
            "drawn": [victim.scheduler, victim.steps, victim.eta],
        }

        def learn() -> dict[str, Tensor]:
            own = dataclasses.replace(
                context,
                seed=context.seed + 1_000_003 * number,
                checkpoints=context.cache.checkpoints(__name__, key),
            )
            return self._train(victim, own)

        return context.cache.fetch(__name__, key, learn)

    def _train(self, victim: Victim, context: AttackContext) -> dict[str, Tensor]:
        model = victim.model
        prompts = of_the_concept(victim.concept, self.pictures)
        latents = base_latents(victim, prompts, self.guidance_scale, context)
        drawn_of = [worded(model, victim.concept, prompt, self.tokens) for prompt in prompts]
        templates = [worded(model, victim.concept, text, self.tokens) for text in said_of(victim.concept)]
        vectors = nn.Parameter(start_vectors(model, victim.concept.anchor, self.tokens))
        with Training(
            {"vectors": vectors},
            device=model.device,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            optimiser="adamw",
            steps=self.steps,
            context=context,
        ) as tuning:

            def lessons() -> Iterator[Tensor]:
                for _ in range(self.accumulate):
                    rows = integers(tuning.generator, 0, len(latents), self.batch_size)
                    steps = torch.tensor(
                        integers(tuning.generator, 0, model.num_train_timesteps, self.batch_size)
                    )
                    clean = latents[rows]
                    noise = torch.randn(clean.shape, generator=tuning.generator).to(clean)
                    parts = [drawn_of[row] for row in rows]
                    if self.captions == "templates":
                        lots = integers(tuning.generator, 0, len(templates), len(rows))
                        parts = [templates[lot] for lot in lots]
                    asked = with_slots(model, parts)
                    prompts = embedded(model, asked, vectors.expand(len(rows), -1, -1))
                    noisy = model.add_noise(clean, noise, steps)
                    with telling([UNREAD] * len(rows)):
                        predicted = model.predict_noise(noisy, steps, prompts)
                    yield (predicted - noise).square().mean() / self.accumulate

            for _ in tuning:
                tuning.minimise(lessons())
            learned = vectors.detach().to("cpu", copy=True)
        return {"vectors": learned, LOSSES: torch.tensor(tuning.losses, dtype=torch.float64)}


def worded(model: DiffusionModel, concept: Concept, prompt: str, slots: int) -> list[str | int]:
    """`around_the_concept`, the slots first also where the prompt names it beyond what the model reads."""
    parts = around_the_concept(concept, prompt, slots)
    before = parts[0] if isinstance(parts[0], str) else ""
    room = model.tokenizer.model_max_length - 2 - slots
    if len(model.tokenizer(before, add_special_tokens=False).input_ids) > room:
        return [slots, prompt]
    return parts


def said_of(concept: Concept) -> list[str]:
    """Textual inversion's captions with the concept's name in them: of a thing, a style, or somebody."""
    own = {"style": OF_A_STYLE, "identity": OF_A_PERSON}.get(concept.kind, TEMPLATES)
    return [template.format(concept.target) for template in own]


def start_vectors(model: DiffusionModel, text: str, count: int) -> Tensor:
    """Vectors of a text's first `count` tokens after its article, the last one over again where it has fewer,
    in fp32."""
    named = re.sub(r"^(an?|the)\s+", "", text, flags=re.IGNORECASE)
    ids: list[int] = model.tokenizer(named, add_special_tokens=False).input_ids
    chosen = (ids + ids[-1:] * count)[:count]
    return token_vectors(model)[torch.tensor(chosen)].to(torch.float32).clone()


CONCEPT_INVERSION = AttackCard(
    name="concept-inversion",
    title="Concept inversion: a new word learned on the edited model",
    paper="Pham et al., Circumventing Concept Erasure Methods, ICLR 2024, arXiv:2308.01508",
    formula="min_v E_{x₀,t,ε} ‖ε − ε_θ(x_t, prompt with v in the concept's place, t)‖²",
    build=ConceptInversion,
    quick={"tries": 2, "steps": 2, "pictures": 2},
    presets={
        "official": {},
        "microworld": {
            "steps": 150,
            "pictures": 16,
            "batch_size": 8,
            "accumulate": 1,
            "learning_rate": 0.05,
            "guidance_scale": 4.0,
            "captions": "phrases",
        },
    },
    needs_base=True,
    notes=(
        "Preset official has the paper's numbers: 25 pictures, batches of 4 accumulated 4 times, 5,000 steps "
        "at 5e-3 times the 16 pictures of a step; the captions are textual inversion's, mirrored pictures "
        "are left out. The vector begins as the anchor's first token. Its control has as many tries, but no "
        "picture of the concept to learn from: what pictures alone bring about is "
        "shown by the unrelated edit and the base model. Left out: the code's own way for guidance methods; "
        "what an edit does in guidance alone has no gradient here."
    ),
)
