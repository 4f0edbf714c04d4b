"""AdaVD: adaptive value decomposition.

Wang, Li, Wang, Zhang, Liu, Li, Fu: Precise, Fast, and Low-cost Concept Erasure in Value Space, CVPR 2025.
While sampling, every cross-attention's value v_j of a prompt's token j loses its part along the concept's
value τ_j, if the two are alike:

    v_j ← v_j − g_j (v_j · τ_j)/(τ_j · τ_j) τ_j          g_j = c σ(a (cos(v_j, τ_j) − b))

τ_j is the value of the concept's last token, put at every position after the start token, which stays as it
is. Of several concepts, v_j's projection onto all of their τ is Σ a_i τ_i, and a_i τ_i is taken with g of
its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import FiniteFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import linear

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext, MethodCard, Need
from erasure_bench.methods.edit import Edit, check_concepts, new_edit
from erasure_bench.methods.machinery.closed_form import last_token, text_embeddings
from erasure_bench.methods.machinery.cost import Meter
from erasure_bench.methods.machinery.hooks import output_changed
from erasure_bench.methods.machinery.parameters import cross_attentions
from erasure_bench.models.asking import asked
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

Rows = Literal["conditional", "both"]
CONCEPTS, EMPTY = "concepts", "empty"


@dataclass(frozen=True, kw_only=True)
class Shift:
    """g = `factor` σ(`steepness` (cos − `centre`))."""

    steepness: float
    centre: float
    factor: float


@dataclass(frozen=True, kw_only=True)
class AdaVD:
    """Settings of AdaVD; the defaults are the official code's.

    With `shift` g is as above, with `steepness` a, `centre` b and `factor` c, else 1. `rows` says what v_j
    is: the value of the prompt alone (`conditional`), or that with the unconditional text's before it
    (`both`), whose cosine is then nearer to 1, since the two unconditional values are the same; both are
    changed. `phrases` says whether a concept's canonical phrase is erased or all of its target phrases,
    `tokens` whether τ is the value of its last token alone, or also of the end token and the padding after
    it, each as if of a concept of its own.
    """

    phrases: Literal["canonical", "all"] = "canonical"
    tokens: Literal["last", "last-to-end"] = "last"
    rows: Rows = "both"
    shift: bool = True
    steepness: PositiveFloat = 100.0
    centre: FiniteFloat = 0.93
    factor: PositiveFloat = 2.0

    def unused_settings(self) -> Mapping[str, str]:
        """Without the shift g is 1."""
        return {} if self.shift else dict.fromkeys(("steepness", "centre", "factor"), "with shift=false")

    def uses_seed(self) -> bool:
        """The seed changes nothing."""
        return False

    def needs(self, concepts: Sequence[Concept], context: EraseContext) -> tuple[Need, ...]:
        """Nothing that takes time."""
        return ()

    def erase(self, model: DiffusionModel, concepts: Sequence[Concept], context: EraseContext) -> Edit:
        """An edit of the attention's values while sampling: no weight changes, the seed changes nothing."""
        check_concepts(concepts)
        with Meter(model.device) as meter:
            phrases = [
                phrase
                for concept in concepts
                for phrase in (concept.targets if self.phrases == "all" else (concept.target,))
            ]
            texts = text_embeddings(model, [*phrases, ""])
            rows = [texts[phrase][self._tokens(model, phrase)] for phrase in dict.fromkeys(phrases)]
            projection = ValueProjection(
                tensors={CONCEPTS: torch.cat(rows).float(), EMPTY: texts[""].float()},
                rows=self.rows,
                shift=self._shift(),
            )
        return new_edit("adavd", self, model, concepts, attachments=[projection], cost=meter.cost(steps=0))

    def _tokens(self, model: DiffusionModel, phrase: str) -> slice:
        last = last_token(model.tokenizer, phrase)
        return slice(last, last + 1 if self.tokens == "last" else None)

    def _shift(self) -> Shift | None:
        if not self.shift:
            return None
        return Shift(steepness=self.steepness, centre=self.centre, factor=self.factor)


@dataclass(frozen=True, kw_only=True, eq=False)
class ValueProjection:
    """The attachment, of the embeddings `concepts` [n, width] and `empty` [tokens, width].

    The values of the former are taken out; the latter are the unconditional text's. `rows` as in `AdaVD`; g
    is 1 without a `shift`.

    Where only a prompt is asked about, as by an attack, its unconditional values are those of the empty text.
    """

    tensors: Mapping[str, Tensor]
    rows: Rows
    shift: Shift | None

    @contextmanager
    def attached(self, model: DiffusionModel) -> Iterator[None]:
        """The projection at work in every cross-attention."""
        concepts, empty = (self.tensors[name].to(model.device, model.dtype) for name in (CONCEPTS, EMPTY))
        with ExitStack() as stack:
            for module in cross_attentions(model.unet).values():
                to_v: nn.Linear = module.to_v  # type: ignore[assignment]
                values = _Values(to_v, concepts, empty, self.rows, self.shift)
                stack.enter_context(output_changed(to_v, values))
            yield

    def as_weights(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Refused: what is taken out depends on the value that it is taken from."""
        raise BenchError("it changes the attention's values by how near they are to the concept's")


@dataclass
class _Values:
    """What one module's values become, by the weights that it has then: an attack may tune them."""

    to_v: nn.Linear
    concepts: Tensor
    empty: Tensor
    rows: Rows
    shift: Shift | None

    def __call__(self, given: Tensor, values: Tensor) -> Tensor:
        call = asked()
        prompts, wide = call.block("conditional"), values.float()
        tokens = values.shape[1]
        targets = self._of(self.concepts)[:, None].expand(-1, tokens, -1)
        changed = values.clone()
        if self.rows == "conditional":
            changed[prompts] = taken_out(wide[prompts], targets, self.shift).to(values)
            return changed
        paired = "unconditional" in call.layout.roles
        others = call.block("unconditional") if paired else None
        empty = self._of(self.empty)
        before = empty.expand(call.pictures, -1, -1) if others is None else wide[others]
        both = torch.cat([empty.expand(len(targets), -1, -1), targets], -1)
        after = taken_out(torch.cat([before, wide[prompts]], -1), both, self.shift).to(values)
        changed[prompts] = after[..., values.shape[-1] :]
        if others is not None:
            changed[others] = after[..., : values.shape[-1]]
        return changed

    @torch.no_grad()
    def _of(self, embeddings: Tensor) -> Tensor:
        # Not by calling the module, whose hook this is.
        return linear(embeddings, self.to_v.weight, self.to_v.bias).float()


def taken_out(values: Tensor, targets: Tensor, shift: Shift | None) -> Tensor:
    """`values` [pictures, tokens, width] without their parts along `targets` [n, tokens, width].

    The start token, position 0, stays as it is. g is 1 without a shift.
    """
    products = torch.einsum("ptd,ntd->ptn", values, targets)
    inner = torch.einsum("ntd,mtd->tnm", targets, targets)
    parts = torch.einsum("tnm,ptm->ptn", torch.linalg.pinv(inner, hermitian=True), products)
    if shift is not None:
        sizes = values.norm(dim=-1)[..., None] * targets.norm(dim=-1).T
        cosines = products / sizes.clamp(min=torch.finfo(values.dtype).tiny)
        parts = parts * shift.factor * torch.sigmoid(shift.steepness * (cosines - shift.centre))
    removed = torch.einsum("ptn,ntd->ptd", parts, targets)
    return torch.cat([values[:, :1], values[:, 1:] - removed[:, 1:]], 1)


MICROWORLD: dict[str, Any] = {
    "phrases": "all",
    # In the built-in world the padding carries what a prompt asks for, more than its last word.
    "tokens": "last-to-end",
    # Its values of a concept in a scene lie less close to those of the concept alone than 0.93.
    "centre": 0.88,
}

ADAVD_CARD = MethodCard(
    name="adavd",
    title="Adaptive Value Decomposer",
    paper="Wang et al., Precise, Fast, and Low-cost Concept Erasure in Value Space: Orthogonal Complement "
    "Matters, CVPR 2025, arXiv:2412.06143",
    formula="v_j ← v_j − g_j (v_j · τ_j)/(τ_j · τ_j) τ_j,  g_j = c σ(a (cos(v_j, τ_j) − b))",
    build=AdaVD,
    presets={"official": {}, "paper": {"rows": "conditional"}, "microworld": MICROWORLD},
    many_concepts=True,
    notes="While sampling: plain diffusers cannot hold it, and it is not exported. Preset official is the "
    "code (c2d2962), which takes the values of the unconditional and of the conditional row for one vector; "
    "preset paper takes the conditional alone. All heads are one vector, as there. That code has the shift "
    "behind a flag (--token_sim, which its demonstration sets; without it shift=false) and samples with 30 "
    "steps of DPM-Solver++: here the suite's protocol samples. Of two concepts its Gram-Schmidt is the "
    "projection that is here a pseudo-inverse; from three on it takes out of each value its parts along the "
    "others' own values, and not along what of them was left, which is no projection any more: here it is "
    "one for any number. Left out: SDXL.",
)
