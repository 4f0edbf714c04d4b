"""Several classifiers as one: each is a head under a name of its own, as UnlearnCanvas' style and object."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.labelled_classifier import ClassifierSource, LabelledClassifier, Probabilities


@dataclass(frozen=True)
class SeveralClassifiers:
    """Where each head's classifier comes from; each of them has one head."""

    sources: tuple[tuple[str, ClassifierSource], ...]

    kind: ClassVar[str] = "a file that names a classifier for each head"
    reads: ClassVar[tuple[str, ...]] = ()

    def protocol(self) -> Mapping[str, Any]:
        return {f"head {head}": source.protocol() for head, source in self.sources}

    def known_labels(self) -> Collection[str]:
        return [label for _, source in self.sources for label in source.known_labels()]

    def known_count(self) -> int | None:
        return self.sources[0][1].known_count() if len(self.sources) == 1 else None

    def load(self, device: str) -> LabelledClassifier:
        return SideBySide(tuple((head, source.load(device)) for head, source in self.sources))


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Classifiers side by side, shown the same pictures."""

    classifiers: tuple[tuple[str, LabelledClassifier], ...]

    def __post_init__(self) -> None:
        for head, classifier in self.classifiers:
            if len(classifier.heads) != 1:
                raise BenchError(
                    f"the classifier of the head {head!r} has several heads of its own: "
                    f"{', '.join(classifier.heads)}; name it alone (--evaluator-option model=)"
                )

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        return {head: next(iter(classifier.heads.values())) for head, classifier in self.classifiers}

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        found = {}
        for head, classifier in self.classifiers:
            (found[head],) = classifier.predict(pixels).values()
        return found
