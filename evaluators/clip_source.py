"""Where a CLIP model comes from: an architecture and pretrained tag of open_clip, a file, or a folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.hub import local_copy, local_folder
from erasure_bench.evaluators.packages import required_module, version_of
from erasure_bench.evaluators.shipped import shipped_folder
from erasure_bench.user_paths import user_path

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
FILES_OF_A_HUB_REPOSITORY = (
    WEIGHTS_FILE,
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)
LOCAL = "local-dir:"
BACKBONE = "backbone="
"""How most evaluators name one; a classifier says `model=clip:`."""
OF_OPEN_CLIP = "the backbone's own open_clip preprocessing"


@dataclass(frozen=True)
class ClipSource:
    """Where a CLIP model comes from.

    Either `folder` in open_clip's format (config, weights, tokenizer) or in transformers', or an open_clip
    `architecture` with a pretrained `tag`, a checkpoint `file`, or both: the tag then says how the
    file's weights were trained. `option` is how the evaluator names another one.
    """

    architecture: str | None = None
    tag: str | None = None
    file: Path | None = None
    folder: Path | None = None
    of_transformers: bool = False
    option: str = field(default=BACKBONE, compare=False)

    def protocol(self) -> dict[str, str]:
        """What decides whether two scores of this model can be compared; reads local weights once.

        A tag's weights are known by the tag alone, unless $BENCH_MODELS holds a copy of them.
        """
        if self.folder:
            library = {"transformers": version_of("transformers")} if self.of_transformers else {}
            return {"weights_sha256": sha256_of(self.folder), **library}
        named = {"architecture": self.architecture or ""}
        if self.tag:
            named["pretrained"] = self.tag
        weights = self.file or local_copy(*hub_files(self))
        return named | ({"weights_sha256": sha256_of(weights)} if weights else {})

    @property
    def resize(self) -> str:
        """Whose preprocessing brings pictures to the model's size, in words."""
        return "the folder's own image processor" if self.of_transformers else OF_OPEN_CLIP


def clip_source(backbone: str, weights: str | None = None, option: str = BACKBONE) -> ClipSource:
    """Reads `backbone` and `weights`; `option` is how the evaluator names a backbone.

    `backbone` is "ARCHITECTURE/TAG" of open_clip, a folder in open_clip's format (with or without
    `local-dir:`) or in transformers', such a folder's place in $BENCH_MODELS ("ORG/NAME"), or the name of a
    built-in generator that ships a CLIP model. `weights` is the path
    of a checkpoint of the ARCHITECTURE; a TAG beside it says with which activation and preprocessing
    those weights were trained, and is left out for open_clip's own. Raises `BenchError` for anything
    else, and for a folder or file that is not there.
    """
    if shipped := shipped_folder(backbone, "clip"):
        return ClipSource(folder=_complete(shipped, backbone, option), option=option)
    path = user_path(backbone.removeprefix(LOCAL))
    if not path.is_dir() and (copy := local_folder(backbone)):
        path = copy
    if path.is_dir() and _is_of_transformers(path):
        return ClipSource(folder=path, of_transformers=True, option=option)
    if backbone.startswith(LOCAL) or path.is_dir():
        return ClipSource(folder=_complete(path, backbone, option), option=option)

    architecture, _, tag = backbone.partition("/")
    open_clip = required_module("open_clip", "open_clip_torch", "clip")
    if architecture not in (known := open_clip.list_models()):
        near = [name for name in known if name.lower().startswith(architecture.lower()[:5])]
        raise BenchError(
            f"unknown CLIP backbone {backbone!r} (--evaluator-option {option}): no such folder, and "
            f"open_clip {version_of('open_clip_torch')} has no architecture {architecture!r}"
            f"{'; near: ' + ', '.join(near[:6]) if near else ''}; use ARCHITECTURE/TAG such as "
            f"ViT-B-32/openai, "
            f"or a folder with {CONFIG_FILE} and {WEIGHTS_FILE} or with transformers' CLIPModel, in "
            f"$BENCH_MODELS too"
        )
    file = user_path(weights) if weights else None
    if file and not file.is_file():
        raise BenchError(f"CLIP weights {weights!r} are not a file (--evaluator-option weights=PATH)")
    if file and not tag:
        return ClipSource(architecture=architecture, file=file, option=option)
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if (known_tag := tag.lower().replace("-", "_")) not in tags:
        raise BenchError(
            f"CLIP backbone {backbone!r}: {architecture} has no pretrained tag {tag!r}; valid: "
            f"{', '.join(tags) or 'none'} "
            f"(--evaluator-option {option}{architecture}/TAG, or weights=PATH for a checkpoint file)"
        )
    return ClipSource(architecture=architecture, tag=known_tag, file=file, option=option)


def hub_files(source: ClipSource) -> tuple[str, tuple[str, ...]]:
    """The hub repository of a tag's weights, and the names that they may have in it, best first.

    Of a pickle that a tag names, a safetensors copy beside it is taken first, as open_clip does.
    """
    repository, _, name = pretrained_tag(source)["hf_hub"].rpartition("/")
    if not name:
        return repository, FILES_OF_A_HUB_REPOSITORY
    stem, dot, _ = name.rpartition(".")
    return repository, tuple(dict.fromkeys([f"{stem}{dot}safetensors", name]))


def pretrained_tag(source: ClipSource) -> dict[str, Any]:
    """What open_clip knows of the weights of `source.tag`: hub repository, activation, preprocessing."""
    open_clip = required_module("open_clip", "open_clip_torch", "clip")
    tag: dict[str, Any] = open_clip.get_pretrained_cfg(source.architecture, source.tag)
    return tag


def _is_of_transformers(folder: Path) -> bool:
    """Whether the folder holds a CLIPModel of transformers, and no model of open_clip."""
    if (folder / CONFIG_FILE).is_file():
        return False
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return "CLIPModel" in config["architectures"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _complete(folder: Path, backbone: str, option: str) -> Path:
    """The folder, if what open_clip needs is in it."""
    lacking = [name for name in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]
    if WEIGHTS_FILE in lacking and any(folder.glob("*.bin")):
        lacking.remove(WEIGHTS_FILE)
    if lacking:
        raise NotHere(
            f"CLIP backbone {backbone!r}: {' and '.join(lacking)} missing, looked in {folder}; restore the "
            f"folder, or name another backbone (--evaluator-option {option}FOLDER or {option}ViT-B-32/openai)"
        )
    return folder
