"""A small CLIP in open_clip's format, trained contrastively on the drawings and their captions.

The folder it writes loads through open_clip's `local-dir:` schema, tokenizer included.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from erasure_bench.models.microworld.augmentation import augment
from erasure_bench.models.microworld.autoencoder import load_autoencoder
from erasure_bench.models.microworld.corruption import uniform, whole_numbers
from erasure_bench.models.microworld.dataset import Pictures, to_float
from erasure_bench.models.microworld.drawing import caption, draw, sample_scene
from erasure_bench.models.microworld.loop import Trainer, autocast
from erasure_bench.models.microworld.settings import ClipSettings
from erasure_bench.models.microworld.tokenizer import load_tokenizer, tokenise
from erasure_bench.models.microworld.views import reconstructions

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
MEAN = STD = 0.5
LATENT_NOISE = 0.3
"""Largest error of the latents whose reconstructions are trained on, in units of their deviation."""
GROUP = 64
"""How many captions a picture chooses among in the report."""
PAIRS = 200


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
    itself = torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = logits.masked_fill(same & ~itself, -1e4)
    targets = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def train_clip(
    pictures: Pictures,
    heldout: Pictures,
    settings: ClipSettings,
    folder: Path,
    autoencoder_folder: Path,
    tokenizer_folder: Path,
    tokens_file: Path,
    seed: int,
    device: torch.device,
    stop_after: int | None = None,
    minutes: float | None = None,
) -> None:
    """Train from the checkpoint in `folder`; write the open_clip folder there when the schedule is done."""
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(tokenizer_folder)
    config = clip_config(settings, len(tokenizer), tokenizer.eos_token_id, tokenizer.model_max_length)
    model = build_clip(config).to(device)
    trainer = Trainer(model, settings.schedule, folder / "checkpoint.pt", seed, "clip")
    trainer.notes |= {"pictures": len(pictures.pixels)}
    model.train()
    drawn = pictures.on(device)
    decoded = reconstructions(
        pictures,
        load_autoencoder(autoencoder_folder, device),
        settings.reconstructions,
        LATENT_NOISE,
        torch.Generator(device).manual_seed(seed),
    )
    batch, fast = settings.schedule.batch, settings.acceleration
    tokens = torch.from_numpy(np.load(tokens_file, mmap_mode="c")).to(device)

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        chosen = whole_numbers(len(drawn), batch, generator, device)
        wording = whole_numbers(tokens.shape[1], batch, generator, device)
        made = (uniform((batch,), 0, 1, generator, device) < 0.5) & (chosen < len(decoded))
        reconstructed = decoded[chosen.clamp_max(len(decoded) - 1)]
        pixels = torch.where(made.view(-1, 1, 1, 1), reconstructed, drawn[chosen])
        return augment(to_float(pixels), generator), tokens[chosen, wording].long()

    def loss(images: Tensor, texts: Tensor) -> Tensor:
        with autocast(device, fast.bfloat16):
            seen = model.encode_image((images - MEAN) / STD)
            read = model.encode_text(texts)
        return contrastive_loss(
            F.normalize(seen.float(), dim=-1),
            F.normalize(read.float(), dim=-1),
            model.logit_scale.exp().clamp(max=100),
            (texts[:, None] == texts[None, :]).all(dim=2),
        )

    trainer.run(loss, draw=draw, graphs=fast.graphs, stop_after=stop_after, minutes=minutes)
    if trainer.finished:
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
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    for file in tokenizer_folder.iterdir():
        shutil.copy(file, folder / file.name)
    tokenizer = load_tokenizer(folder)
    report = retrieval_report(model, heldout, tokenizer) | swapped_report(model, tokenizer)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


@torch.no_grad()
def similarities(
    model: open_clip.CustomTextCLIP, tokenizer: Any, pixels: NDArray[np.uint8], captions: list[str]
) -> Tensor:
    """Cosines of pictures, uint8 [n, 64, 64, 3], and captions [m]: [n, m], on the CPU."""
    device = model.logit_scale.device
    model.eval()
    images = (to_float(np.ascontiguousarray(pixels)).to(device) - MEAN) / STD
    seen = model.encode_image(images, normalize=True)
    read = model.encode_text(tokenise(tokenizer, captions).to(device), normalize=True)
    return (seen @ read.T).float().cpu()


def retrieval_report(
    model: open_clip.CustomTextCLIP, heldout: Pictures, tokenizer: Any, groups: int = 20
) -> dict[str, float]:
    """Share of held-out pictures whose own caption beats those of 63 others, and the mean cosine."""
    right, cosines = [], []
    for group in range(min(groups, max(1, len(heldout.pixels) // GROUP))):
        chosen = slice(GROUP * group, GROUP * (group + 1))
        captions = [texts[0] for texts in heldout.captions[chosen]]
        similarity = similarities(model, tokenizer, heldout.pixels[chosen], captions)
        own = similarity.diagonal()
        right.append((own >= similarity.amax(dim=1) - 1e-6).float().mean())
        cosines.append(own.mean())
    return {
        "picture_to_caption_of_64": float(torch.stack(right).mean()),
        "cosine_own_caption": float(torch.stack(cosines).mean()),
    }


def swapped_report(
    model: open_clip.CustomTextCLIP, tokenizer: Any, count: int = PAIRS, seed: int = 1
) -> dict[str, float]:
    """Share of drawn pairs whose caption beats the one with the two things in each other's place.

    Chance is one half: both captions have the same words.
    """
    rng = np.random.default_rng((seed, 0x5A))
    pictures: list[NDArray[np.uint8]] = []
    captions: list[str] = []
    swapped: list[str] = []
    while len(pictures) < count:
        scene = sample_scene(rng)
        if scene.kind != "pair" or scene.other is None or scene.relation == "beside":
            continue
        exchanged = replace(
            scene,
            subject=scene.other.name,
            colour=scene.other.colour,
            other=scene.other._replace(name=scene.subject, colour=scene.colour),
        )
        wording = int(rng.integers(2**31))  # the same words in both
        pictures.append(draw(scene))
        captions.append(caption(scene, np.random.default_rng(wording), 0.0, 0.0))
        swapped.append(caption(exchanged, np.random.default_rng(wording), 0.0, 0.0))
    similarity = similarities(model, tokenizer, np.stack(pictures), captions + swapped)
    own, other = similarity[:, :count].diagonal(), similarity[:, count:].diagonal()
    return {"pair_over_swapped": float((own > other).float().mean()), "pairs": count}
