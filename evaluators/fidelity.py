"""KID, FID, Inception score, precision and recall, by torch-fidelity's own functions on kept features.

Bińkowski et al., Demystifying MMD GANs, ICLR 2018; Heusel et al., GANs Trained by a Two Time-Scale Update
Rule, NeurIPS 2017; Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016; Kynkäänniemi et al.,
Improved Precision and Recall Metric for Assessing Generative Models, NeurIPS 2019.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import EvaluatorCard, Metric, by_role
from erasure_bench.evaluators.inception import NAME, POOLED, InceptionFeatures
from erasure_bench.evaluators.left_out import coverage_without_each, frechet_without_each
from erasure_bench.evaluators.measuring import Failure
from erasure_bench.evaluators.network_features import FolderFeatures
from erasure_bench.evaluators.packages import version_of
from erasure_bench.evaluators.sets import (
    BASE,
    OTHER_SEEDS,
    FeatureSet,
    SetEvaluator,
    Statistics,
    Vectors,
    statistic,
)
from erasure_bench.evaluators.shipped import shipped_classifier
from erasure_bench.models.mmd import Kernels, cubic, squared_mmd, without_each
from erasure_bench.user_paths import user_path

LARGEST_SUBSET, SUBSETS = 1000, 100
"""KID is the mean over so many subsets of at most so many pictures, drawn by torch-fidelity with its seed."""
ENOUGH_FOR_FID = 2048
SPLITS = 10
"""Of the Inception score: parts of the set, each of which has a score."""
Shares = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Fidelity(SetEvaluator):
    """How far a set of pictures is from a reference set, in a network's features; see `docs/set-measures.md`.

    `network` is torch-fidelity's `inception-v3-compat`, with `weights` for a local copy, or the name of a
    built-in generator that ships a classifier, or of a data set, or a folder with a classifier
    (`classifier_folder`): its numbers carry its name and are not Inception's. `reference` is what
    `evaluators.sets` says. `neighbours` is k of precision and recall.
    """

    network: str = NAME
    weights: str | None = None
    reference: str = BASE
    neighbours: int = 3
    device: str = "cpu"
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("batch_size", "neighbours"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")

    def unused_settings(self) -> Mapping[str, str]:
        """A folder brings its weights."""
        return {} if self._is_inception else {"weights": f"with network={self.network}, which has its own"}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Titles name the network, unless it is the one that everybody means."""
        of = "" if self._is_inception else f" ({Path(self.network).name})"
        far, near = by_role("neither", "lower"), by_role("neither", "higher")
        found = [
            statistic("kid", f"KID{of}", "squared MMD", (-math.inf, math.inf), far),
            statistic("fid", f"FID{of}", "Fréchet distance", (0.0, math.inf), far),
            statistic("precision", f"precision{of}", "share", (0.0, 1.0), near, headline=False),
            statistic("recall", f"recall{of}", "share", (0.0, 1.0), near, headline=False),
        ]
        if self._is_inception:
            as_it_is = by_role("neither", "neither")
            title = "Inception score"
            found.append(
                statistic("inception_score", title, "score", (1.0, math.inf), as_it_is, headline=False)
            )
        return tuple(found)

    @property
    def extractor(self) -> InceptionFeatures | FolderFeatures:
        """What gives the features."""
        if self._is_inception:
            return InceptionFeatures(self.weights, self.device)
        folder = shipped_classifier(self.network) or user_path(self.network)
        if not folder.is_dir():
            raise BenchError(
                f"fidelity network {self.network!r}: no such folder; valid: {NAME}, a built-in generator, a "
                "data set, a folder with a classifier (--evaluator-option fidelity.network=)"
            )
        return FolderFeatures(folder, self.network, self.device)

    def protocol(self) -> Mapping[str, Any]:
        return {
            "network": NAME if self._is_inception else "a classifier's own features",
            "kid": f"cubic kernel, unbiased, {SUBSETS} subsets of min({LARGEST_SUBSET}, n1, n2); where both "
            "sets have pictures of one prompt and noise: all pairs but these"
            + ("; here: all pairs but those of one prompt" if self.reference == OTHER_SEEDS else ""),
            "neighbours": self.neighbours,
            "splits": SPLITS,
            "torch-fidelity": version_of("torch-fidelity"),
        }

    def statistics(self, pictures: FeatureSet, reference: FeatureSet | None) -> Statistics:
        found: dict[str, float | Failure] = {}
        if self._is_inception:
            found["inception_score"] = _or_why(_inception_score, _logits(pictures))
        if reference is not None:
            x, y = self._pooled(pictures), self._pooled(reference)
            found["kid"] = _or_why(_kid, x, y, _dependent(pictures, reference))
            found["fid"] = _or_why(_fid, x, y)
            coverage = _or_why(_coverage, x, y, self.neighbours)
            both = (coverage, coverage) if isinstance(coverage, Failure) else coverage
            found["precision"], found["recall"] = both
        return found

    def without_each(
        self, pictures: FeatureSet, reference: FeatureSet | None, prompts: Sequence[int]
    ) -> Mapping[str, Shares]:
        """KID over all pictures at once, without subsets; each distance matrix is computed once."""
        found: dict[str, Shares] = {}
        if self._is_inception:
            left = (_or_why(_inception_score, _logits(pictures.without(prompt))) for prompt in prompts)
            found["inception_score"] = np.array([np.nan if isinstance(one, Failure) else one for one in left])
        if reference is not None:
            x, y = self._pooled(pictures), self._pooled(reference)
            codes = pictures.prompts, reference.prompts
            kernels = _kernels(x, y, _dependent(pictures, reference))
            found["kid"] = without_each(kernels, *codes, prompts, unbiased=True)
            found["fid"] = frechet_without_each(x, y, *codes, prompts)
            both = coverage_without_each(x, y, *codes, prompts, self.neighbours)
            found["precision"], found["recall"] = both
        return found

    def caution(self, pictures: int) -> str:
        """What to say of numbers of so few pictures, and of a reference that they are not independent of."""
        said = []
        if pictures < ENOUGH_FOR_FID:
            said.append(
                f"FID of fewer than {ENOUGH_FOR_FID:,} pictures is biased at small n; prefer KID, CMMD."
            )
        if self.reference == BASE:
            said.append(
                "FID, precision and recall are better than independent sets' where a method changes little, "
                "as its pictures are of the reference's own noise (KID leaves these pairs out): see none's "
                "noise floor by reference=other-seeds."
            )
        return " ".join(said)

    @property
    def _is_inception(self) -> bool:
        return self.network == NAME

    def _pooled(self, features: FeatureSet) -> Vectors:
        return features.values[:, :POOLED] if self._is_inception else features.values


class _TooFew(Exception):
    """Why there is no statistic."""


def _or_why(measure: Callable[..., Any], *given: Any) -> Any:
    try:
        return measure(*given)
    except _TooFew as reason:
        return Failure(str(reason))


def _at_least(needed: int, *sets: Vectors) -> None:
    if (fewest := min(map(len, sets))) < needed:
        raise _TooFew(f"{fewest} pictures with features, at least {needed} are needed")


def _logits(pictures: FeatureSet) -> Vectors:
    return pictures.values[:, POOLED:]


class _Dependent(NamedTuple):
    """Pairs of pictures that are not independent: across [m, n], and within the sets [m, m] and [n, n]."""

    twins: NDArray[np.bool_] | None = None
    kin: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None


def _dependent(pictures: FeatureSet, reference: FeatureSet) -> _Dependent:
    """Those of one noise; of one prompt where the reference is of the same prompts and of other noises.

    There, other than beside the same noises, no pairs within the sets make up for them: KID fell below 0.
    """
    twins = pictures.twins(reference)
    if twins is not None or pictures.noises is None or reference.noises is None:
        return _Dependent(twins)
    across = pictures.of_one_prompt(reference)
    if not across.any():
        return _Dependent()
    return _Dependent(across, (_akin(pictures), _akin(reference)))


def _akin(pictures: FeatureSet) -> NDArray[np.bool_]:
    return pictures.of_one_prompt(pictures) | np.eye(len(pictures), dtype=bool)


def _kid(x: Vectors, y: Vectors, dependent: _Dependent) -> float:
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

    _at_least(2, x, y)
    if dependent.twins is not None:
        found = squared_mmd(_kernels(x, y, dependent), unbiased=True)
        if not math.isfinite(found):
            raise _TooFew("pictures of one prompt alone: an unbiased distance needs others (--limit)")
        return found
    if np.array_equal(x, y):
        raise _TooFew(
            "the same pictures as the reference: an unbiased distance needs others (reference=other-seeds)"
        )
    size = min(LARGEST_SUBSET, len(x), len(y))
    # Subsets that are the whole sets are all the same.
    subsets = 1 if size == len(x) == len(y) else SUBSETS
    of_subsets = kid_features_to_metric(
        *_tensors(x, y), kid_subsets=subsets, kid_subset_size=size, rng_seed=_seed(), verbose=False
    )
    return float(of_subsets[KEY_METRIC_KID_MEAN])


def _kernels(x: Vectors, y: Vectors, dependent: _Dependent) -> Kernels:
    return Kernels(cubic(x, x), cubic(y, y), cubic(x, y), *dependent)


def _fid(x: Vectors, y: Vectors) -> float:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    _at_least(2, x, y)
    of_x, of_y = map(fid_features_to_statistics, _tensors(*_in_their_span(x, y)))
    return max(float(fid_statistics_to_metric(of_x, of_y, False)[KEY_METRIC_FID]), 0.0)


def _in_their_span(x: Vectors, y: Vectors) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same sets, turned so that features which no picture has are left out; the distance stays.

    Of a few hundred pictures with 2048 features the eigenvalues then take no minutes.
    """
    if len(x) + len(y) >= x.shape[1]:
        return x, y
    both = np.concatenate([x, y]).astype(np.float64)
    both -= both.mean(axis=0)
    axes, _ = np.linalg.qr(both.T)
    turned = both @ axes
    return turned[: len(x)], turned[len(x) :]


def _coverage(x: Vectors, y: Vectors, neighbours: int) -> tuple[float, float]:
    """Precision of x, the pictures, and their recall of y."""
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    _at_least(neighbours + 1, x, y)
    found = prc_features_to_metric(*_tensors(x, y), prc_neighborhood=neighbours, verbose=False)
    return float(found[KEY_METRIC_PRECISION]), float(found[KEY_METRIC_RECALL])


def _inception_score(logits: Vectors) -> float:
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    _at_least(SPLITS, logits)
    return float(
        isc_features_to_metric(*_tensors(logits), splits=SPLITS, rng_seed=_seed())[KEY_METRIC_ISC_MEAN]
    )


def _tensors(*vectors: Vectors) -> list[Any]:
    import torch

    return [torch.from_numpy(np.ascontiguousarray(each)) for each in vectors]


def _seed() -> int:
    from torch_fidelity.defaults import DEFAULTS

    return int(DEFAULTS["rng_seed"])


CARD = EvaluatorCard(
    name="fidelity",
    version="3",
    title="KID, FID, Inception score, precision and recall of sets of pictures",
    paper="Bińkowski et al., Demystifying MMD GANs, ICLR 2018; Heusel et al., NeurIPS 2017; Salimans et al., "
    "NeurIPS 2016; Kynkäänniemi et al., NeurIPS 2019",
    formula="torch-fidelity's functions on inception-v3-compat: pool3 for all but the Inception score; KID "
    "over subsets of min(1000, n1, n2), or beside pictures of the same prompts and noises over all pairs but "
    "those of one noise (Gretton's U-statistic); precision and recall with k = 3",
    build=Fidelity,
    presets={
        "official": {},
        "microworld": {"network": "microworld"},
        "retrained": {"reference": "row:retrain"},
    },
    notes="FID of few pictures is biased upwards: compare equal n only, and prefer KID, or cmmd. Concept "
    "Ablation prints KID ×10³, resized by clean-fid: not the same digits. Pictures of the reference's own "
    "prompts and noises lie nearer than independent ones: KID leaves these pairs out, and is 0 where no "
    "picture changed; with reference=other-seeds, where it leaves out all pairs of one prompt, the base "
    "model's own row is the noise floor. On erased roles a distance only describes: noise is the farthest.",
    requires=("torch_fidelity", "torch"),
)
