"""CLIP models in transformers' folder format, as PickScore and many fine-tuned ones are published."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.packages import required_module
from erasure_bench.evaluators.resizing import refuse_narrow


@dataclass(frozen=True, eq=False)
class TransformersClip:
    """A `CLIPModel` with its own image processor and tokenizer; embeddings have unit length."""

    network: Any
    processor: Any
    tokenizer: Any
    device: str

    def encode_images(self, pixels: Sequence[Pixels]) -> Any:
        """Unit embeddings [n, width] (float32 tensor on the CPU) of RGB pictures of any sizes."""
        import torch
        from PIL import Image

        refuse_narrow(pixels)
        pictures = [Image.fromarray(picture) for picture in pixels]
        batch = self.processor(images=pictures, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            found = self.network.get_image_features(pixel_values=batch.to(self.device, self.network.dtype))
        return torch.nn.functional.normalize(found.pooler_output.float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """Unit embeddings [n, width] (float32 tensor on the CPU) of texts, cut at the context length."""
        import torch

        length = self.network.config.text_config.max_position_embeddings
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt"
        )
        with torch.inference_mode():
            found = self.network.get_text_features(
                input_ids=tokens["input_ids"].to(self.device),
                attention_mask=tokens["attention_mask"].to(self.device),
            )
        return torch.nn.functional.normalize(found.pooler_output.float(), dim=-1).cpu()

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before a softmax."""
        return float(self.network.logit_scale.float().exp())


def load_transformers_clip(folder: Path, dtype: Any, device: str) -> TransformersClip:
    """The model in the folder; nothing else is asked for. Raises BenchError where it is not whole."""
    transformers = required_module("transformers", "transformers", "clip")
    try:
        network = transformers.CLIPModel.from_pretrained(folder, local_files_only=True, dtype=dtype)
        processor = transformers.CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise BenchError(f"CLIP model {folder} cannot be loaded: {why}") from error
    network.to(device).eval().requires_grad_(False)
    return TransformersClip(network, processor, tokenizer, device)
