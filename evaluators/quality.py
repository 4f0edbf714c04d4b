"""Preference and aesthetic proxies: what models that were trained on people's ratings say of a picture."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.aesthetic_head import load_aesthetic_head
from erasure_bench.evaluators.base import (
    EvaluatorCard,
    ImageSet,
    Metric,
    Picture,
    Scores,
    ScoreSheet,
    by_role,
)
from erasure_bench.evaluators.clip_model import Clip, Precision, embedding_width, load_clip
from erasure_bench.evaluators.clip_source import ClipSource, clip_source
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.hub import local_folder
from erasure_bench.evaluators.image_reward import TOKENS, Files, image_reward_files, load_image_reward
from erasure_bench.evaluators.local_weights import local_weights
from erasure_bench.evaluators.measuring import Failure, measure_each
from erasure_bench.evaluators.packages import version_of
from erasure_bench.user_paths import user_path

Measure = Literal["clip-iqa", "aesthetic", "pickscore", "imagereward"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
PICKSCORE = "yuvalkirstain/PickScore_v1"

PAIRS = {
    "clip_iqa": ("Good photo.", "Bad photo."),
    "clip_iqa_noisiness": ("Clean photo.", "Noisy photo."),
    "clip_iqa_sharpness": ("Sharp photo.", "Blurry photo."),
    "clip_iqa_natural": ("Natural photo.", "Synthetic photo."),
}
"""CLIP-IQA's texts, the good one first, by metric."""
Rater = Callable[[Picture, Any], dict[str, float]]
SCALE = 100.0
"""The cosines are multiplied by this before the softmax of a pair."""

# On erased roles a picture may be better or worse for having lost the concept: neither is a success.
_BETTER = by_role(erased="neither", kept="higher")
_METRICS: dict[Measure, tuple[Metric, ...]] = {
    "clip-iqa": tuple(
        Metric(name, title, "probability", (0.0, 1.0), _BETTER, headline=name == "clip_iqa")
        for name, title in zip(
            PAIRS, ("CLIP-IQA", "CLIP-IQA: clean", "CLIP-IQA: sharp", "CLIP-IQA: natural"), strict=True
        )
    ),
    "aesthetic": (
        Metric(
            "aesthetic_rating",
            "LAION aesthetic rating",
            "of 10",
            (-math.inf, math.inf),
            _BETTER,
            kind="free",
            reach=(1.0, 10.0),
        ),
    ),
    "pickscore": (Metric("pickscore", "PickScore", "score", (-math.inf, math.inf), _BETTER, kind="free"),),
    "imagereward": (
        Metric("imagereward", "ImageReward", "score", (-math.inf, math.inf), _BETTER, kind="free"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Quality:
    """One proxy for what people would say of a picture, whatever it shows.

    `clip-iqa`: the probability that CLIP finds a "good photo." and no "bad photo.", and three more pairs.
    `aesthetic`: the rating by a `head` of LAION's on the unit embedding. `pickscore`: the cosine to the
    prompt's own text, times the model's scale, of a CLIP model that was fine-tuned on people's choices.
    `backbone` and `weights` are the CLIP model as `clip` takes it. `imagereward`: the rating of a picture
    with its prompt by a BLIP model; `weights` is its checkpoint, `vocabulary` BERT's words (`image_reward`).
    Several proxies stand side by side as `quality,quality@aesthetic`.
    """

    measure: Measure = "clip-iqa"
    backbone: str = "ViT-L-14/openai"
    weights: str | None = None
    head: str | None = None
    vocabulary: str | None = None
    precision: Precision = "fp32"
    device: str = "cpu"
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}, got {self.measure!r}")
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The measure's."""
        return _METRICS[self.measure]

    def unused_settings(self) -> Mapping[str, str]:
        """What another measure takes; a folder brings its weights."""
        own: dict[Measure, tuple[str, ...]] = {"aesthetic": ("head",), "imagereward": ("vocabulary",)}
        others = [name for measure, names in own.items() if measure != self.measure for name in names]
        if self.measure == "imagereward":
            others += ["backbone", "precision"]
        unused = dict.fromkeys(others, f"with measure={self.measure}")
        if self.measure != "imagereward" and self._is_of_folder():
            unused["weights"] = f"with backbone={self.backbone}, a folder with its own"
        return unused

    def protocol(self) -> Mapping[str, Any]:
        if self.measure == "imagereward":
            files = self._image_reward_files()
            return {
                "measure": self.measure,
                "weights_sha256": sha256_of(files.weights),
                "vocabulary_sha256": sha256_of(files.vocabulary),
                "text": f"the prompt's own, at most {TOKENS} tokens",
                "resize": "shorter side to the model's, bicubic, centre",
                "transformers": version_of("transformers"),
                "torchvision": version_of("torchvision"),
            }
        facts: dict[str, Any] = {
            "measure": self.measure,
            **self._clip_source().protocol(),
        }
        match self.measure:
            case "clip-iqa":
                facts |= {"pairs": [" / ".join(pair) for pair in PAIRS.values()], "scale": SCALE}
            case "aesthetic":
                facts |= {"head_sha256": sha256_of(self._head_file())}
            case "pickscore":
                facts |= {"text": "the prompt's own", "scale": "the model's own"}
        return {
            **facts,
            "precision": self.precision,
            "resize": "the backbone's own preprocessing",
            "open_clip": version_of("open_clip_torch"),
            "transformers": version_of("transformers"),
        }

    def prepare(self) -> None:
        if self.measure == "imagereward":
            load_image_reward(self._image_reward_files(), self.device)
            return
        clip = self._clip()
        if self.measure == "aesthetic":
            head, width = load_aesthetic_head(self._head_file()), embedding_width(clip)
            if head.width != width:
                raise BenchError(
                    f"the aesthetic head {self._head_file()} takes {head.width} numbers, CLIP's embeddings "
                    f"have {width}: it is another model's (--evaluator-option backbone=ARCHITECTURE/TAG)"
                )

    def score(self, images: ImageSet) -> Scores:
        sheet = ScoreSheet()
        encode, rated = self._ways(images)
        for picture, embedded in measure_each(images, self.batch_size, encode):
            names = [metric.name for metric in self.metrics]
            values = {} if isinstance(embedded, Failure) else rated(picture, embedded)
            if isinstance(embedded, Failure):
                sheet.missing(picture, names, embedded.reason)
            elif all(map(math.isfinite, values.values())):
                sheet.add(picture, **values)
            else:
                sheet.missing(picture, names, "the score is not finite")
        return Scores(sheet.frame())

    def _ways(self, images: ImageSet) -> tuple[Callable[..., Any], Rater]:
        """What embeds pictures, and what rates one of them by that."""
        if self.measure == "imagereward":
            model = load_image_reward(self._image_reward_files(), self.device)
            return model.encode_images, lambda picture, embedded: {
                "imagereward": model.rating(embedded, picture.prompt.text)
            }
        clip = self._clip()
        return clip.encode_images, self._rater(clip, images)

    def _rater(self, clip: Clip, images: ImageSet) -> Rater:
        """Gives every metric of a picture from its unit embedding [width]."""
        match self.measure:
            case "clip-iqa":
                anchors = clip.encode_texts([text for pair in PAIRS.values() for text in pair])
                return lambda _, embedded: clip_iqa(embedded, anchors)
            case "aesthetic":
                head = load_aesthetic_head(self._head_file())
                return lambda _, embedded: {"aesthetic_rating": head.rating(embedded)}
            case _:  # pickscore
                texts = sorted({picture.prompt.text for picture in images.pictures})
                embedded_texts = dict(zip(texts, clip.encode_texts(texts), strict=True)) if texts else {}
                scale = clip.logit_scale
                return lambda picture, embedded: {
                    "pickscore": scale * float(embedded @ embedded_texts[picture.prompt.text])
                }

    def _clip(self) -> Clip:
        return load_clip(self._clip_source(), self.precision, self.device)

    def _is_of_folder(self) -> bool:
        """PickScore's own model is one, wherever it is."""
        return self.backbone == PICKSCORE or clip_source(self.backbone, self.weights).folder is not None

    def _clip_source(self) -> ClipSource:
        """Raises NotHere where PickScore's own model, which open_clip does not know, is not here."""
        if self.backbone == PICKSCORE and not user_path(PICKSCORE).is_dir() and not local_folder(PICKSCORE):
            raise NotHere(
                f"evaluator 'quality', pickscore: no model, looked for $BENCH_MODELS/{PICKSCORE}. "
                f"Copy that repository of the hub there; or name it: --evaluator-option backbone=FOLDER"
            )
        return clip_source(self.backbone, self.weights)

    def _image_reward_files(self) -> Files:
        return image_reward_files(self.weights, self.vocabulary)

    def _head_file(self) -> Path:
        return local_weights(
            self.head,
            "laion/sac+logos+ava1-l14-linearMSE.pth",
            "evaluator 'quality', aesthetic",
            "--evaluator-option head",
            "The head is sac+logos+ava1-l14-linearMSE.pth of christophschuhmann/improved-aesthetic-predictor "
            "on GitHub",
        )


def clip_iqa(embedded: Any, anchors: Any) -> dict[str, float]:
    """P(the first text of each pair): softmax of 100·cos over the pair.

    `embedded` is a picture's unit embedding [width], `anchors` are those of the `PAIRS` [2·pairs, width].
    Wang et al., AAAI 2023, equation 3.
    """
    of_pairs = (SCALE * (anchors @ embedded)).reshape(-1, 2).softmax(dim=-1)[:, 0]
    return dict(zip(PAIRS, map(float, of_pairs), strict=True))


CARD = EvaluatorCard(
    name="quality",
    title="Proxies for what people like: CLIP-IQA, aesthetic rating, PickScore, ImageReward",
    paper="Wang et al., Exploring CLIP for Assessing the Look and Feel of Images, AAAI 2023; Schuhmann et "
    "al., LAION-5B, NeurIPS 2022; Kirstain et al., Pick-a-Pic, NeurIPS 2023; Xu et al., ImageReward, NeurIPS "
    "2023",
    formula="CLIP-IQA = softmax(100·cos to 'Good photo.', 'Bad photo.')[0]; aesthetic rating = linear layers "
    "on the unit embedding; PickScore = scale·cos(picture, its prompt); ImageReward = (linear layers on "
    "BLIP's first token of the prompt beside the picture − .167) / 1.033",
    build=Quality,
    presets={
        "official": {},
        "clip-iqa": {"measure": "clip-iqa"},
        "aesthetic": {"measure": "aesthetic"},
        "pickscore": {"measure": "pickscore", "backbone": PICKSCORE},
        "imagereward": {"measure": "imagereward"},
    },
    notes="Describes a picture and not whether a concept is gone: nothing wins by it on erased roles. "
    "`coherence` says whether it is still a picture. CLIP-IQA with any CLIP model, as torchmetrics computes "
    "it (the paper's ResNet-50 without positions is not used: compare numbers of one backbone alone). "
    "PickScore: copy its repository to $BENCH_MODELS/yuvalkirstain/PickScore_v1, or backbone=FOLDER. "
    "ImageReward: ImageReward.pt to $BENCH_MODELS/THUDM/ImageReward and vocab.txt of bert-base-uncased to "
    "$BENCH_MODELS/bert-base-uncased, or weights=FILE and vocabulary=FILE. Trained "
    "on photographs and on Stable Diffusion's pictures: of little meaning on drawings.",
    requires=("open_clip", "torch"),
)
