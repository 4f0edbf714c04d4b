"""How a model lies in a folder: a diffusers pipeline, or a class-conditional model. Imports no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from erasure_bench.models.conditional.description import (
    class_model_digest,
    is_class_model,
    read_description,
)
from erasure_bench.models.conditional.description import missing_files as missing_of_class_model
from erasure_bench.models.digest import weights_digest
from erasure_bench.models.fitness import blocks, check_pipeline, pipeline_schedule
from erasure_bench.models.image_families import Family
from erasure_bench.models.json_files import read_json
from erasure_bench.models.noise_schedule import NoiseSchedule
from erasure_bench.models.pipeline_files import missing_files

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from erasure_bench.models.image_model import ImageModel


class ModelSizes(NamedTuple):
    """Native side and the multiple that sides must be of, both in pixels."""

    resolution: int
    multiple: int


class FolderLayout(Protocol):
    """What is known of a folder of its kind; all of it raises BenchError for one that is no good."""

    def family(self, directory: Path) -> Family:
        """What kind of generator lies there."""
        ...

    def missing(self, directory: Path) -> list[str]:
        """The files that it lacks."""
        ...

    def check(self, directory: Path) -> None:
        """Do the parts fit one another, as far as the descriptions beside the weights tell?"""
        ...

    def check_weights(self, directory: Path) -> None:
        """Do the weight files hold what is asked for, as far as their headers tell?"""
        ...

    def digest(self, directory: Path) -> str:
        """What identifies the model."""
        ...

    def preset(self, directory: Path) -> str | None:
        """The name of the settings that methods have for it, where the folder says one."""
        ...

    def classes(self, directory: Path) -> tuple[str, ...]:
        """The names that it can be asked by; none where it is asked by any text."""
        ...

    def sizes(self, directory: Path) -> ModelSizes:
        """Of the pictures that it draws."""
        ...

    def schedule(self, directory: Path) -> NoiseSchedule | None:
        """The noise schedule that it was trained on; None where there is none."""
        ...

    def shapes(self, directory: Path) -> "dict[str, Tensor]":
        """`ImageModel.named_tensors` as tensors without values."""
        ...

    def load(
        self,
        directory: Path,
        *,
        name: str,
        device: "torch.device | str",
        dtype: "torch.dtype",
        preset: str | None,
    ) -> "ImageModel":
        """The model itself."""
        ...


class Pipeline:
    """A directory of diffusers' `StableDiffusionPipeline`."""

    def family(self, directory: Path) -> Family:
        """Text to image."""
        return "text-to-image"

    def missing(self, directory: Path) -> list[str]:
        """The files that it lacks."""
        return missing_files(directory)

    def check(self, directory: Path) -> None:
        """`models.fitness`."""
        check_pipeline(directory)

    def check_weights(self, directory: Path) -> None:
        """`models.headers`."""
        from erasure_bench.models.headers import check_weights

        check_weights(directory)

    def digest(self, directory: Path) -> str:
        """`models.digest`."""
        return weights_digest(directory)

    def preset(self, directory: Path) -> str | None:
        """None: a pipeline says nothing of it."""
        return None

    def classes(self, directory: Path) -> tuple[str, ...]:
        """None: it is asked by any text."""
        return ()

    def sizes(self, directory: Path) -> ModelSizes:
        """What `DiffusionModel.resolution` and `.size_multiple` will be."""
        unet = read_json(directory / "unet" / "config.json")
        factor = 2 ** (blocks(read_json(directory / "vae" / "config.json"), "vae") - 1)
        side = unet["sample_size"]
        return ModelSizes(
            resolution=(side if isinstance(side, int) else side[0]) * factor,
            multiple=factor * 2 ** (blocks(unet, "unet") - 1),
        )

    def schedule(self, directory: Path) -> NoiseSchedule | None:
        """Its scheduler config's."""
        return pipeline_schedule(directory)

    def shapes(self, directory: Path) -> "dict[str, Tensor]":
        """`models.headers`."""
        from erasure_bench.models.headers import model_shapes

        return model_shapes(directory)

    def load(
        self,
        directory: Path,
        *,
        name: str,
        device: "torch.device | str",
        dtype: "torch.dtype",
        preset: str | None,
    ) -> "ImageModel":
        """A `DiffusionModel`."""
        from erasure_bench.models.diffusion_model import DiffusionModel

        return DiffusionModel.from_directory(directory, name=name, device=device, dtype=dtype, preset=preset)


class ClassModelFolder:
    """A folder with `class_model.json`."""

    def family(self, directory: Path) -> Family:
        """As the description says."""
        return read_description(directory).family

    def missing(self, directory: Path) -> list[str]:
        """The files that it lacks."""
        return missing_of_class_model(directory)

    def check(self, directory: Path) -> None:
        """Whether the description makes sense."""
        read_description(directory)

    def check_weights(self, directory: Path) -> None:
        """`models.conditional.folder`."""
        from erasure_bench.models.conditional.folder import check_class_model

        check_class_model(directory)

    def digest(self, directory: Path) -> str:
        """Over the description and the weights."""
        return class_model_digest(directory)

    def preset(self, directory: Path) -> str | None:
        """The description's."""
        return read_description(directory).preset

    def classes(self, directory: Path) -> tuple[str, ...]:
        """The description's."""
        return read_description(directory).classes

    def sizes(self, directory: Path) -> ModelSizes:
        """One size alone."""
        side = read_description(directory).side
        return ModelSizes(resolution=side, multiple=side)

    def schedule(self, directory: Path) -> NoiseSchedule | None:
        """Linear β; none of an autoencoder."""
        return read_description(directory).schedule

    def shapes(self, directory: Path) -> "dict[str, Tensor]":
        """`models.conditional.folder`."""
        from erasure_bench.models.conditional.folder import class_model_shapes

        return class_model_shapes(directory)

    def load(
        self,
        directory: Path,
        *,
        name: str,
        device: "torch.device | str",
        dtype: "torch.dtype",
        preset: str | None,
    ) -> "ImageModel":
        """A `ConditionalDDPM` or `ConditionalVAE`; its preset is the description's."""
        from erasure_bench.models.conditional.folder import load_class_model

        return load_class_model(directory, name=name, device=device, dtype=dtype)


def layout_of(directory: Path) -> FolderLayout:
    """By the file that describes the model; a folder without one is taken for an incomplete pipeline."""
    return ClassModelFolder() if is_class_model(directory) else Pipeline()
