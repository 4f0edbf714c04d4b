"""Which files of a diffusers `StableDiffusionPipeline` directory are read, and which are missing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from erasure_bench.prompt_suites.errors import BenchError

WEIGHTS: dict[str, tuple[str, ...]] = {
    "text_encoder": ("model.safetensors", "model.fp16.safetensors", "pytorch_model.bin"),
    "unet": (
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.bin",
    ),
    "vae": (
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.bin",
    ),
}
"""Weight files of each part, the one preferred first."""

CONFIGS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
)
TOKENIZER_VOCABULARY = (("tokenizer/vocab.json", "tokenizer/merges.txt"), ("tokenizer/tokenizer.json",))
TOKENIZER_FILES = (
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer/added_tokens.json",
)


class WeightFile(NamedTuple):
    """A part's weight file and how diffusers and transformers are told to read it."""

    path: Path
    safetensors: bool
    variant: str | None


def weight_file(directory: Path, part: str) -> WeightFile | None:
    """The weight file of `part` that will be read, or None where none of the known names is there."""
    for name in WEIGHTS[part]:
        path = directory / part / name
        if path.is_file():
            return WeightFile(path, name.endswith(".safetensors"), "fp16" if ".fp16." in name else None)
    return None


def missing_files(directory: Path) -> list[str]:
    """What a pipeline directory lacks, as relative paths; empty when it can be loaded."""
    missing = [name for name in CONFIGS if not (directory / name).is_file()]
    if not any(all((directory / name).is_file() for name in files) for files in TOKENIZER_VOCABULARY):
        missing += [name for name in TOKENIZER_VOCABULARY[0] if not (directory / name).is_file()]
    missing += [f"{part}/{names[0]}" for part, names in WEIGHTS.items() if not weight_file(directory, part)]
    return sorted(missing)


def required_files() -> list[str]:
    """The preferred file names of a whole pipeline, as relative paths."""
    return sorted(
        [*CONFIGS, *TOKENIZER_VOCABULARY[0], *(f"{part}/{names[0]}" for part, names in WEIGHTS.items())]
    )


def files_read(directory: Path) -> list[Path]:
    """The files that decide what the model is: configs, tokenizer and the weights that will be loaded.

    Raises BenchError when some are missing. model_index.json only names classes and is left out,
    so that a copy written by another diffusers version is still the same model.
    """
    if missing := missing_files(directory):
        raise BenchError(incomplete(directory, missing))
    names = [*(name for name in CONFIGS if name != "model_index.json"), *TOKENIZER_FILES]
    weights = [found.path for part in WEIGHTS if (found := weight_file(directory, part))]
    return sorted([*(directory / name for name in names if (directory / name).is_file()), *weights])


def incomplete(directory: Path, missing: list[str]) -> str:
    """One line that says what a directory lacks to be a pipeline."""
    return (
        f"{directory} is not a complete StableDiffusionPipeline directory: missing {', '.join(missing)}; "
        f"give --model a directory written by diffusers' save_pretrained"
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises BenchError when it is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise BenchError(f"{path}: expected a JSON object")
    return value
