"""CLIP cosines equal a direct computation; scores and accuracy follow from them; sources are read right."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.clip import ClipAlignment
from erasure_bench.evaluators.clip_model import _as_trained, _weights_file, load_clip
from erasure_bench.evaluators.clip_source import clip_source
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.prompt_suites.concepts import Concept

open_clip = pytest.importorskip("open_clip")
MakeImages = Callable[..., ImageSet]


def _direct_embeddings(folder: Path, images: ImageSet, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings from the saved tensors and tokens, without this project's or open_clip's loaders."""
    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    network = open_clip.CLIP(**config["model_cfg"]).eval()
    network.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    pixels = np.stack([picture.pixels for picture in images.pictures]) / 255.0
    mean, std = (np.array(config["preprocess_cfg"][key]) for key in ("mean", "std"))
    batch = torch.tensor(((pixels - mean) / std).transpose(0, 3, 1, 2), dtype=torch.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokens = torch.zeros(len(texts), config["model_cfg"]["text_cfg"]["context_length"], dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        ids = tokenizer.encode(text).ids
        row[: len(ids)] = torch.tensor(ids)
    with torch.no_grad():
        seen, read = network.encode_image(batch).numpy(), network.encode_text(tokens).numpy()
    return _unit(seen), _unit(read)


def _unit(embedded: np.ndarray) -> np.ndarray:
    return np.asarray(embedded / np.linalg.norm(embedded, axis=1, keepdims=True))


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_scores_equal_open_clips_own_embeddings(
    tiny_clip: Path, image_set: MakeImages, batch_size: int
) -> None:
    asked = (("target", "red"), ("anchor", "blue"), ("neighbour", "green"), ("implicit", "fire"))
    images = image_set(*asked * 8)
    texts = [f"A photo depicts {subject} ball" for subject in ("red", "blue", "green", "red") * 8]
    seen, read = _direct_embeddings(tiny_clip, images, texts)

    frame = ClipAlignment(backbone=str(tiny_clip), batch_size=batch_size).score(images).values
    scores = frame.pivot(index="image_index", columns="metric", values="value")

    cosine = (seen * read).sum(axis=1)
    np.testing.assert_allclose(scores.clip_cosine, cosine, atol=1e-5)
    np.testing.assert_allclose(scores.clip_score, 2.5 * np.maximum(cosine, 0), atol=3e-5)
    np.testing.assert_allclose(scores.clip_score_100, 100 * cosine, atol=1e-3)
    nearer = seen @ read[0] > seen @ read[1]
    np.testing.assert_array_equal(scores.clip_accuracy, nearer.astype(float))


def test_spms_error_rate_is_against_the_empty_text(tiny_clip: Path, image_set: MakeImages) -> None:
    images = image_set(*[("target", "red")] * 6)
    seen, read = _direct_embeddings(tiny_clip, images, ["A photo depicts red ball", ""])
    by_spm = build_evaluator("clip@spm", options={"backbone": str(tiny_clip)})

    frame = by_spm.score(images).values
    found = frame[frame.metric == "clip_accuracy"].value.to_numpy()

    np.testing.assert_array_equal(found, (seen @ read[0] > seen @ read[1]).astype(float))
    assert by_spm.protocol() != ClipAlignment(backbone=str(tiny_clip)).protocol()


def test_accuracy_turns_round_when_concept_and_anchor_change_places(
    tiny_clip: Path, image_set: MakeImages
) -> None:
    images = image_set(*[("target", "red")] * 6)
    swapped = ImageSet(replace(images.concept, targets=("blue ball",), anchor="red ball"), images.pictures)
    clip = ClipAlignment(backbone=str(tiny_clip))

    there, back = (
        frame[frame.metric == "clip_accuracy"].value.to_numpy()
        for frame in (clip.score(images).values, clip.score(swapped).values)
    )

    np.testing.assert_array_equal(there, 1 - back)


def _texts(clip: ClipAlignment, concept: Concept, images: ImageSet) -> list[str]:
    """What the pictures are compared with in turn, and then the anchor's text."""
    return [clip.text(concept, picture.prompt) for picture in images.pictures] + [clip.anchor_text(concept)]


@pytest.mark.parametrize("phrase", ["Van Gogh", "van gogh style"])
def test_the_texts_of_a_style_are_concept_ablations(phrase: str, image_set: MakeImages) -> None:
    """Its code asks of every picture how near it is to "A photo depicts {name} style", in small letters,
    where {name} is the erased style or another one, and to "A photo depicts painting"."""
    images = image_set(("target", "x"), ("misspelt", "x"), ("neighbour", "Monet"), ("retention", "Car"))
    style = replace(images.concept, kind="style", targets=(phrase,), anchor="Painting")

    assert _texts(ClipAlignment(), style, images) == [
        "A photo depicts van gogh style",
        "A photo depicts van gogh style",
        "A photo depicts monet ball style",
        "A photo depicts car ball",
        "A photo depicts painting",
    ]


def test_the_texts_of_an_object_are_concept_ablations(image_set: MakeImages) -> None:
    images = image_set(("target", "x"), ("neighbour", "Persian Cat"))
    cat = replace(images.concept, kind="instance", targets=("Grumpy Cat",), anchor="Cat")

    assert _texts(ClipAlignment(), cat, images) == [
        "A photo depicts grumpy cat",
        "A photo depicts persian cat ball",
        "A photo depicts cat",
    ]


@pytest.mark.parametrize("phrase", ["mosaic", "mosaic style"])
def test_the_built_in_models_texts_stay_what_its_leaderboards_were_scored_with(
    phrase: str, image_set: MakeImages
) -> None:
    images = image_set(("target", "x"), ("misspelt", "x"), ("neighbour", "Neon"), ("retention", "car"))
    style = replace(images.concept, kind="style", targets=(phrase,), anchor="picture")
    clip = build_evaluator("clip", "microworld")
    assert isinstance(clip, ClipAlignment)

    assert _texts(clip, style, images) == [
        "mosaic style",
        "mosaic style",
        "a picture of Neon ball",
        "a picture of car ball",
        "a picture of picture",
    ]
    assert clip.protocol().keys() == {
        "weights_sha256", "template", "style_template", "precision", "resize", "open_clip"
    }  # fmt: skip
    assert (clip.protocol()["template"], clip.protocol()["style_template"]) == ("a picture of {}", "{} style")


def test_accuracy_is_tabled_for_erased_roles_only() -> None:
    better = {metric.name: metric.better for metric in ClipAlignment.metrics}

    assert better["clip_accuracy"] == dict.fromkeys(("target", "implicit", "misspelt", "attack"), "lower")
    assert better["clip_cosine"]["anchor"] == "higher" and better["clip_cosine"]["target"] == "lower"


def test_a_checkpoint_file_with_an_architecture(tmp_path: Path, image_set: MakeImages) -> None:
    import torch

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
    }
    (tmp_path / "tiny-for-test.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(tmp_path / "tiny-for-test.json")
    torch.manual_seed(1)
    network = open_clip.CLIP(**config)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    source = clip_source("tiny-for-test", str(tmp_path / "weights.pt"))

    embedded = load_clip(source).encode_texts(["a red ball", "a photo"])

    with torch.no_grad():
        expected = network.eval().encode_text(open_clip.tokenize(["a red ball", "a photo"]), normalize=True)
    torch.testing.assert_close(embedded, expected)
    assert source.protocol().keys() == {"architecture", "weights_sha256"}


def test_a_tags_local_copy_is_found_under_the_names_that_it_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "ViT-B-32/openai": "timm/vit_base_patch32_clip_224.openai/open_clip_model.safetensors",
        "ViT-B-32/laion2b_s34b_b79k": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K/open_clip_pytorch_model.bin",
        "ViTamin-S/datacomp1b": "jienengchen/ViTamin-S/pytorch_model.bin",
    }
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    for backbone, file in files.items():
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_bytes(b"")

        assert _weights_file(clip_source(backbone)) == tmp_path / file


def test_a_file_beside_a_tag_is_read_as_the_tags_weights_are(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"some weights")
    tagged, plain = clip_source("ViT-B-32/openai", str(file)), clip_source("ViT-B-32", str(file))

    assert _weights_file(tagged) == _weights_file(plain) == file
    assert _as_trained(tagged)["force_quick_gelu"] is True and _as_trained(plain) == {}
    assert tagged.protocol() == plain.protocol() | {"pretrained": "openai"}
    with pytest.raises(BenchError, match="no pretrained tag"):
        clip_source("ViT-B-32/openia", str(file))


def test_another_local_copy_of_a_tags_weights_is_another_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    source = clip_source("ViT-B-32/openai")
    assert source.protocol() == {"architecture": "ViT-B-32", "pretrained": "openai"}
    copy = tmp_path / "timm/vit_base_patch32_clip_224.openai/open_clip_model.safetensors"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"wrong")
    wrong = source.protocol()
    copy.write_bytes(b"the right ones")
    assert wrong["weights_sha256"] != source.protocol()["weights_sha256"]


def test_weights_that_cannot_be_had_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)

    with pytest.raises(BenchError) as refused:
        ClipAlignment(backbone="ViT-B-32/openai").prepare()

    message = str(refused.value)
    for word in (
        "ViT-B-32/openai",
        "open_clip_model.safetensors",
        "Looked in",
        "BENCH_MODELS",
        "weights=PATH",
    ):
        assert word in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("backbone", "weights", "word"),
    [
        ("ViT-B-99/openai", None, "ViT-B-32"),
        ("ViT-B-32/openia", None, "openai"),
        ("ViT-B-32", "no/such/file.pt", "not a file"),
        ("local-dir:no/such/folder", None, "open_clip_config.json"),
    ],
)
def test_a_wrong_backbone_names_the_right_ones(backbone: str, weights: str | None, word: str) -> None:
    with pytest.raises(BenchError, match=word) as refused:
        ClipAlignment(backbone=backbone, weights=weights).protocol()

    assert "--evaluator-option" in str(refused.value)


def test_a_template_without_a_place_for_the_subject_is_refused() -> None:
    with pytest.raises(ValueError, match="template"):
        ClipAlignment(template="a photo")
