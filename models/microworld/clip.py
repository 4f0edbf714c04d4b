"""A small CLIP in open_clip's format, trained contrastively on the drawings and their captions.

The folder it writes loads through open_clip's `local-dir:` schema, tokenizer included.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from erasure_bench.models.microworld.dataset import Pictures
from erasure_bench.models.microworld.loop import Trainer
from erasure_bench.models.microworld.oracle import augment, decode_views
from erasure_bench.models.microworld.settings import ClipSettings
from erasure_bench.models.microworld.tokenizer import load_tokenizer, tokenise, tokenise_captions

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
DECODED = 8_000
MEAN = STD = 0.5


def clip_config(settings: ClipSettings, vocabulary: int, end_token: int, length: int) -> dict[str, Any]:
    """What `open_clip_config.json` says."""
    return {
        "model_cfg": {
            "embed_dim": settings.embed,
            "vision_cfg": {
                "image_size": 64,
                "layers": list(settings.vision_layers),
                "width": settings.vision_width,
                "head_width": 32,
            },
            "text_cfg": {
                "context_length": length,
                "vocab_size": vocabulary,
                "hf_tokenizer_name": "microworld",
                "width": settings.text_width,
                "heads": settings.text_width // 32,
                "layers": settings.text_layers,
                "pool_type": "eos",
                "eos_id": end_token,
                "pad_id": end_token,
                "no_causal_mask": False,
            },
            "custom_text": True,
        },
        "preprocess_cfg": {
            "size": 64,
            "mode": "RGB",
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }


def build_clip(config: dict[str, Any]) -> open_clip.CustomTextCLIP:
    """An untrained open_clip model."""
    model_cfg = config["model_cfg"]
    return open_clip.CustomTextCLIP(
        embed_dim=model_cfg["embed_dim"],
        vision_cfg=dict(model_cfg["vision_cfg"]),
        text_cfg=dict(model_cfg["text_cfg"]),
    )


def contrastive_loss(images: Tensor, texts: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy over unit-length features [n, d].

    `same` [n, n] is true where two rows have the same caption: those are no wrong answers of each other.
    """
    logits = scale * images @ texts.T
    logits = logits.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool), -1e4)
    targets = torch.arange(len(logits))
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def train_clip(
    pictures: Pictures,
    heldout: Pictures,
    settings: ClipSettings,
    folder: Path,
    autoencoder_folder: Path,
    tokenizer_folder: Path,
    seed: int,
    stop_after: int | None = None,
    minutes: float | None = None,
) -> None:
    """Train from the checkpoint in `folder`; write the open_clip folder there when the schedule is done."""
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(tokenizer_folder)
    config = clip_config(settings, len(tokenizer), tokenizer.eos_token_id, tokenizer.model_max_length)
    model = build_clip(config)
    trainer = Trainer(model, settings.schedule, folder / "checkpoint.pt", seed, "clip")
    model.train()
    decoded = decode_views(pictures, autoencoder_folder, DECODED, 0.3, seed).decoded
    batch = settings.schedule.batch
    tokens, places = tokenise_captions(tokenizer, pictures)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(pictures.pixels), (batch,), generator=generator)
        wording = torch.randint(places.shape[1], (batch,), generator=generator)
        made = (torch.rand(batch, generator=generator) < 0.5) & (chosen < len(decoded))
        pixels = pictures.pixels[chosen.numpy()]
        pixels[made.numpy()] = decoded[chosen[made].numpy()]
        images = augment(torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(255), generator)
        caption = places[chosen, wording]
        seen = model.encode_image((images - MEAN) / STD, normalize=True)
        read = model.encode_text(tokens[caption].long(), normalize=True)
        same = caption[:, None] == caption[None, :]
        return contrastive_loss(seen, read, model.logit_scale.exp().clamp(max=100), same)

    trainer.run(loss, stop_after=stop_after, minutes=minutes)
    if trainer.step >= trainer.schedule.steps:
        trainer.averaged(lambda: save_clip(model, config, folder, tokenizer_folder, heldout))


def save_clip(
    model: open_clip.CustomTextCLIP,
    config: dict[str, Any],
    folder: Path,
    tokenizer_folder: Path,
    heldout: Pictures,
) -> None:
    """Write config, weights, tokenizer and a report of the retrieval accuracy on held-out pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, folder / WEIGHTS_FILE)
    for file in tokenizer_folder.iterdir():
        shutil.copy(file, folder / file.name)
    report = retrieval_report(model, heldout, load_tokenizer(folder))
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def retrieval_report(
    model: open_clip.CustomTextCLIP, heldout: Pictures, tokenizer: Any, groups: int = 20
) -> dict[str, float]:
    """Share of held-out pictures whose own caption beats those of 63 others, and the mean cosine."""
    model.eval()
    right, cosines = [], []
    for group in range(min(groups, max(1, len(heldout.pixels) // 64))):
        chosen: NDArray[np.int64] = np.arange(64 * group, min(64 * (group + 1), len(heldout.pixels)))
        seen = model.encode_image((heldout.images(chosen) - MEAN) / STD, normalize=True)
        captions = [heldout.captions[i][0] for i in chosen]
        similarity = seen @ model.encode_text(tokenise(tokenizer, captions), normalize=True).T
        own = similarity.diagonal()
        best = similarity.amax(dim=1)
        right.append((own >= best - 1e-6).float().mean())
        cosines.append(own.mean())
    return {
        "picture_to_caption_of_64": float(torch.stack(right).mean()),
        "cosine_own_caption": float(torch.stack(cosines).mean()),
    }
