"""Tiny vision-language models of real architectures, saved as transformers saves them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEMPLATE = (
    "{% for message in messages %}USER : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + "PICTURE" + " {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ANSWER :{% endif %}"
)
WORDS = "yes no idk maybe USER ANSWER Does this picture show Is it in style red boat sea cat : ? . ,"
SIZE, PATCH = 32, 8
SAID = ("yes", "no", "idk", "maybe")


def save_tiny_llava(folder: Path, *, doubts: bool = True) -> Path:
    """LLaVA with a CLIP tower of 32 pixels and a small Llama; with `doubts` it also says idk and maybe."""
    import torch
    import transformers

    tokenizer = _tokenizer("<image>")
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIZE,
        "patch_size": PATCH,
        "projection_dim": 16,
    }
    text = _llama_like("llama", tokenizer)
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        image_seq_length=(SIZE // PATCH) ** 2,
    )
    torch.manual_seed(11)
    network = transformers.LlavaForConditionalGeneration(config)
    processor = transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("PICTURE", "<image>"),
    )
    return _answering(network, processor, folder, doubts)


def save_tiny_qwen2_vl(folder: Path, *, doubts: bool = True) -> Path:
    """Qwen2-VL, to which a picture is as many tokens as it is large: rows of a batch differ in length."""
    import torch
    import transformers

    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    tokenizer = _tokenizer("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    text = _llama_like("qwen2_vl_text", tokenizer)
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image": "<|image_pad|>",
            "video": "<|video_pad|>",
            "vision_start": "<|vision_start|>",
            "vision_end": "<|vision_end|>",
        }.items()
    }
    config = transformers.Qwen2VLConfig(
        text_config={
            **text,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
        },
        vision_config={
            "depth": 2,
            "embed_dim": 16,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        **ids,
    )
    torch.manual_seed(12)
    network = transformers.Qwen2VLForConditionalGeneration(config)
    sizes = {"shortest_edge": 64, "longest_edge": 32 * 32}
    images = transformers.Qwen2VLImageProcessor(patch_size=4, merge_size=2, temporal_patch_size=2, size=sizes)
    videos = transformers.Qwen2VLVideoProcessor(patch_size=4, merge_size=2, temporal_patch_size=2, size=sizes)
    processor = transformers.Qwen2VLProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=videos,
        chat_template=TEMPLATE.replace("PICTURE", picture),
    )
    return _answering(network, processor, folder, doubts)


def pictures(count: int, seed: int = 3) -> list[NDArray[np.uint8]]:
    """Blocks of random colours, 20 to 60 pixels high and wide."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        blocks = random.integers(0, 256, (4, 4, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        height, width = random.integers(20, 60, 2)
        made.append(np.ascontiguousarray(blocks[:height, :width]))
    return made


def _tokenizer(*special: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<start>", "<end>", "<unknown>", *WORDS.split()]
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unknown>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _llama_like(kind: str, tokenizer: Any) -> dict[str, Any]:
    return {
        "model_type": kind,
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": False,
    }


def _answering(network: Any, processor: Any, folder: Path, doubts: bool) -> Path:
    """Saves the network with random weights that make it answer in one of four words and then stop.

    What the last position holds differs between pictures in a few directions: along the first it says yes one
    way and no the other, along the next two it says idk and maybe.
    """
    import torch
    from PIL import Image

    network.eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.normal_(std=1.5 / weight[0].numel() ** 0.5)
        prompt = processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "image"}, {"type": "text", "text": "Does this picture show cat?"}],
                }
            ],
            add_generation_prompt=True,
        )
        lasts = []
        for picture in pictures(24, seed=8):
            given = processor(text=[prompt], images=[[Image.fromarray(picture)]], return_tensors="pt")
            lasts.append(network(**given, output_hidden_states=True).hidden_states[-1][0, -1])
        hidden = torch.stack(lasts)
        centre = hidden.mean(0)
        stop = torch.nn.functional.normalize(torch.randn(len(centre)), dim=0)
        taken = torch.linalg.qr(torch.stack([centre, stop], dim=1)).Q
        spread = hidden - centre
        spread -= spread @ taken @ taken.T
        strength = 15 if doubts else 60
        ways = torch.linalg.svd(spread).Vh[:3] * strength / spread.norm(dim=1).mean()
        head, embed = network.get_output_embeddings().weight, network.get_input_embeddings().weight
        place = processor.tokenizer.convert_tokens_to_ids
        head.zero_()
        answers = 10 * centre / centre.norm()
        head[place("yes")], head[place("no")] = answers + ways[0], answers - ways[0]
        if doubts:
            head[place("idk")], head[place("maybe")] = answers + ways[1], answers + ways[2]
        stop -= centre * (centre @ stop) / (centre @ centre)
        head[place("<end>")] = 12 * stop
        for word in SAID:
            embed[place(word)] = 60 * stop
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
