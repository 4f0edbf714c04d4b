"""ImageReward: BLIP reads the prompt while it looks at the picture, and linear layers rate both.

Xu et al., ImageReward: Learning and Evaluating Human Preferences, NeurIPS 2023. The published checkpoint,
`ImageReward.pt`, holds BLIP's picture encoder (ViT-L), its text encoder with attention to the picture, and
the layers. transformers has the two encoders under other names; all sizes are the tensors' own, heads are of
64 numbers in both. The text's words are BERT's (`vocab.txt` of bert-base-uncased).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.aesthetic_head import AestheticHead, linear_layers
from erasure_bench.evaluators.array_file import read_tensors
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import loaded_once
from erasure_bench.evaluators.local_weights import local_weights
from erasure_bench.evaluators.packages import required_module
from erasure_bench.evaluators.resizing import refuse_narrow

WHAT = "evaluator 'quality', imagereward"
WEIGHTS, VOCABULARY = "THUDM/ImageReward/ImageReward.pt", "bert-base-uncased/vocab.txt"
MEAN, SPREAD = 0.16717362830052426, 1.0333394966054072
"""What a rating is shifted and divided by: of the authors' own pictures."""
TOKENS = 35
"""Longer prompts are cut, as in the authors' code."""
HEAD_WIDTH = 64
_CHANNELS = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_PICTURES, _TEXTS, _HEAD = "blip.visual_encoder.", "blip.text_encoder.", "mlp."
_UNUSED = re.compile(r"blip\.(vision_proj|text_proj)\.|.*\.position_ids$")
"""Parts of BLIP's training that rate nothing."""
_NAMES = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embedding."),
    (r"^pos_embed$", "embeddings.position_embedding"),
    (r"^cls_token$", "embeddings.class_embedding"),
    (r"^norm\.", "post_layernorm."),
    (r"^blocks\.(\d+)\.attn\.proj\.", r"encoder.layers.\1.self_attn.projection."),
    (r"^blocks\.(\d+)\.attn\.", r"encoder.layers.\1.self_attn."),
    (r"^blocks\.(\d+)\.norm([12])\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.\1."),
)
"""From BLIP's names of the picture encoder to transformers'; the text encoder's are the same."""

Tensors = Mapping[str, Any]


class Files(NamedTuple):
    """The checkpoint and the list of words."""

    weights: Path
    vocabulary: Path


def image_reward_files(weights: str | None, vocabulary: str | None) -> Files:
    """The user's files, or those in $BENCH_MODELS. Raises NotHere where one is missing."""
    found = local_weights(
        weights,
        WEIGHTS,
        WHAT,
        "--evaluator-option weights",
        "The checkpoint is ImageReward.pt of zai-org/ImageReward (once THUDM/ImageReward) on the hub",
    )
    words = local_weights(
        vocabulary,
        VOCABULARY,
        WHAT,
        "--evaluator-option vocabulary",
        "The words are vocab.txt of google-bert/bert-base-uncased on the hub",
    )
    return Files(found, words)


@dataclass(frozen=True, eq=False)
class ImageReward:
    """The two encoders, the head, and what prepares their input."""

    pictures: Any
    texts: Any
    head: AestheticHead
    tokenizer: Any
    transform: Any
    device: str

    def encode_images(self, pixels: Sequence[Pixels]) -> Any:
        """[n, patches + 1, width] of RGB pictures of any sizes."""
        import torch
        from PIL import Image

        refuse_narrow(pixels)
        batch = torch.stack([self.transform(Image.fromarray(picture)) for picture in pixels])
        with torch.inference_mode():
            return self.pictures(pixel_values=batch.to(self.device)).last_hidden_state

    def rating(self, embedded: Any, prompt: str) -> float:
        """Of a picture's [patches + 1, width] beside the prompt: about 0, a spread of about 1, no bounds."""
        import torch

        tokens = self.tokenizer.encode(prompt)
        with torch.inference_mode():
            read = self.texts(
                input_ids=torch.tensor([tokens.ids], device=self.device),
                attention_mask=torch.tensor([tokens.attention_mask], device=self.device),
                encoder_hidden_states=embedded[None],
                encoder_attention_mask=torch.ones(1, len(embedded), dtype=torch.long, device=self.device),
            )
            first = read.last_hidden_state[0, 0].float().cpu()
        return (self.head.rating(first) - MEAN) / SPREAD


@loaded_once(1)
def load_image_reward(files: Files, device: str = "cpu") -> ImageReward:
    """The model, loaded once per process. Raises BenchError where the checkpoint is not ImageReward's."""
    torch = required_module("torch", "torch", "quality")
    transformers = required_module("transformers", "transformers", "quality")
    tokenizers = required_module("tokenizers", "tokenizers", "quality")
    transforms = required_module("torchvision.transforms", "torchvision", "quality")
    where = f"{WHAT}: {files.weights}"
    whole = read_tensors(files.weights, WHAT)
    parts: dict[str, dict[str, Any]] = {_PICTURES: {}, _TEXTS: {}, _HEAD: {}}
    for name, array in whole.items():
        if _UNUSED.match(name):
            continue
        prefix = next((prefix for prefix in parts if name.startswith(prefix)), None)
        if prefix is None:
            raise BenchError(f"{where}: {name!r} is no tensor of ImageReward's")
        parts[prefix][name.removeprefix(prefix)] = torch.from_numpy(array)
    pictures, texts = {_renamed(name): each for name, each in parts[_PICTURES].items()}, parts[_TEXTS]
    try:
        side, patch, vision = _vision_sizes(pictures)
        words, positions, language = _text_sizes(texts)
        with torch.random.fork_rng(devices=[]):
            vit = transformers.BlipVisionModel(
                transformers.BlipVisionConfig(
                    **vision, image_size=side, patch_size=patch, layer_norm_eps=1e-6
                )
            )
            bert = transformers.models.blip.modeling_blip_text.BlipTextModel(
                transformers.BlipTextConfig(
                    **language,
                    encoder_hidden_size=vision["hidden_size"],
                    vocab_size=words,
                    max_position_embeddings=positions,
                ),
                add_pooling_layer=False,
            )
        vit.load_state_dict(pictures)
        bert.load_state_dict(texts)
    except (KeyError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise BenchError(f"{where}: not the networks of ImageReward: {why}") from error
    head = linear_layers(parts[_HEAD], where)
    if head.width != language["hidden_size"]:
        raise BenchError(
            f"{where}: its head takes {head.width} numbers, its texts have {language['hidden_size']}"
        )
    for network in (vit, bert):
        network.to(device).eval().requires_grad_(False)
    interpolation = transforms.InterpolationMode.BICUBIC
    transform = transforms.Compose(
        [
            transforms.Resize(side, interpolation=interpolation),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize(*_CHANNELS),
        ]
    )
    return ImageReward(vit, bert, head, _tokenizer(tokenizers, files.vocabulary, words), transform, device)


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        renamed, times = re.subn(pattern, replacement, name)
        if times:
            return renamed
    return name


def _vision_sizes(tensors: Tensors) -> tuple[int, int, dict[str, int]]:
    """The picture's side, the patch's, and the sizes of the network."""
    kernel = tensors["embeddings.patch_embedding.weight"]
    width, patch = int(kernel.shape[0]), int(kernel.shape[-1])
    patches = int(tensors["embeddings.position_embedding"].shape[1]) - 1
    hidden = int(tensors["encoder.layers.0.mlp.fc1.weight"].shape[0])
    return round(patches**0.5) * patch, patch, _sizes(tensors, "encoder.layers.", width, hidden)


def _text_sizes(tensors: Tensors) -> tuple[int, int, dict[str, int]]:
    """The number of words, of positions, and the sizes of the network."""
    words, width = map(int, tensors["embeddings.word_embeddings.weight"].shape)
    hidden = int(tensors["encoder.layer.0.intermediate.dense.weight"].shape[0])
    positions = int(tensors["embeddings.position_embeddings.weight"].shape[0])
    return words, positions, _sizes(tensors, "encoder.layer.", width, hidden)


def _sizes(tensors: Tensors, stem: str, width: int, hidden: int) -> dict[str, int]:
    layers = {name.removeprefix(stem).partition(".")[0] for name in tensors if name.startswith(stem)}
    return {
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, width // HEAD_WIDTH),
    }


def _tokenizer(tokenizers: Any, vocabulary: Path, words: int) -> Any:
    """BERT's, lower-case; prompts are cut or filled to `TOKENS`. Raises BenchError for another list."""
    try:
        tokenizer = tokenizers.BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        tokenizer.enable_truncation(TOKENS)
        tokenizer.enable_padding(length=TOKENS, pad_id=tokenizer.token_to_id("[PAD]"))
        count = tokenizer.get_vocab_size()
    except Exception as error:  # tokenizers' own kinds, and what a missing word makes of the next call
        why = " ".join(str(error).split())[:200]
        raise BenchError(f"{WHAT}: {vocabulary} is no list of BERT's words: {why}") from error
    # BLIP has two more, [DEC] and [ENC], which stand in no prompt.
    if count > words:
        raise BenchError(f"{WHAT}: {vocabulary} has {count} words, the checkpoint knows {words}")
    return tokenizer
