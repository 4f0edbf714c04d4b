"""CLIP models through open_clip: by architecture and pretrained tag, checkpoint file, or folder."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from evaluators.base import Pixels
from evaluators.digests import sha256_of
from evaluators.packages import required_module, version_of
from evaluators.shipped import shipped_folder
from prompt_suites.errors import BenchError

Precision = Literal["fp32", "fp16", "bf16"]

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
_FILES_OF_A_HUB_REPOSITORY = (
    WEIGHTS_FILE,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
_LOCAL, _HUB = "local-dir:", "hf-hub:"


@dataclass(frozen=True)
class ClipSource:
    """Where a CLIP model comes from.

    Either `folder` in open_clip's format (config, weights, tokenizer), or an open_clip
    `architecture` with a pretrained `tag` or a checkpoint `file`. An architecture that starts with
    `hf-hub:` needs neither.
    """

    architecture: str | None = None
    tag: str | None = None
    file: Path | None = None
    folder: Path | None = None

    def protocol(self) -> dict[str, str]:
        """What decides whether two scores of this model can be compared; reads local weights once."""
        if self.folder:
            return {"weights_sha256": sha256_of(self.folder)}
        named = {"architecture": self.architecture or ""}
        if self.file:
            return named | {"weights_sha256": sha256_of(self.file)}
        return named | {"pretrained": self.tag or "the repository's own"}


def clip_source(backbone: str, weights: str | None = None) -> ClipSource:
    """Reads `backbone` and `weights`.

    `backbone` is "ARCHITECTURE/TAG" of open_clip, an ARCHITECTURE with a checkpoint path in
    `weights`, a folder in open_clip's format (with or without `local-dir:`), `hf-hub:ORG/NAME`,
    or the name of a built-in generator that ships a CLIP model. Raises `BenchError` for anything
    else, and for a folder or file that is not there.
    """
    if backbone.startswith(_HUB):
        return ClipSource(architecture=backbone)
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
    if weights:
        file = Path(weights).expanduser()
        if not file.is_file():
            raise BenchError(f"CLIP weights {weights!r} are not a file (--evaluator-option weights=PATH)")
        return ClipSource(architecture=architecture, file=file)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag.lower().replace("-", "_") not in tags:
        raise BenchError(
            f"CLIP backbone {backbone!r}: {architecture} has no pretrained tag {tag!r}; valid: "
            f"{', '.join(tags) or 'none'} "
            f"(--evaluator-option backbone={architecture}/TAG, or weights=PATH for a checkpoint file)"
        )
    return ClipSource(architecture=architecture, tag=tag)


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
    pretrained, forced = _weights_and_overrides(open_clip, source)
    try:
        network, _, preprocess = open_clip.create_model_and_transforms(
            name, pretrained=pretrained, precision=precision, device=device, require_pretrained=True, **forced
        )
        tokenizer = open_clip.get_tokenizer(name)
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(_not_loaded(source, error)) from error
    network.eval().requires_grad_(False)
    return ClipModel(network, preprocess, tokenizer, device, precision)


def _weights_and_overrides(open_clip: Any, source: ClipSource) -> tuple[str | None, dict[str, Any]]:
    """open_clip's `pretrained` argument, and what its tag implies that `create_model` would not apply.

    OpenAI's weights were trained with QuickGELU. open_clip 3 only warns when a tag needs it and the
    architecture's config lacks it, and then computes with the wrong activation.
    """
    if source.file:
        return str(source.file), {}
    if not source.tag:
        return None, {}
    tag = open_clip.get_pretrained_cfg(source.architecture, source.tag)
    forced: dict[str, Any] = {"force_quick_gelu": True} if tag.get("quick_gelu") else {}
    copy = _local_copy(tag.get("hf_hub", ""))
    if copy is None:
        return source.tag, forced
    preprocess = {key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if tag.get(key)}
    return str(copy), forced | ({"force_preprocess_cfg": preprocess} if preprocess else {})


def _local_copy(hub_path: str) -> Path | None:
    """The tag's weights under $BENCH_MODELS/<org>/<repo>, if someone put them there."""
    root = os.environ.get("BENCH_MODELS")
    if not root or not hub_path:
        return None
    repository, _, named = hub_path.rpartition("/")
    folder = Path(root).expanduser() / repository
    names = (named,) if named else _FILES_OF_A_HUB_REPOSITORY
    return next((folder / name for name in names if (folder / name).is_file()), None)


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


def _not_loaded(source: ClipSource, error: Exception) -> str:
    why = " ".join(str(error).split())[:300]
    if source.folder or source.file:
        return f"CLIP weights in {source.folder or source.file} cannot be loaded: {why}"
    from huggingface_hub import constants
    from open_clip import get_pretrained_cfg

    tag = get_pretrained_cfg(source.architecture, source.tag or "")
    repository = tag.get("hf_hub", "").rpartition("/")[0]
    return (
        f"CLIP weights of {source.architecture}/{source.tag} ({WEIGHTS_FILE} of "
        f"{repository or source.architecture}) "
        f"are not here and could not be fetched. Looked in {constants.HF_HUB_CACHE} and "
        f"$BENCH_MODELS/{repository or '<org>/<repo>'}. Ways to get them: go online once; point "
        f"HF_ENDPOINT at a "
        f"mirror; put the file in $BENCH_MODELS/{repository or '<org>/<repo>'}; or --evaluator-option "
        f"weights=PATH (checkpoint file) or backbone=FOLDER. Reason: {why}"
    )


def _dtype(precision: Precision) -> Any:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
