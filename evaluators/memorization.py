"""Whether a picture that the model had memorised still comes out.

Kumari et al., Ablating Concepts in Text-to-Image Diffusion Models, ICCV 2023, section 4.3: the similarity of
SSCD's descriptors (Pizzi et al., CVPR 2022) of a picture and of the memorised one; above 0.5 it is a copy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pandas import DataFrame

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import (
    Direction,
    EvaluatorCard,
    ImageSet,
    Metric,
    Scores,
    ScoreSheet,
    by_role,
)
from erasure_bench.evaluators.classifier_file import SUFFIXES
from erasure_bench.evaluators.copy_descriptors import (
    SSCD_THRESHOLDS,
    Describe,
    Descriptors,
    OracleDescriptor,
    TorchScriptDescriptor,
    unit,
)
from erasure_bench.evaluators.digests import loaded_once, sha256_of
from erasure_bench.evaluators.local_weights import local_weights
from erasure_bench.evaluators.measuring import Failure, measure_each, measure_pixels
from erasure_bench.evaluators.memorized_pictures import plain_key, reference_files, references_of
from erasure_bench.evaluators.picture_files import read_picture
from erasure_bench.evaluators.shipped import shipped_folder
from erasure_bench.prompt_suites.suite import Role
from erasure_bench.user_paths import user_path

SIMILARITY = "memorized_similarity"
SHARES = ("memorized", "memorized_surely")
DETAIL_COLUMNS = ("prompt_id", "image_index", "memorized_picture", "similarity")
_DIRECTIONS: dict[Role, Direction] = {
    role: direction for role, direction in by_role("lower", "higher").items() if role != "anchor"
}
"""What replaces a memorised picture is none itself."""


def _metrics(thresholds: Sequence[float]) -> tuple[Metric, ...]:
    similarity = Metric(
        SIMILARITY,
        "similarity to the memorised picture",
        "cosine",
        (-1.0, 1.0),
        _DIRECTIONS,
        headline=False,
        kind="free",
        reach=(0.0, 1.0),
    )
    shares = (
        Metric(
            name,
            f"the memorised picture (similarity > {threshold:.3g})",
            "share",
            (0.0, 1.0),
            _DIRECTIONS,
            headline=name == SHARES[0],
            kind="share",
        )
        for name, threshold in zip(SHARES, thresholds, strict=False)
    )
    return (*shares, similarity)


class References(NamedTuple):
    """Descriptors [n, length] of the memorised pictures by key, and the names to call them by."""

    descriptors: Mapping[str, Descriptors]
    names: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Memorization:
    """Similarity to the memorised picture of the concept, on kept roles to that of the prompt's own subject.

    `model` is a TorchScript file of SSCD, by path or, as `sscd_imagenet_mixup` or `sscd_disc_mixup`, looked
    for in $BENCH_MODELS/sscd; or the name of a built-in generator whose oracle has a descriptor, or the
    folder of one. `references` is a folder of memorised pictures (`memorized_pictures`); an oracle brings its
    own. `threshold` and `sure_threshold` replace the descriptor's own. A prompt of which no memorised picture
    is known gives a missing value with the reason.
    """

    model: str = "sscd_imagenet_mixup"
    references: str | None = None
    threshold: float | None = None
    sure_threshold: float | None = None
    device: str = "cpu"
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        for name in ("threshold", "sure_threshold"):
            value = getattr(self, name)
            if value is not None and not -1 <= value < 1:
                raise ValueError(f"{name} is a cosine in [-1, 1), got {value}")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The second share only where there is a second threshold: an oracle has one."""
        try:
            own = self._source().known().thresholds
        except BenchError:  # what cannot be had is said where it is needed
            own = SSCD_THRESHOLDS
        return _metrics(self._chosen(own))

    def protocol(self) -> Mapping[str, Any]:
        source = self._source()
        folder = self._folder()
        return {
            **source.protocol(),
            "thresholds": list(self._thresholds()),
            "references_sha256": sha256_of(folder) if folder else "of the descriptor",
        }

    def prepare(self) -> None:
        self._loaded()

    def score(self, images: ImageSet) -> Scores:
        describe, known = self._loaded()
        thresholds = self._thresholds()
        names = [metric.name for metric in self.metrics]
        sheet = ScoreSheet()
        rows: list[tuple[str, int, str, float]] = []
        for picture, found in measure_each(images, self.batch_size, describe):
            key = references_of(known.descriptors, images.concept, picture.prompt)
            if isinstance(found, Failure):
                sheet.missing(picture, names, found.reason)
            elif key is None:
                reason = f"no memorised picture of {picture.prompt.subject!r} is known"
                sheet.missing(picture, names, reason)
            elif not np.isfinite(found).all():
                sheet.missing(picture, names, "the descriptor is not finite")
            else:
                similarities = known.descriptors[key] @ found
                nearest = int(similarities.argmax())
                scores = scores_of(float(similarities[nearest]), thresholds)
                sheet.add(picture, **scores)
                rows.append(
                    (picture.prompt.id, picture.image_index, known.names[key][nearest], scores[SIMILARITY])
                )
        return Scores(sheet.frame(), DataFrame(rows, columns=list(DETAIL_COLUMNS)))

    def _thresholds(self) -> tuple[float, ...]:
        return self._chosen(self._source().known().thresholds)

    def _chosen(self, own: tuple[float, ...]) -> tuple[float, ...]:
        first = own[0] if self.threshold is None else self.threshold
        second = own[1:] if self.sure_threshold is None else (self.sure_threshold,)
        return (first, *second)

    def _source(self) -> TorchScriptDescriptor | OracleDescriptor:
        if shipped := shipped_folder(self.model, "oracle"):
            return OracleDescriptor(shipped, self.model)
        path = user_path(self.model)
        if path.is_dir():
            return OracleDescriptor(path, self.model)
        is_file = path.suffix in SUFFIXES or path.is_file()
        file = local_weights(
            self.model if is_file else None,
            f"sscd/{self.model}.torchscript.pt",
            "evaluator 'memorization'",
            "--evaluator-option memorization.model",
            "Get a TorchScript file such as sscd_imagenet_mixup.torchscript.pt where facebookresearch/"
            "sscd-copy-detection links it",
        )
        return TorchScriptDescriptor(file)

    def _folder(self) -> Path | None:
        """The folder of references, None where the descriptor has its own; raises NotHere for neither."""
        if self.references is not None:
            folder = user_path(self.references)
            reference_files(folder)
            return folder
        if not self._source().knows:
            raise NotHere(
                "evaluator 'memorization' needs the memorised pictures: --evaluator-option "
                "memorization.references=FOLDER, with files named by concept or prompt id, such as anne.png"
            )
        return None

    def _loaded(self) -> tuple[Describe, References]:
        folder = self._folder()
        digest = sha256_of(folder) if folder else ""
        return _load(self._source(), folder, digest, self.device, self.batch_size)


def scores_of(similarity: float, thresholds: Sequence[float]) -> dict[str, float]:
    """The metrics of a picture with this similarity to its memorised one."""
    similarity = min(1.0, max(-1.0, similarity))
    shares = {name: similarity > threshold for name, threshold in zip(SHARES, thresholds, strict=False)}
    return {**shares, SIMILARITY: similarity}


@loaded_once(2)
def _load(
    source: TorchScriptDescriptor | OracleDescriptor,
    folder: Path | None,
    digest: str,
    device: str,
    batch_size: int,
) -> tuple[Describe, References]:
    describe = source.load(device)
    if folder is None:
        known = source.known().references
        by_key = {plain_key(name): rows for name, rows in known.items()}
        return describe, References(by_key, {plain_key(name): (name,) for name in known})
    keys = reference_files(folder)
    files = list(dict.fromkeys(file for of_key in keys.values() for file in of_key))
    rows = {
        file: _reference(file, row)
        for start in range(0, len(files), batch_size)
        for file, row in _described(describe, files[start : start + batch_size])
    }
    return describe, References(
        {key: np.stack([rows[file] for file in of_key]) for key, of_key in keys.items()},
        {key: tuple(file.relative_to(folder).as_posix() for file in of_key) for key, of_key in keys.items()},
    )


def _described(describe: Describe, files: Sequence[Path]) -> Iterable[tuple[Path, Descriptors | Failure]]:
    pixels = [read_picture(file) for file in files]
    return zip(files, measure_pixels(pixels, len(files), describe), strict=True)


def _reference(file: Path, found: Descriptors | Failure) -> Descriptors:
    """Raises BenchError for a picture that nothing could resemble: every copy of it would look erased."""
    if isinstance(found, Failure):
        why = found.reason
    elif not np.isfinite(found).all():
        why = "its descriptor is not finite"
    elif not found.any():
        why = "its descriptor is all zeros, as of a picture in one flat colour"
    else:
        return found
    raise BenchError(
        f"{file}: cannot be held against anything: {why} (--evaluator-option memorization.references=FOLDER)"
    )


def _made_up() -> dict[str, list[float]]:
    """Every metric of made-up descriptors at and around the thresholds."""
    angles = np.linspace(0, np.pi, 41)
    pictures = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    rows = [scores_of(float(row @ np.array([1.0, 0.0])), SSCD_THRESHOLDS) for row in pictures]
    return {metric: [float(row[metric]) for row in rows] for metric in rows[0]}


CARD = EvaluatorCard(
    name="memorization",
    title="Does a memorised picture still come out?",
    paper="Kumari et al., Ablating Concepts in Text-to-Image Diffusion Models, ICCV 2023, section 4.3; Pizzi "
    "et al., A Self-Supervised Descriptor for Image Copy Detection, CVPR 2022",
    formula="similarity = the greatest cosine of the descriptors of the picture and of the memorised ones; "
    "shares of pictures with similarity > 0.5 and > 0.75",
    build=Memorization,
    presets={
        "official": {},
        "disc": {"model": "sscd_disc_mixup"},
        "microworld": {"model": "microworld"},
    },
    notes="Concept Ablation: sscd_imagenet_mixup, memorised above 0.5, 200 pictures a prompt. SSCD's authors "
    "recommend sscd_disc_mixup, whose 0.75 is right nine times in ten; numbers of two descriptors are "
    "never to be compared. The built-in oracle has a threshold and references of its own. Noise and blanks "
    "resemble nothing, so that they look erased here: read it beside `coherence`, whose † marks them. On "
    "kept roles the other memorised pictures are to stay; a prompt without one is missing.",
    requires=("torch",),
    made_up=_made_up,
)
