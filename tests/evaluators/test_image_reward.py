"""ImageReward against BLIP's and BERT's equations written out, on a small random checkpoint of its names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import conv2d, gelu, layer_norm, linear

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.image_reward import MEAN, SPREAD, TOKENS
from erasure_bench.evaluators.quality import Quality
from erasure_bench.evaluators.registry import build_evaluator

pytest.importorskip("transformers")

MakeImages = Callable[..., ImageSet]
State = dict[str, torch.Tensor]
SIDE, PATCH, SEEN, READ, LAYERS = 32, 8, 64, 128, 2
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "colour", *map(str, range(10)), "a", "##b", "!"]
BLIPS_OWN = 2
"""[DEC] and [ENC]."""


@pytest.fixture(scope="module")
def checkpoint() -> State:
    """Every tensor that `ImageReward.pt` has, in small: two layers each, heads of 64."""
    random = torch.Generator().manual_seed(0)
    state: State = {}

    def linear_of(name: str, wide: int, taken: int) -> None:
        state[f"{name}.weight"] = torch.randn(wide, taken, generator=random) * 2 / taken**0.5
        state[f"{name}.bias"] = torch.randn(wide, generator=random) * 0.1

    def norm_of(name: str, wide: int) -> None:
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(wide, generator=random)
        state[f"{name}.bias"] = 0.1 * torch.randn(wide, generator=random)

    see, read = "blip.visual_encoder", "blip.text_encoder"
    state[f"{see}.cls_token"] = torch.randn(1, 1, SEEN, generator=random)
    state[f"{see}.pos_embed"] = torch.randn(1, (SIDE // PATCH) ** 2 + 1, SEEN, generator=random)
    state[f"{see}.patch_embed.proj.weight"] = torch.randn(SEEN, 3, PATCH, PATCH, generator=random) * 0.1
    state[f"{see}.patch_embed.proj.bias"] = torch.randn(SEEN, generator=random)
    for number in range(LAYERS):
        block = f"{see}.blocks.{number}"
        norm_of(f"{block}.norm1", SEEN)
        norm_of(f"{block}.norm2", SEEN)
        linear_of(f"{block}.attn.qkv", 3 * SEEN, SEEN)
        linear_of(f"{block}.attn.proj", SEEN, SEEN)
        linear_of(f"{block}.mlp.fc1", 96, SEEN)
        linear_of(f"{block}.mlp.fc2", SEEN, 96)
    norm_of(f"{see}.norm", SEEN)
    for name, count in (("word", len(WORDS) + BLIPS_OWN), ("position", 40)):
        state[f"{read}.embeddings.{name}_embeddings.weight"] = torch.randn(count, READ, generator=random)
    state[f"{read}.embeddings.position_ids"] = torch.arange(40)[None]
    norm_of(f"{read}.embeddings.LayerNorm", READ)
    for number in range(LAYERS):
        layer = f"{read}.encoder.layer.{number}"
        for part, taken in (("attention", READ), ("crossattention", SEEN)):
            linear_of(f"{layer}.{part}.self.query", READ, READ)
            linear_of(f"{layer}.{part}.self.key", READ, taken)
            linear_of(f"{layer}.{part}.self.value", READ, taken)
            linear_of(f"{layer}.{part}.output.dense", READ, READ)
            norm_of(f"{layer}.{part}.output.LayerNorm", READ)
        linear_of(f"{layer}.intermediate.dense", 160, READ)
        linear_of(f"{layer}.output.dense", READ, 160)
        norm_of(f"{layer}.output.LayerNorm", READ)
    linear_of("blip.vision_proj", 8, SEEN)
    linear_of("blip.text_proj", 8, READ)
    for name, wide, taken in ((0, 16, READ), (2, 8, 16), (4, 4, 8), (6, 4, 4), (7, 1, 4)):
        linear_of(f"mlp.layers.{name}", wide, taken)
    return state


@pytest.fixture(scope="module")
def models(checkpoint: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$BENCH_MODELS with both files."""
    folder = tmp_path_factory.mktemp("models")
    for place in ("THUDM/ImageReward", "bert-base-uncased"):
        (folder / place).mkdir(parents=True)
    torch.save(checkpoint, folder / "THUDM/ImageReward/ImageReward.pt")
    (folder / "bert-base-uncased/vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def attention(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    """Of [tokens, width] in heads of 64; `mask` [tokens of the key] is true where there is something."""
    heads = [each.unflatten(-1, (-1, 64)).transpose(0, 1) for each in (query, key, value)]
    weights = heads[0] @ heads[1].transpose(1, 2) / 8
    if mask is not None:
        weights = weights.masked_fill(~mask, -torch.inf)
    return (weights.softmax(-1) @ heads[2]).transpose(0, 1).flatten(1)


def reward(state: State, pixels: np.ndarray, tokens: list[int]) -> float:
    """ViT before, BERT after: pre-norm blocks for the picture, post-norm layers with it for the text."""

    def lin(name: str, x: Any) -> Any:
        return linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: Any, eps: float) -> Any:
        return layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    mean, spread = (
        np.array([0.48145466, 0.4578275, 0.40821073]),
        np.array([0.26862954, 0.26130258, 0.27577711]),
    )
    image = torch.tensor(((pixels / 255 - mean) / spread).transpose(2, 0, 1)[None], dtype=torch.float32)
    see, read = "blip.visual_encoder", "blip.text_encoder"
    kernel = f"{see}.patch_embed.proj"
    patches = conv2d(image, state[f"{kernel}.weight"], state[f"{kernel}.bias"], stride=PATCH)
    x = torch.cat([state[f"{see}.cls_token"][0], patches[0].flatten(1).T]) + state[f"{see}.pos_embed"][0]
    for number in range(LAYERS):
        block = f"{see}.blocks.{number}"
        parts = lin(f"{block}.attn.qkv", norm(f"{block}.norm1", x, 1e-6)).chunk(3, dim=-1)
        x = x + lin(f"{block}.attn.proj", attention(*parts))
        x = x + lin(f"{block}.mlp.fc2", gelu(lin(f"{block}.mlp.fc1", norm(f"{block}.norm2", x, 1e-6))))
    seen = norm(f"{see}.norm", x, 1e-6)

    filled = tokens + [0] * (TOKENS - len(tokens))
    mask = torch.arange(TOKENS) < len(tokens)
    embedding = f"{read}.embeddings"
    x = state[f"{embedding}.word_embeddings.weight"][filled]
    x = norm(f"{embedding}.LayerNorm", x + state[f"{embedding}.position_embeddings.weight"][:TOKENS], 1e-12)
    for number in range(LAYERS):
        layer = f"{read}.encoder.layer.{number}"
        for part, other, there in (("attention", None, mask), ("crossattention", seen, None)):
            own = f"{layer}.{part}"
            y = x if other is None else other
            found = attention(
                lin(f"{own}.self.query", x), lin(f"{own}.self.key", y), lin(f"{own}.self.value", y), there
            )
            x = norm(f"{own}.output.LayerNorm", x + lin(f"{own}.output.dense", found), 1e-12)
        inner = lin(f"{layer}.output.dense", gelu(lin(f"{layer}.intermediate.dense", x)))
        x = norm(f"{layer}.output.LayerNorm", x + inner, 1e-12)
    first = x[0]
    for name in (0, 2, 4, 6, 7):
        first = lin(f"mlp.layers.{name}", first)
    return (float(first) - MEAN) / SPREAD


def prepared(pixels: np.ndarray) -> np.ndarray:
    """The shorter side to `SIDE`, bicubic, then the middle."""
    height, width = pixels.shape[:2]
    scale = SIDE / min(height, width)
    size = (int(width * scale), int(height * scale))
    picture = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    top, left = round((size[1] - SIDE) / 2), round((size[0] - SIDE) / 2)
    return picture[top : top + SIDE, left : left + SIDE]


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_the_reward_is_what_the_equations_give(
    batch: int, models: Path, checkpoint: State, image_set: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(models))
    images = image_set(*[("retention", f"colour {place % 5}") for place in range(32)], size=(40, 56))
    words = {word: place for place, word in enumerate(WORDS)}
    evaluator = build_evaluator("quality@imagereward", options={"batch_size": str(batch)})
    evaluator.prepare()

    frame = evaluator.score(images).values

    found = dict(zip(zip(frame.prompt_id, frame.image_index, strict=True), frame.value, strict=True))
    expected = []
    for picture in images.pictures:
        text = picture.prompt.text.lower().split()
        tokens = [2, *(words.get(word, 1) for word in text), 3]
        expected.append(reward(checkpoint, prepared(picture.pixels), tokens))
        assert found[picture.prompt.id, picture.image_index] == pytest.approx(expected[-1], abs=1e-4 * SPREAD)
    assert np.std(expected) > 0.05, "pictures and prompts make a difference"


def test_a_long_prompt_is_cut_as_by_the_authors(
    models: Path, image_set: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(models))
    texts = ["colour " * length for length in (TOKENS - 2, TOKENS + 40)]
    images = image_set(*[("retention", text) for text in texts])
    same = images.pictures[0].pixels
    alike = ImageSet(concept=images.concept, pictures=tuple(p._replace(pixels=same) for p in images.pictures))
    first, second = build_evaluator("quality@imagereward").score(alike).values.value
    assert first == second


def test_missing_and_wrong_files_are_named(
    models: Path, checkpoint: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    with pytest.raises(NotHere, match=r"ImageReward.pt.*weights=FILE"):
        build_evaluator("quality@imagereward").protocol()
    with pytest.raises(BenchError, match="vocabulary has no effect with measure=clip-iqa"):
        build_evaluator("quality", options={"vocabulary": "x"})
    words = str(models / "bert-base-uncased/vocab.txt")
    broken = {
        "no tensor of ImageReward": {**checkpoint, "clip.x": torch.zeros(1)},
        "not the networks of ImageReward": {k: v for k, v in checkpoint.items() if "layer.1.output" not in k},
        "takes 16 numbers": {k: v for k, v in checkpoint.items() if not k.startswith("mlp.layers.0")},
    }
    for said, state in broken.items():
        file = tmp_path / "ImageReward.pt"
        torch.save(state, file)
        with pytest.raises(BenchError, match=said):
            Quality(measure="imagereward", weights=str(file), vocabulary=words).prepare()
        file.unlink()
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, *(f"w{n}" for n in range(9))]))
    with pytest.raises(BenchError, match="28 words, the checkpoint knows 21"):
        Quality(
            measure="imagereward",
            weights=str(models / "THUDM/ImageReward/ImageReward.pt"),
            vocabulary=str(tmp_path / "vocab.txt"),
        ).prepare()
