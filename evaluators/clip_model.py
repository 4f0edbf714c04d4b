"""CLIP models through open_clip: by architecture and pretrained tag, checkpoint file, or folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.hub import hub_file, local_copy
from erasure_bench.evaluators.packages import required_module, version_of
from erasure_bench.evaluators.shipped import shipped_folder
from erasure_bench.prompt_suites.errors import BenchError

Precision = Literal["fp32", "fp16", "bf16"]

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
_FILES_OF_A_HUB_REPOSITORY = (
    WEIGHTS_FILE,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_LOCAL = "local-dir:"


@dataclass(frozen=True)
class ClipSource:
    """Where a CLIP model comes from.

    Either `folder` in open_clip's format (config, weights, tokenizer), or an open_clip
    `architecture` with a pretrained `tag`, a checkpoint `file`, or both: the tag then says how the
    file's weights were trained.
    """

    architecture: str | None = None
    tag: str | None = None
    file: Path | None = None
    folder: Path | None = None

    def protocol(self) -> dict[str, str]:
        """What decides whether two scores of this model can be compared; reads local weights once.

        A tag's weights are known by the tag alone, unless $BENCH_MODELS holds a copy of them.
        """
        if self.folder:
            return {"weights_sha256": sha256_of(self.folder)}
        named = {"architecture": self.architecture or ""}
        if self.tag:
            named["pretrained"] = self.tag
        weights = self.file or local_copy(*_hub_files(self))
        return named | ({"weights_sha256": sha256_of(weights)} if weights else {})


def clip_source(backbone: str, weights: str | None = None) -> ClipSource:
    """Reads `backbone` and `weights`.

    `backbone` is "ARCHITECTURE/TAG" of open_clip, a folder in open_clip's format (with or without
    `local-dir:`), or the name of a built-in generator that ships a CLIP model. `weights` is the path
    of a checkpoint of the ARCHITECTURE; a TAG beside it says with which activation and preprocessing
    those weights were trained, and is left out for open_clip's own. Raises `BenchError` for anything
    else, and for a folder or file that is not there.
    """
    path = Path(backbone.removeprefix(_LOCAL)).expanduser()
    if backbone.startswith(_LOCAL) or path.is_dir():
        return ClipSource(folder=_complete(path, backbone))
    shipped = shipped_folder(backbone, "clip")
    if "/" not in backbone and shipped.parent.parent.is_dir():
        return ClipSource(folder=_complete(shipped, backbone))

    architecture, _, tag = backbone.partition("/")
    open_clip = required_module("open_clip", "open_clip_torch", "clip")
    if architecture not in (known := open_clip.list_models()):
        near = [name for name in known if name.lower().startswith(architecture.lower()[:5])]
        raise BenchError(
            f"unknown CLIP backbone {backbone!r} (--evaluator-option backbone=): no such folder, and "
            f"open_clip "
            f"{version_of('open_clip_torch')} has no architecture {architecture!r}"
            f"{'; near: ' + ', '.join(near[:6]) if near else ''}; use ARCHITECTURE/TAG such as "
            f"ViT-B-32/openai, "
            f"or a folder with {CONFIG_FILE} and {WEIGHTS_FILE}"
        )
    file = Path(weights).expanduser() if weights else None
    if file and not file.is_file():
        raise BenchError(f"CLIP weights {weights!r} are not a file (--evaluator-option weights=PATH)")
    if file and not tag:
        return ClipSource(architecture=architecture, file=file)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag.lower().replace("-", "_") not in tags:
        raise BenchError(
            f"CLIP backbone {backbone!r}: {architecture} has no pretrained tag {tag!r}; valid: "
            f"{', '.join(tags) or 'none'} "
            f"(--evaluator-option backbone={architecture}/TAG, or weights=PATH for a checkpoint file)"
        )
    return ClipSource(architecture=architecture, tag=tag, file=file)


@dataclass(frozen=True, eq=False)
class ClipModel:
    """A CLIP model with its own preprocessing and tokenizer; embeddings have unit length."""

    network: Any
    preprocess: Callable[[Any], Any]
    tokenize: Callable[[list[str]], Any]
    device: str
    precision: Precision

    def encode_images(self, pixels: Sequence[Pixels]) -> Any:
        """Unit embeddings [n, width] (float32 tensor on the CPU) of RGB pictures of any sizes."""
        import torch
        from PIL import Image

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


@lru_cache(maxsize=2)
def load_clip(source: ClipSource, precision: Precision = "fp32", device: str = "cpu") -> ClipModel:
    """The model, loaded once per process. Raises `BenchError` when weights are missing or do not fit."""
    open_clip = required_module("open_clip", "open_clip_torch", "clip")
    name = f"{_LOCAL}{source.folder}" if source.folder else str(source.architecture)
    file, forced = _weights_and_overrides(open_clip, source)
    try:
        network, _, preprocess = open_clip.create_model_and_transforms(
            name,
            pretrained=str(file) if file else None,
            precision=precision,
            device=device,
            require_pretrained=True,
            **forced,
        )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:
        why = " ".join(str(error).split())[:300]
        raise BenchError(f"CLIP model {source.folder or file} cannot be loaded: {why}") from error
    network.eval().requires_grad_(False)
    return ClipModel(network, preprocess, tokenizer, device, precision)


def _weights_and_overrides(open_clip: Any, source: ClipSource) -> tuple[Path | None, dict[str, Any]]:
    """The weights file, and what its tag says of activation and preprocessing.

    OpenAI's weights were trained with QuickGELU. open_clip 3 only warns when a tag needs it and the
    architecture's config lacks it, and then computes with the wrong activation.
    """
    if not source.tag:
        return source.file, {}
    tag = open_clip.get_pretrained_cfg(source.architecture, source.tag)
    file = source.file or hub_file(
        *_hub_files(source),
        f"CLIP weights {source.architecture}/{source.tag}",
        "--evaluator-option weights=PATH (checkpoint file) or backbone=FOLDER",
    )
    keys = ("mean", "std", "interpolation", "resize_mode")
    preprocess = {key: tag[key] for key in keys if tag.get(key)}
    quick_gelu = {"force_quick_gelu": True} if tag.get("quick_gelu") else {}
    return file, quick_gelu | ({"force_preprocess_cfg": preprocess} if preprocess else {})


def _hub_files(source: ClipSource) -> tuple[str, tuple[str, ...]]:
    """The hub repository of a tag's weights, and the names that they may have in it."""
    open_clip = required_module("open_clip", "open_clip_torch", "clip")
    tag = open_clip.get_pretrained_cfg(source.architecture, source.tag)
    repository, _, name = tag["hf_hub"].rpartition("/")
    return repository, (name,) if name else _FILES_OF_A_HUB_REPOSITORY


def _complete(folder: Path, backbone: str) -> Path:
    """The folder, if what open_clip needs is in it."""
    lacking = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]
    if WEIGHTS_FILE in lacking and any(folder.glob("*.bin")):
        lacking.remove(WEIGHTS_FILE)
    if lacking:
        raise BenchError(
            f"CLIP backbone {backbone!r}: {' and '.join(lacking)} missing, looked in {folder}; restore the "
            f"folder, "
            f"or name another backbone (--evaluator-option backbone=FOLDER or backbone=ViT-B-32/openai)"
        )
    return folder


def _dtype(precision: Precision) -> Any:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
