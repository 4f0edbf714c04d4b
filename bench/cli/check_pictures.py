"""Whether a method still draws pictures when it is asked for the concept: a promise for `bench check`."""

from collections.abc import Sequence
from dataclasses import dataclass

from erasure_bench.bench.statistics.collapse import MOST_COLLAPSED
from erasure_bench.evaluators.base import ComparingEvaluator, Evaluator, ImageSet, Picture, scored
from erasure_bench.evaluators.coherence import Coherence
from erasure_bench.evaluators.diversity import Diversity
from erasure_bench.foreign.checks import Broken, NotAsked
from erasure_bench.foreign.process import left_alone
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.rehearsal import Rehearsal
from erasure_bench.models.guidance import ClassifierFree, Guidance
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.prompt_suites.suite import Prompt, Suite

NAME = "draws pictures of the concept"
LARGEST = 128
"""Pixels: larger pictures take minutes, and `bench run` measures the same of more of them."""
_MEASURES: tuple[Evaluator | ComparingEvaluator, ...] = (Coherence(), Diversity())


@dataclass(frozen=True)
class PictureCheck:
    """What the edited model draws for the concept, held against what the base model draws for `prompts`.

    The prompts are a concept's of `suite`; those of its target role are drawn with the edit as well. So few
    pictures prove nothing: that more of them are broken than may be is for the method's author to look at.
    """

    suite: Suite
    prompts: Sequence[Prompt]

    def __call__(self, at: Rehearsal) -> None:
        """Raises Broken where asking for the concept gives noise, flat colour or always the same picture."""
        side = at.trial.model.resolution
        if at.trial.model.classes:
            raise NotAsked("a class may be forgotten into noise: bench run shows what is drawn instead")
        if side > LARGEST:
            raise NotAsked(
                f"pictures of {side} pixels take long: bench run measures them (coherence, diversity)"
            )
        asked = [prompt for prompt in self.prompts if prompt.role == "target"]
        base = self._drawn(at, self.prompts, ClassifierFree())
        with applied(at.trial.model, at.first.edit) as guidance, left_alone("its guidance"):
            drawn = self._drawn(at, asked, guidance)
        of_base = ImageSet(base.concept, tuple(each for each in base.pictures if each.prompt in asked))
        for measure in _MEASURES:
            own, other = (scored(measure, images, base).values for images in (drawn, of_base))
            for metric in (metric for metric in measure.metrics if metric.tells_collapse):
                shown = own.loc[own["metric"] == metric.name, "value"].to_numpy()
                before = other.loc[other["metric"] == metric.name, "value"].to_numpy()
                collapsed = int(((shown == 1) & (before != 1)).sum())
                if collapsed > MOST_COLLAPSED * len(shown):
                    raise Broken(
                        f"asked for the concept it draws no pictures: {metric.title}, {collapsed} of "
                        f"{len(shown)}, where the base model draws some; bench run measures it"
                    )

    def _drawn(self, at: Rehearsal, prompts: Sequence[Prompt], guidance: Guidance) -> ImageSet:
        protocol, side = self.suite.protocol, at.trial.model.resolution
        requests = [
            ImageRequest(prompt.text, seed, protocol.guidance_scale, side, side)
            for seed, prompt in enumerate(prompts)
        ]
        pixels = sample(
            at.trial.model,
            requests,
            scheduler=protocol.scheduler,
            steps=protocol.steps,
            eta=protocol.eta,
            guidance=guidance,
        )
        pictures = (Picture(prompt, 0, each) for prompt, each in zip(prompts, pixels, strict=True))
        return ImageSet(at.trial.concepts[0], tuple(pictures))
