"""Class probability, predicted class and entropy.

Heng & Soh, Selective Amnesia, NeurIPS 2023, section 4 (mean probability of the forgotten class,
mean entropy); Gandikota et al., ESD, ICCV 2023, section 5 (top-1 accuracy of a ResNet-50).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from pandas import DataFrame

from erasure_bench.errors import BenchError
from erasure_bench.evaluators import imagenet
from erasure_bench.evaluators.base import EvaluatorCard, ImageSet, Metric, Pixels, Scores, ScoreSheet, by_role
from erasure_bench.evaluators.classifier_file import FileInput, Interpolation, Output, wrong_input
from erasure_bench.evaluators.classifier_source import Beside, classifier_source
from erasure_bench.evaluators.composed_labels import AND, WantedAnswers, wanted_answers
from erasure_bench.evaluators.digests import loaded_once
from erasure_bench.evaluators.kept_domains import DOMAIN_METRICS, domain_accuracies
from erasure_bench.evaluators.labelled_classifier import (
    ClassifierSource,
    LabelledClassifier,
    Probabilities,
)
from erasure_bench.evaluators.measuring import Failure, measure_each
from erasure_bench.evaluators.packages import required_module
from erasure_bench.evaluators.seen_instead import NOTHING, content_places, sees_known, sees_nothing
from erasure_bench.prompt_suites.suite import ERASED_ROLES

DETAIL_COLUMNS = ("prompt_id", "image_index", "label", "head", "predicted", "predicted_probability")


_OF_LABEL = ("class_probability", "class_accuracy", "entropy")
_OF_ANCHOR = ("anchor_share", "anchor_probability")
_SHARE, _PROBABILITY = ("share", (0.0, 1.0)), ("probability", (0.0, 1.0))
_METRICS = (
    Metric("class_probability", "class probability", *_PROBABILITY, by_role("lower", "higher")),
    Metric("class_accuracy", "class accuracy", *_SHARE, by_role("lower", "higher"), kind="share"),
    Metric("anchor_share", "anchor seen instead", *_SHARE, by_role(erased="neither"), kind="share"),
    Metric(
        "anchor_probability",
        "probability of the anchor",
        *_PROBABILITY,
        by_role(erased="neither"),
        headline=False,
    ),
    Metric("known_share", "something known", *_SHARE, by_role(erased="higher"), kind="share"),
)
_NOTHING_SHARE = Metric(
    "nothing_share", "nothing at all", *_SHARE, by_role(erased="lower"), kind="share", tells_collapse=True
)


@dataclass(frozen=True, kw_only=True)
class ClassProbability:
    """What a classifier sees: the concept's label where it should be gone, the prompt's own elsewhere.

    And on erased roles what is there instead: the concept's anchor, anything that the classifier knows
    (probability ≥ ½), or nothing. Which of the anchor and the rest it is describes a method, and so does the
    entropy, which noise can have high and low.

    `model` is what `classifier_source` reads; a file comes with `labels` (another file, or `imagenet`), and
    `resolution`, `mean`, `std`, `output`, `interpolation` as its network wants them, a CLIP model with the
    `labels` to choose from (a file, or `cifar10`); torchvision's weights are taken from `weights`, a local
    copy or a mirror's address. Labels may be composed (`composed_labels`). One that the model lacks gives a
    missing value with the reason.

    With `top` above 1 a prediction counts as well where the label is among the `top` most probable.
    `classes="imagenette"` makes sure that the ten lie where ImageNet's 1,000 have them. `report` says whose
    numbers are columns: with `sa` the probability and the entropy, with `unlearncanvas` UA, IRA and CRA.
    """

    model: str = "resnet50/IMAGENET1K_V2"
    weights: str | None = None
    labels: str | None = None
    resolution: int | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    output: Output = "logits"
    interpolation: Interpolation = "bicubic"
    top: int = 1
    classes: Literal["imagenette"] | None = None
    report: Literal["all", "sa", "unlearncanvas"] = "all"
    device: str = "cpu"
    batch_size: int = 32

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """`nothing_share` only where the classifier says, before it is loaded, that it has such a label."""
        try:
            labels, count = self._source().known_labels(), self._source().known_count()
        except BenchError:  # what cannot be had is said where it is needed
            labels, count = (), None
        metrics = [*_METRICS, _entropy_metric(count)]
        if self.top > 1:
            metrics.append(_top_metric(self.top))
        if NOTHING in labels:
            metrics.append(_NOTHING_SHARE)
        if self.report == "unlearncanvas":
            metrics += DOMAIN_METRICS
        return tuple(
            metric if metric.tells_collapse else replace(metric, headline=self._is_column(metric))
            for metric in metrics
        )

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        if self.top < 1:
            raise ValueError("top must be at least 1")
        if wrong := wrong_input(self.resolution, self.std):
            raise ValueError(wrong)

    def unused_settings(self) -> Mapping[str, str]:
        """Each kind of `model` brings some of the settings itself."""
        try:
            source = self._source()
        except BenchError:  # what cannot be had is said where it is needed
            return {}
        kind = f"with model={self.model}, {source.kind}"
        return {setting: kind for setting in _SOME_READ if setting not in source.reads}

    def protocol(self) -> Mapping[str, Any]:
        own = {name: getattr(self, name) for name in ("top", "classes", "report")}
        changed = {name: value for name, value in own.items() if value != getattr(type(self), name)}
        return {**self._source().protocol(), **changed}

    def prepare(self) -> None:
        self._classifier()

    def score(self, images: ImageSet) -> Scores:
        classifier = self._classifier()
        heads = classifier.heads
        names = [metric.name for metric in self.metrics]
        of_nothing = [_NOTHING_SHARE.name] if _NOTHING_SHARE.name in names else []
        of_label = [*_OF_LABEL, *([_top_metric(self.top).name] if self.top > 1 else ())]
        things = content_places(heads)
        of_concept = _answers(images.concept.label, f"concept {images.concept.name}", heads)
        sheet = ScoreSheet()
        predictions: list[tuple[str, int, str, str, str, float]] = []
        measure = partial(_by_picture, classifier)
        for picture, seen in measure_each(images, self.batch_size, measure):
            if isinstance(seen, Failure):
                sheet.missing(picture, names, seen.reason)
                continue
            if not all(np.isfinite(probabilities).all() for probabilities in seen.values()):
                sheet.missing(picture, names, "the prediction is not finite")
                continue
            sheet.add(picture, known_share=sees_known(things, seen))
            for name in of_nothing:
                sheet.add(picture, **{name: sees_nothing(heads, seen)})
            anchor = wanted_answers(images.concept.anchor_label or images.concept.anchor, heads)
            if isinstance(anchor, str):
                sheet.missing(picture, _OF_ANCHOR, anchor)
            else:
                sheet.add(
                    picture,
                    anchor_share=anchor.all_right(seen),
                    anchor_probability=anchor.probability(seen),
                )
            of_prompt = _answers(picture.prompt.label, f"prompt {picture.prompt.subject!r}", heads)
            if self.report == "unlearncanvas":
                for name, value in domain_accuracies(of_concept, of_prompt, seen).items():
                    if isinstance(value, str):
                        sheet.missing(picture, [name], value)
                    else:
                        sheet.add(picture, **{name: value})
            erased = picture.prompt.role in ERASED_ROLES
            label, wanted = (
                (images.concept.label, of_concept) if erased else (picture.prompt.label, of_prompt)
            )
            if isinstance(wanted, str) or label is None:
                sheet.missing(picture, of_label, str(wanted))
                continue
            sheet.add(
                picture,
                class_probability=wanted.probability(seen),
                class_accuracy=wanted.all_right(seen),
                entropy=min(wanted.entropy(seen), sum(math.log(len(heads[head])) for head in wanted.heads)),
            )
            if self.top > 1:
                sheet.add(picture, **{_top_metric(self.top).name: wanted.all_right(seen, self.top)})
            best = {head: int(seen[head].argmax()) for head in wanted.heads}
            predictions.append(
                (
                    picture.prompt.id,
                    picture.image_index,
                    label,
                    AND.join(best),
                    AND.join(heads[head][place] for head, place in best.items()),
                    math.prod(float(seen[head][place]) for head, place in best.items()),
                )
            )
        return Scores(sheet.frame(), DataFrame(predictions, columns=list(DETAIL_COLUMNS)))

    def _is_column(self, metric: Metric) -> bool:
        columns = _COLUMNS.get(self.report)
        return metric.headline if columns is None else metric.name in columns

    def _source(self) -> ClassifierSource:
        given = FileInput(
            resolution=self.resolution,
            mean=self.mean,
            std=self.std,
            output=self.output,
            interpolation=self.interpolation,
        )
        return classifier_source(self.model, Beside(weights=self.weights, labels=self.labels, input=given))

    def _classifier(self) -> LabelledClassifier:
        classifier = _load(self._source(), self.device)
        if self.classes is not None:
            imagenet.check_imagenette(classifier.heads, self.model)
        most = max(len(labels) for labels in classifier.heads.values())
        if self.top > 1 and self.top >= most:
            raise BenchError(
                f"top={self.top}: {self.model} has {most} labels, of which any would be among so many "
                f"(--evaluator-option top=1)"
            )
        return classifier


_SOME_READ = ("weights", "labels", "resolution", "mean", "std", "output", "interpolation")
"""What only some kinds of models leave to the user."""
_COLUMNS = {
    "sa": ("class_probability", "entropy"),
    "unlearncanvas": tuple(metric.name for metric in DOMAIN_METRICS),
}
"""Whose numbers are which columns of a table; the others stay in the files."""


def _entropy_metric(labels: int | None) -> Metric:
    """In nats; at most the logarithm of the number of labels, where it is known and there is one head."""
    most = math.inf if labels is None or labels < 2 else math.log(labels)
    said = "" if math.isinf(most) else f", at most ln {labels} = {most:.3f}"
    return Metric(
        "entropy",
        f"entropy of the prediction{said}",
        "nats",
        (0.0, most),
        by_role(erased="neither"),
        headline=False,
    )


def _top_metric(top: int) -> Metric:
    return Metric(
        f"class_top{top}",
        f"class among the {top} most probable",
        *_SHARE,
        by_role("lower", "higher"),
        kind="share",
    )


def _answers(label: str | None, of: str, heads: Mapping[str, tuple[str, ...]]) -> WantedAnswers | str:
    """What the label asks of the classifier, or why it cannot be scored; `of` says whose label it is."""
    return f"{of} has no label in the suite" if label is None else wanted_answers(label, heads)


@loaded_once(4)
def _load(source: ClassifierSource, device: str) -> LabelledClassifier:
    torch = required_module("torch", "torch", "classifier")
    with torch.random.fork_rng(devices=[]):  # networks are made of random weights before they get their own
        return source.load(device)


def _by_picture(classifier: LabelledClassifier, pixels: Sequence[Pixels]) -> list[dict[str, Probabilities]]:
    by_head = classifier.predict(pixels)
    return [{head: rows[i] for head, rows in by_head.items()} for i in range(len(pixels))]


CARD = EvaluatorCard(
    name="classifier",
    title="Class probability, accuracy and entropy",
    paper="Heng & Soh, Selective Amnesia, NeurIPS 2023, section 4; Gandikota et al., ESD, ICCV 2023, "
    "section 5",
    formula="p(label | image) of the label's head; accuracy = share with argmax = label; entropy = −Σ p ln "
    "p (nats, at most ln K of K labels); composed labels: the product over heads, all right; something "
    "known: p ≥ ½ for a thing; nothing at all: p(nothing) ≥ ½; UA = share of erased roles not seen as the "
    "concept, IRA = of neighbours seen as their own label of the concept's head, CRA = of these and of "
    "retention as their label of another head",
    version="3",
    build=ClassProbability,
    presets={
        "official": {},
        "microworld": {"model": "microworld"},
        "imagenette": {"model": "resnet50/IMAGENET1K_V2", "classes": "imagenette"},
        "efficientnet-lite0": {
            "model": "efficientnet-lite0.pt",
            "labels": imagenet.NAME,
            "resolution": 224,
            "mean": (0.498, 0.498, 0.498),
            "std": (0.502, 0.502, 0.502),
        },
        "sa": {"model": "sa-classifier.pt", "labels": "sa-labels.txt", "report": "sa"},
        "unlearncanvas": {"model": "unlearncanvas.json", "report": "unlearncanvas"},
        "artists": {"model": "./artist-style", "top": 3},
        "cifar10-zero-shot": {"model": "clip:ViT-B-32/openai", "labels": "cifar10"},
    },
    notes="Erased roles are scored on the concept's label, the others on the prompt's own. A label that "
    "the model lacks is a missing value, never 0. ESD counts predictions among all 1,000 classes (accuracy), "
    "SA averages probabilities. cifar10-zero-shot is MACE's: CLIP's nearest text among the ten classes; its "
    "own evaluation averages probabilities. `left/cat & right/boat` asks that both hold, ` | ` stands "
    "between alternatives. Files that a preset names are looked for here, then in $BENCH_MODELS; how to make "
    "them: docs/classifiers.md.",
    requires=("torch",),
)
