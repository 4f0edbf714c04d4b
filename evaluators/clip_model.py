"""CLIP models: by architecture and pretrained tag, file, or folder of open_clip or transformers."""

import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.clip_source import LOCAL, ClipSource, hub_files, pretrained_tag
from erasure_bench.evaluators.clip_transformers import load_transformers_clip
from erasure_bench.evaluators.digests import loaded_once
from erasure_bench.evaluators.hub import hub_file, local_folder
from erasure_bench.evaluators.packages import required_module
from erasure_bench.evaluators.resizing import refuse_narrow

Precision = Literal["fp32", "fp16", "bf16"]

_NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's TorchScript archives hold among their weights."""


class Clip(Protocol):
    """A CLIP model with its own preprocessing and tokenizer; embeddings have unit length."""

    def encode_images(self, pixels: Sequence[Pixels]) -> Any:
        """Unit embeddings [n, width] (float32 tensor on the CPU) of RGB pictures of any sizes."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """Unit embeddings [n, width] (float32 tensor on the CPU) of texts, cut at the context length."""
        ...

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before a softmax."""
        ...


def embedding_width(clip: Clip) -> int:
    """How many numbers an embedding has."""
    return int(clip.encode_images([np.zeros((8, 8, 3), np.uint8)]).shape[1])


@dataclass(frozen=True, eq=False)
class ClipModel:
    """One of open_clip's, with its own preprocessing and tokenizer; embeddings have unit length."""

    network: Any
    preprocess: Callable[[Any], Any]
    tokenize: Callable[[list[str]], Any]
    device: str
    precision: Precision

    def encode_images(self, pixels: Sequence[Pixels]) -> Any:
        """Unit embeddings [n, width] (float32 tensor on the CPU) of RGB pictures of any sizes."""
        import torch
        from PIL import Image

        refuse_narrow(pixels)
        batch = torch.stack([self.preprocess(Image.fromarray(picture)) for picture in pixels])
        with torch.inference_mode():
            embedded = self.network.encode_image(batch.to(self.device, _dtype(self.precision)))
        return torch.nn.functional.normalize(embedded.float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """Unit embeddings [n, width] (float32 tensor on the CPU) of texts, cut at the context length."""
        import torch

        with torch.inference_mode():
            embedded = self.network.encode_text(self.tokenize(list(texts)).to(self.device))
        return torch.nn.functional.normalize(embedded.float(), dim=-1).cpu()

    @property
    def logit_scale(self) -> float:
        """What cosines are multiplied by before a softmax."""
        return float(self.network.logit_scale.float().exp())


@loaded_once(2)
def load_clip(source: ClipSource, precision: Precision = "fp32", device: str = "cpu") -> Clip:
    """The model, loaded once per process. Raises `BenchError` when weights are missing or do not fit."""
    torch = required_module("torch", "torch", "clip")
    with torch.random.fork_rng(devices=[]):  # networks are made of random weights before they get their own
        return _loaded(source, precision, device)


def _loaded(source: ClipSource, precision: Precision, device: str) -> Clip:
    if source.folder and source.of_transformers:
        return load_transformers_clip(source.folder, _dtype(precision), device)
    open_clip = required_module("open_clip", "open_clip_torch", "clip")
    name = f"{LOCAL}{source.folder}" if source.folder else str(source.architecture)
    file = _weights_file(source)
    archived = file is not None and _is_torchscript(file)
    if archived and not source.tag and not (open_clip.get_model_config(name) or {}).get("quick_gelu"):
        raise BenchError(
            f"{file} is an archive as OpenAI publishes its models, which were trained with QuickGELU, and "
            f"{name} has another activation: --evaluator-option {source.option}{name}/openai"
        )
    try:
        network, _, preprocess = open_clip.create_model_and_transforms(
            name,
            pretrained=str(file) if file and not archived else None,
            precision=precision,
            device=device,
            require_pretrained=not archived,
            **_as_trained(source),
        )
        if file and archived:
            network.load_state_dict(_of_torchscript(file))
    except Exception as error:
        raise BenchError(f"CLIP model {source.folder or file} cannot be loaded: {_reason(error)}") from error
    network.eval().requires_grad_(False)
    return ClipModel(network, preprocess, _tokenizer(open_clip, name), device, precision)


def _weights_file(source: ClipSource) -> Path | None:
    """The file of the weights; None for a folder, which open_clip looks through itself."""
    if source.file or not source.tag:
        return source.file
    return hub_file(
        *hub_files(source),
        f"CLIP weights {source.architecture}/{source.tag}",
        f"--evaluator-option weights=PATH (checkpoint file) or {source.option}FOLDER",
    )


def _as_trained(source: ClipSource) -> dict[str, Any]:
    """The activation and the preprocessing that a tag's weights were trained with, as open_clip's arguments.

    open_clip knows them only where it is given the tag; it is given a file here. OpenAI's weights were
    trained with QuickGELU: open_clip 3 only warns when a tag needs it and the architecture's config
    lacks it, and then computes with the wrong activation.
    """
    if not source.tag:
        return {}
    tag = pretrained_tag(source)
    keys = ("mean", "std", "interpolation", "resize_mode")
    preprocessing = {f"image_{key}": tag[key] for key in keys if tag.get(key)}
    return preprocessing | ({"force_quick_gelu": True} if tag.get("quick_gelu") else {})


def _is_torchscript(file: Path) -> bool:
    """Whether it is a TorchScript archive, as OpenAI publishes its models and open_clip 3 refuses to read."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(Path(name).name == "constants.pkl" for name in archive.namelist())


def _of_torchscript(file: Path) -> dict[str, Any]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch deprecates the format
        state = torch.jit.load(str(file), map_location="cpu").state_dict()
    return {name: tensor for name, tensor in state.items() if name not in _NOT_WEIGHTS}


def _tokenizer(open_clip: Any, name: str) -> Callable[[list[str]], Any]:
    """A model's tokenizer; one in a hub repository of its own is looked for in $BENCH_MODELS first."""
    config = None if name.startswith(LOCAL) else open_clip.get_model_config(name)
    settings = (config or {}).get("text_cfg", {})
    repository = settings.get("hf_tokenizer_name")
    folder = local_folder(repository) if repository else None
    try:
        found: Callable[[list[str]], Any] = (
            open_clip.get_tokenizer(name)
            if folder is None
            else open_clip.tokenizer.HFTokenizer(
                str(folder),
                context_length=settings.get("context_length", 77),
                tokenizer_mode=settings.get("tokenizer_mode"),
                **settings.get("tokenizer_kwargs", {}),
            )
        )
        return found
    except Exception as error:
        how = f": copy {repository} to $BENCH_MODELS/{repository}, or go online once" if repository else ""
        raise BenchError(
            f"the tokenizer of CLIP {name} cannot be had{how}. Reason: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _dtype(precision: Precision) -> Any:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
