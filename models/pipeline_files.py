"""Which files of a diffusers `StableDiffusionPipeline` directory are read, and which are missing."""

from pathlib import Path

from erasure_bench.errors import BenchError
from erasure_bench.models.json_files import read_json
from erasure_bench.models.weight_files import WEIGHTS, weight_files

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

PIPELINE_CLASSES = (
    "StableDiffusionPipeline",
    "StableDiffusionPipelineSafe",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionAttendAndExcitePipeline",
    "StableDiffusionSAGPipeline",
    "StableDiffusionPanoramaPipeline",
    "SemanticStableDiffusionPipeline",
)
"""Ways to sample from the weights of a plain text-to-image model, which are drawn from by our own sampler.
SLD publishes its models, whose weights are SD 1.4's, as the second."""


def check_kind(directory: Path) -> None:
    """Raises BenchError where model_index.json names a pipeline whose weights are of another kind."""
    kind = read_json(directory / "model_index.json").get("_class_name")
    if kind not in PIPELINE_CLASSES:
        raise BenchError(
            f"{directory}: a {kind} pipeline; valid: {PIPELINE_CLASSES[0]} (SD 1.x and 2.x) and others with "
            f"the same weights: {', '.join(PIPELINE_CLASSES[1:])}"
        )


def missing_files(directory: Path) -> list[str]:
    """What a pipeline directory lacks, as relative paths; empty when it can be loaded."""
    missing = [name for name in CONFIGS if not (directory / name).is_file()]
    if not any(all((directory / name).is_file() for name in files) for files in TOKENIZER_VOCABULARY):
        missing += [name for name in TOKENIZER_VOCABULARY[0] if not (directory / name).is_file()]
    for part, names in WEIGHTS.items():
        found = weight_files(directory / part, part)
        lacking = [path.name for path in found.paths if not path.is_file()] if found else [names[0]]
        missing += [f"{part}/{name}" for name in lacking]
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
    weights = [
        path for part in WEIGHTS if (found := weight_files(directory / part, part)) for path in found.all
    ]
    return sorted([*(directory / name for name in names if (directory / name).is_file()), *weights])


def incomplete(directory: Path, missing: list[str]) -> str:
    """One line that says what a directory lacks to be a pipeline."""
    return (
        f"{directory} is not a complete StableDiffusionPipeline directory: missing {', '.join(missing)}; "
        f"give --model a directory written by diffusers' save_pretrained"
    )
