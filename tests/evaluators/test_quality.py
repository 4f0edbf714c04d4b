"""CLIP-IQA, aesthetic ratings and PickScore against torchmetrics, torch and transformers called directly.

The models are tiny and random, of the published formats and shapes.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.clip import ClipAlignment
from erasure_bench.evaluators.clip_features import ClipFeatures
from erasure_bench.evaluators.clip_model import load_clip
from erasure_bench.evaluators.clip_source import clip_source
from erasure_bench.evaluators.quality import PAIRS, Quality
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.prompt_suites.suite import ERASED_ROLES

open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

MakeImages = Callable[..., ImageSet]
WIDTH = 16


@pytest.fixture(scope="module")
def pick_folder(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIPModel in transformers' format, with the tokenizer of the tiny CLIP."""
    folder = tmp_path_factory.mktemp("hub") / "yuvalkirstain" / "PickScore_v1"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_clip)
    tokenizer.save_pretrained(folder)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 20,
        "eos_token_id": tokenizer.eos_token_id,
    }
    vision = {"image_size": 32, "patch_size": 8}
    torch.manual_seed(1)
    config = transformers.CLIPConfig(
        text_config={**small, **text}, vision_config={**small, **vision}, projection_dim=WIDTH
    )
    network = transformers.CLIPModel(config)
    with torch.no_grad():
        for weight in (network.text_projection.weight, network.visual_projection.weight):
            weight.normal_()
    network.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    return folder


def _images(image_set: MakeImages, count: int = 32, size: tuple[int, int] = (32, 32)) -> ImageSet:
    return image_set(*[("retention", f"colour {place % 5}") for place in range(count)], size=size)


def _scores(evaluator: Quality, images: ImageSet, metric: str) -> np.ndarray:
    frame = evaluator.score(images).values
    return frame[frame.metric == metric].sort_values("image_index").value.to_numpy(float)


class OpenClip:
    """An open_clip model as torchmetrics calls transformers' ones."""

    def __init__(self, folder: Path) -> None:
        self.model, _, self.preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        self.model.eval()
        self.tokenize = open_clip.get_tokenizer(f"local-dir:{folder}")

    def to(self, device: Any) -> "OpenClip":
        return self

    def get_text_features(self, tokens: Any, mask: Any) -> Any:
        return self.model.encode_text(tokens)

    def get_image_features(self, pixels: Any) -> Any:
        return self.model.encode_image(pixels)

    def __call__(self, text: Any = None, images: Any = None, **_: Any) -> dict[str, Any]:
        if text is not None:
            tokens = self.tokenize(text)
            return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        pictures = [Image.fromarray(np.uint8(each.numpy()).transpose(1, 2, 0)) for each in images]
        return {"pixel_values": torch.stack([self.preprocess(picture) for picture in pictures])}


class Transformers(OpenClip):
    """A transformers model, which gives more than features today, as torchmetrics calls older ones."""

    def __init__(self, folder: Path) -> None:
        self.model = transformers.CLIPModel.from_pretrained(folder).eval()
        self.process = transformers.CLIPProcessor(
            transformers.CLIPImageProcessor.from_pretrained(folder),
            transformers.AutoTokenizer.from_pretrained(folder),
        )

    def get_text_features(self, tokens: Any, mask: Any) -> Any:
        return self.model.get_text_features(input_ids=tokens, attention_mask=mask).pooler_output

    def get_image_features(self, pixels: Any) -> Any:
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    def __call__(self, text: Any = None, images: Any = None, **given: Any) -> Any:
        return self.process(text=text, images=images, **given)


@pytest.mark.parametrize("of", [OpenClip, Transformers])
@pytest.mark.parametrize("batch", [1, 7, 32])
def test_clip_iqa_is_torchmetrics(
    of: type[OpenClip], batch: int, tiny_clip: Path, pick_folder: Path, image_set: MakeImages
) -> None:
    multimodal = pytest.importorskip("torchmetrics.functional.multimodal")
    folder = tiny_clip if of is OpenClip else pick_folder
    images, both = _images(image_set), of(folder)
    pixels = torch.tensor(np.stack([p.pixels for p in images.pictures]).transpose(0, 3, 1, 2)).float()
    expected = multimodal.clip_image_quality_assessment(
        pixels,
        model_name_or_path=lambda: (both, both),
        prompts=("quality", "noisiness", "sharpness", "natural"),
    )

    evaluator = Quality(backbone=str(folder), batch_size=batch)

    for metric, name in zip(PAIRS, ("quality", "noisiness", "sharpness", "natural"), strict=True):
        ours, reference = _scores(evaluator, images, metric), expected[name].numpy()
        np.testing.assert_allclose(ours, reference, atol=1e-5)
        np.testing.assert_allclose(np.log(ours), np.log(reference), atol=1e-3)  # the tiny ones
    assert max(np.ptp(np.log(expected[name].numpy())) for name in expected) > 0.1


def _published_head(*widths: int) -> Any:
    """Linear layers with dropouts between them, as the improved predictor is written; the last two touch."""
    layers: list[Any] = []
    for before, after in zip(widths, widths[1:], strict=False):
        layers += [torch.nn.Linear(before, after), torch.nn.Dropout(0.2)]
    del layers[-1], layers[-2]
    return torch.nn.Sequential(*layers).eval()


@pytest.mark.parametrize("batch", [1, 7, 32])
@pytest.mark.parametrize("kind", ["improved", "linear"])
def test_the_aesthetic_rating_is_the_published_heads(
    kind: str, batch: int, tiny_clip: Path, image_set: MakeImages, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    file = tmp_path / "head.pth"
    if kind == "improved":
        head = _published_head(WIDTH, 12, 8, 6, 4, 1)
        torch.save({f"layers.{name}": value for name, value in head.state_dict().items()}, file)
    else:
        head = torch.nn.Linear(WIDTH, 1).eval()
        torch.save(head.state_dict(), file)
    images = _images(image_set)
    embedded = load_clip(clip_source(str(tiny_clip))).encode_images([p.pixels for p in images.pictures])
    with torch.no_grad():
        expected = head(embedded).squeeze(-1).numpy()

    evaluator = Quality(measure="aesthetic", backbone=str(tiny_clip), head=str(file), batch_size=batch)
    evaluator.prepare()

    np.testing.assert_allclose(_scores(evaluator, images, "aesthetic_rating"), expected, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_pickscore_is_the_models_own_logit(batch: int, pick_folder: Path, image_set: MakeImages) -> None:
    """Of other sizes than the network's, so that the processor has something to do."""
    images = _images(image_set, size=(40, 56))
    model = transformers.CLIPModel.from_pretrained(pick_folder).eval()
    process = transformers.CLIPProcessor(
        transformers.CLIPImageProcessor.from_pretrained(pick_folder),
        transformers.AutoTokenizer.from_pretrained(pick_folder),
    )
    given = process(
        text=[p.prompt.text for p in images.pictures],
        images=[Image.fromarray(p.pixels) for p in images.pictures],
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        expected = model(**given).logits_per_image.diag().numpy()

    evaluator = Quality(measure="pickscore", backbone=str(pick_folder), batch_size=batch)

    np.testing.assert_allclose(_scores(evaluator, images, "pickscore"), expected, atol=1e-4)
    assert len(set(np.round(expected, 3))) > 5


def test_a_folder_of_transformers_says_which_library_reads_it(tiny_clip: Path, pick_folder: Path) -> None:
    """By whose version its numbers may move; open_clip's folders hang on open_clip alone."""
    ours = ClipAlignment(backbone=str(tiny_clip)).protocol()
    theirs = ClipAlignment(backbone=str(pick_folder)).protocol()
    features = ClipFeatures(str(pick_folder)).protocol()

    assert "transformers" not in ours and "open_clip" in ours["resize"]
    for protocol in (theirs, features):
        assert protocol["transformers"] == transformers.__version__
        assert protocol["resize"] == "the folder's own image processor"


def test_pickscore_is_found_by_its_repositorys_name(
    pick_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(pick_folder.parent.parent))
    found = build_evaluator("quality@pickscore")

    assert (
        found.protocol()["weights_sha256"] == Quality(backbone=str(pick_folder)).protocol()["weights_sha256"]
    )
    found.prepare()


def test_a_folder_of_transformers_serves_the_clip_score_too(pick_folder: Path, image_set: MakeImages) -> None:
    frame = ClipAlignment(backbone=str(pick_folder)).score(image_set(("target", None))).values
    assert (frame.status == "ok").all()


def test_a_single_row_of_pixels_fills_no_memory(tiny_clip: Path, pick_folder: Path) -> None:
    """Both libraries bring the shorter side to their network's size and let the other grow with it."""
    row = np.zeros((1, 400, 3), np.uint8)
    for folder in (tiny_clip, pick_folder):
        with pytest.raises(ValueError, match="400×1 pixels are too narrow"):
            load_clip(clip_source(str(folder))).encode_images([row])


def test_loading_draws_nothing_from_the_global_generator(tiny_clip: Path, pick_folder: Path) -> None:
    load_clip.cache_clear()
    before = torch.get_rng_state()
    for folder in (tiny_clip, pick_folder):
        load_clip(clip_source(str(folder)))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_wins_by_it_where_the_concept_should_go(image_set: MakeImages) -> None:
    for measure in ("clip-iqa", "aesthetic", "pickscore"):
        for metric in Quality(measure=measure).metrics:
            assert {metric.better[role] for role in ERASED_ROLES} == {"neither"}
            assert {way for role, way in metric.better.items() if role not in ERASED_ROLES} == {"higher"}


def test_what_is_missing_is_named(tmp_path: Path, tiny_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    with pytest.raises(BenchError, match=r"sac\+logos\+ava1-l14-linearMSE.pth.*head=FILE"):
        build_evaluator("quality@aesthetic", options={"backbone": str(tiny_clip)}).protocol()
    with pytest.raises(NotHere, match=r"\$BENCH_MODELS/yuvalkirstain/PickScore_v1.*backbone=FOLDER"):
        build_evaluator("quality@pickscore").protocol()
    with pytest.raises(BenchError, match="head has no effect with measure=clip-iqa"):
        build_evaluator("quality", options={"head": "x"})
    with pytest.raises(BenchError, match="measure"):
        build_evaluator("quality", options={"measure": "beauty"})


def _layer(prefix: str, wide: int, taken: int) -> dict[str, Any]:
    return {f"{prefix}weight": torch.ones(wide, taken), f"{prefix}bias": torch.zeros(wide)}


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (_layer("", 1, WIDTH + 1), "another model"),
        (_layer("", 2, WIDTH), "give no rating"),
        ({**_layer("0.", 4, WIDTH), **_layer("1.", 1, 5)}, "give no rating"),
        ({"weight": torch.ones(1, WIDTH)}, "no linear layers"),
    ],
    ids=["width", "two", "broken chain", "no bias"],
)
def test_a_head_that_does_not_fit_is_refused(
    tensors: dict[str, Any], said: str, tiny_clip: Path, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "head.safetensors")
    evaluator = Quality(measure="aesthetic", backbone=str(tiny_clip), head=str(tmp_path / "head.safetensors"))
    with pytest.raises(BenchError, match=said):
        evaluator.prepare()


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["CLIPModel"]}))
    with pytest.raises(BenchError, match="cannot be loaded"):
        Quality(backbone=str(tmp_path)).prepare()
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    with pytest.raises(BenchError, match="open_clip_config.json"):
        Quality(backbone=str(tmp_path)).protocol()
