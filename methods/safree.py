"""SAFREE: training-free guarding of prompts.

Yoon, Yu, Patil, Yao, Bansal: SAFREE: Training-Free and Adaptive Guard for Safe Text-to-Image and Video
Generation, ICLR 2025. Tokens of a prompt that bring it near the concept lose, in their embeddings, what
lies in the concept's subspace. With P_c onto the pooled embeddings of the concept's phrases and P_in onto
those of the prompt m_i with its token i put out,

    d_i = ‖(I − P_c) m_i‖        i is a trigger where d_i ≥ (1 + α) · mean of the other d
    e_i ← (I − P_c) P_in e_i     of every trigger
    β = 1 − mean_i cos((I − P_c) P_in e_i, e_i)

The changed embeddings are asked with up to step round(10 σ(2k (10 β − t))): the further they are from the
prompt's own, the longer. In these steps latent re-attention (`machinery.reattention`) damps the coarsest of
what the network hands across.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from pydantic import FiniteFloat, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn import functional

from erasure_bench.errors import BenchError
from erasure_bench.later import CAME_LATER
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.hooks import embeddings_changed
from erasure_bench.methods.machinery.reattention import Doubled, reattended, widest
from erasure_bench.models.asking import Asked, asked
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

CONCEPT = "concept"
PUT_OUT = 0
"""The token in the place of the one that is put out: "!" in CLIP's vocabulary, as in the official code."""
KEPT_PROMPTS = 512


class Validation(NamedTuple):
    """k and t."""

    steepness: float
    centre: float


OF_STYLES, OTHERWISE = Validation(3.5, 5.5), Validation(2.5, 5.333)
"""The official numbers, for artists and for anything else."""


@dataclass(frozen=True, kw_only=True)
class SAFREE:
    """Settings of SAFREE; the defaults are the official code's.

    `phrases` span the concept's subspace: its `canonical` one, or `all`, which are the parts of the text
    that guidance steers away from, where the concept has one, and else all of its target phrases. With
    `padding` the end token and the padding of a prompt with a trigger change as well, which the official
    code leaves as they are. `sensitivity` is α. With `self_validating` the changed embeddings are used up
    to the step above, which is `most_steps` at the most, with `steepness` k and `centre` t, None for the
    official ones of the concept's kind; without it in every step. The official numbers are meant for 50
    steps of sampling and apply to any number of them, unless `of_steps` is given: `most_steps` is then the
    same share of the sampling as it is of `of_steps`. With `inside_last` an embedding is P_in (I − P_c) e.
    With `reattention` the coarsest of the skipped maps are damped by `wide_scale` where the way up is widest
    and by `narrow_scale` where it is next to widest; a picture's step then takes three passes, not two.
    """

    phrases: Literal["canonical", "all"] = "all"
    padding: bool = False
    sensitivity: NonNegativeFloat = 0.01
    self_validating: bool = True
    most_steps: PositiveInt = 10
    steepness: PositiveFloat | None = None
    centre: FiniteFloat | None = None
    of_steps: PositiveInt | None = None
    inside_last: bool = False
    reattention: bool = False
    wide_scale: NonNegativeFloat = 0.9
    narrow_scale: NonNegativeFloat = 0.2

    def unused_settings(self) -> Mapping[str, str]:
        """Without the validation its numbers do nothing, and without re-attention its scales."""
        validation = ("most_steps", "steepness", "centre", "of_steps")
        unused = {} if self.self_validating else dict.fromkeys(validation, "with self_validating=false")
        scales = ("wide_scale", "narrow_scale")
        return unused | ({} if self.reattention else dict.fromkeys(scales, "without reattention=true"))

    def uses_seed(self) -> bool:
        """The seed changes nothing."""
        return False

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """An edit of prompts' embeddings while sampling: no weight changes, the seed changes nothing."""
        check_concepts(concepts)
        with Meter(model.device) as meter:
            phrases = dict.fromkeys(phrase for concept in concepts for phrase in self._phrases(concept))
            tokens = model.tokenizer(
                list(phrases),
                padding="max_length",
                max_length=model.tokenizer.model_max_length,
                truncation=True,
            )
            projection = TokenProjection(
                tensors={CONCEPT: pooled(model, torch.tensor(tokens.input_ids)).cpu()},
                sensitivity=self.sensitivity,
                padding=self.padding,
                validation=self._validation(concepts),
                inside_last=self.inside_last,
                reattention=(self.wide_scale, self.narrow_scale) if self.reattention else None,
            )
        return new_edit("safree", self, model, concepts, attachments=[projection], cost=meter.cost(steps=0))

    def _phrases(self, concept: Concept) -> tuple[str, ...]:
        if self.phrases == "canonical":
            return (concept.target,)
        return concept.targets if concept.negative is None else tuple(concept.negative.split(", "))

    def _validation(self, concepts: Sequence[Concept]) -> "SelfValidation | None":
        if not self.self_validating:
            return None
        official = OF_STYLES if all(concept.kind == "style" for concept in concepts) else OTHERWISE
        return SelfValidation(
            steepness=official.steepness if self.steepness is None else self.steepness,
            centre=official.centre if self.centre is None else self.centre,
            most_steps=self.most_steps,
            of_steps=self.of_steps,
        )


@dataclass(frozen=True, kw_only=True)
class SelfValidation:
    """Up to which step changed embeddings are used: `steepness` k, `centre` t; the rest as in `SAFREE`."""

    steepness: float
    centre: float
    most_steps: int
    of_steps: int | None

    def last_step(self, change: float) -> int:
        """round(`most_steps` σ(2k (10 β − t))) for the β `change`."""
        opened = torch.sigmoid(torch.tensor(2 * self.steepness * (10 * change - self.centre)).double())
        return round(self.most_steps * float(opened))

    def used(self, last: int, index: int, steps: int) -> bool:
        """Whether step `index`, from 0, of `steps` still uses them."""
        return index * (self.of_steps or steps) <= last * steps


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenProjection:
    """The attachment: `concept` [phrases, width] are the pooled embeddings that span the subspace.

    `sensitivity` is α, `padding` as in `SAFREE`; without a `validation` changed embeddings are used in
    every step. Outside of sampling they are used as in the first step. A prompt that is known by its
    embeddings alone has no tokens to be put out and is left as it is. `reattention` are its two scales, None
    where nothing is damped.
    """

    tensors: Mapping[str, Tensor]
    sensitivity: float
    padding: bool
    validation: SelfValidation | None
    inside_last: bool = field(default=False, metadata=CAME_LATER)
    reattention: tuple[float, float] | None = field(default=None, metadata=CAME_LATER)

    @contextmanager
    def attached(self, model: DiffusionModel) -> Iterator[None]:
        """The projection at work on every prompt; unconditional and further texts stay as they are."""
        concept = basis(self.tensors[CONCEPT].to(model.device).float())
        screened = _Remembered(lambda text: self._screened(model, text, concept))

        def change(embeddings: Tensor) -> Tensor:
            call = asked()
            if call.layout.texts is None:
                return embeddings
            prompts = call.block("conditional")
            changed = [
                self._changed(call, screened(text), own, concept)
                for text, own in zip(call.layout.texts[prompts], embeddings[prompts], strict=True)
            ]
            whole = embeddings.clone()
            whole[prompts] = torch.stack(changed)
            return whole

        def doubled(embeddings: Tensor) -> Doubled:
            whole = change(embeddings)
            return Doubled((whole != embeddings).flatten(1).any(1), whole)

        if self.reattention is None:
            with embeddings_changed(model.unet, change):
                yield
        else:
            with reattended(model.unet, doubled, widest(model.unet, self.reattention)):
                yield

    def as_weights(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Refused: which tokens change, and for how long, depends on the prompt."""
        raise BenchError("it changes the embeddings of each prompt by tokens of its own")

    def _screened(self, model: DiffusionModel, text: str, concept: Tensor) -> "_Screened":
        with torch.inference_mode(False), torch.no_grad():
            one_out = pooled(model, without_each(model, text)).float()
            own = model.encode_prompts([text])[0].float()[1 : 1 + len(one_out)]
            if not len(one_out):
                return _Screened(own.new_zeros(0, dtype=torch.bool), own.T, 0)
            span = basis(one_out)
            last = 0
            if self.validation is not None:
                after = self._projected(own, span, concept)
                near = functional.cosine_similarity(after, own, dim=-1).mean()
                last = self.validation.last_step(1 - float(near))
            return _Screened(triggers(one_out, concept, self.sensitivity), span, last)

    def _changed(self, call: Asked, screened: "_Screened", own: Tensor, concept: Tensor) -> Tensor:
        """A prompt's embeddings [tokens, width] at the present step."""
        index, steps = call.layout.index, call.layout.steps
        if (
            self.validation is not None
            and index is not None
            and steps is not None
            and not self.validation.used(screened.last_step, index, steps)
        ):
            return own
        before = own[1:].float()
        changes = screened.triggers.new_full((len(before),), self.padding and bool(screened.triggers.any()))
        changes[: len(screened.triggers)] = screened.triggers
        after = torch.where(changes[:, None], self._projected(before, screened.span, concept), before)
        return torch.cat([own[:1], after.to(own)])

    def _projected(self, embeddings: Tensor, span: Tensor, concept: Tensor) -> Tensor:
        if not self.inside_last:
            return projected(embeddings, span, concept)
        outside = embeddings - embeddings @ concept @ concept.T
        return outside @ span @ span.T


class _Screened(NamedTuple):
    """Of a prompt: which of its tokens are triggers, what spans P_in [width, rank], and the last step."""

    triggers: Tensor
    span: Tensor
    last_step: int


class _Remembered:
    """What `make` made of the texts that were asked for last."""

    def __init__(self, make: Callable[[str], _Screened]) -> None:
        self._make, self._kept = make, OrderedDict[str, _Screened]()

    def __call__(self, text: str) -> _Screened:
        if text not in self._kept:
            self._kept[text] = self._make(text)
        self._kept.move_to_end(text)
        if len(self._kept) > KEPT_PROMPTS:
            self._kept.popitem(last=False)
        return self._kept[text]


def pooled(model: DiffusionModel, tokens: Tensor) -> Tensor:
    """The text encoder's pooled output [n, width] for token ids [n, length]."""
    if not len(tokens):
        return torch.zeros(0, model.text_encoder.config.hidden_size, device=model.device)
    with torch.inference_mode(False), torch.no_grad():
        return torch.cat([model.text_encoder(part.to(model.device))[1] for part in tokens.split(64)])


def without_each(model: DiffusionModel, text: str) -> Tensor:
    """Token ids [own tokens, length] of the text with one of its own put out in each row."""
    length = model.tokenizer.model_max_length
    own = len(model.tokenizer(text, truncation=True, max_length=length).input_ids) - 2
    encoded = model.tokenizer(text, padding="max_length", max_length=length, truncation=True)
    rows = torch.tensor(encoded.input_ids).repeat(own, 1)
    rows[torch.arange(own), torch.arange(own) + 1] = PUT_OUT
    return rows


def basis(vectors: Tensor) -> Tensor:
    """Orthonormal columns [width, rank] that span the rows of `vectors` [n, width]."""
    left, sizes, _ = torch.linalg.svd(vectors.T, full_matrices=False)
    least = sizes.amax() * max(vectors.shape) * torch.finfo(vectors.dtype).eps
    return left[:, sizes > least]


def projected(embeddings: Tensor, span: Tensor, concept: Tensor) -> Tensor:
    """(I − P_c) P_in e for each row e [n, width]; `span` and `concept` are `basis`."""
    inside = embeddings @ span @ span.T
    return inside - inside @ concept @ concept.T


def triggers(one_out: Tensor, concept: Tensor, sensitivity: float) -> Tensor:
    """Which tokens bring the prompt near the concept, [n] of truth; a prompt's only token always does."""
    if len(one_out) < 2:
        return torch.ones(len(one_out), dtype=torch.bool, device=one_out.device)
    distances = (one_out - one_out @ concept @ concept.T).norm(dim=-1)
    others = (distances.sum() - distances) / (len(distances) - 1)
    return distances >= (1 + sensitivity) * others


MICROWORLD: dict[str, Any] = {
    # In the built-in world the padding carries what a prompt asks for, more than its words.
    "padding": True,
    "self_validating": False,
    "sensitivity": 0.0,
}

PAPER: dict[str, Any] = {
    "inside_last": True,
    "reattention": True,
    # round(10 σ(1 − cos))
    "steepness": 0.05,
    "centre": 0.0,
}

SAFREE_CARD = MethodCard(
    name="safree",
    title="SAFREE",
    paper="Yoon et al., SAFREE: Training-Free and Adaptive Guard for Safe Text-to-Image and Video "
    "Generation, ICLR 2025, arXiv:2410.12761",
    formula="e_i ← (I − P_c) P_in e_i where ‖(I − P_c) m_i‖ ≥ (1 + α) · mean of the others",
    build=SAFREE,
    presets={"official": {}, "paper": PAPER, "microworld": MICROWORLD},
    many_concepts=True,
    notes="While sampling: plain diffusers cannot hold it, and it is not exported. Written from its "
    "formulas, without a look at the code, which has no licence. As in that code, a token is put out by the "
    "token 0, which is an exclamation mark and no mask, and α 0.01 and 10 steps at most are its options' "
    "defaults. The paper (preset paper), by two summaries of it, has the projections the other way about, "
    "P_in (I − P_c) e, round(10 σ(1 − cos)) steps, which is 5 to 9 of them, and latent re-attention, which "
    "does nothing in the code as it was released: its scales are those of that code (0.9, 0.2), real parts "
    "are compared, as there, and what is greater is scaled, as in the paper, where that code puts the scale "
    "itself; its strict > for triggers is ≥ here. Left out: its phrases for nudity (here the parts of the "
    "text that guidance steers away from); SDXL, SD3 and video. Not checked against it: a prompt of one "
    "token, which has no others to be held against, is a trigger here. A prompt given as embeddings alone, "
    "as some attacks do, is let pass. Weak on the built-in model: a concept of one or two phrases spans "
    "that many directions of 128, and the rest of each token's embedding still says what it is; latent "
    "re-attention changes nothing there (.69 of the validation concepts is left with it and without).",
)
