"""A classifier in a folder that says itself which network reads it, such as a built-in generator's oracle.

`oracle.json` in the folder holds "network": "package.module:Class" and "image_size" (pixels, or null
for any size). The class has `load(folder)`, which gives a torch module with `heads` ({head: labels})
that maps images [n, 3, height, width] in [0, 1] to {head: logits [n, labels]}. "architecture" may name
its heads as {"heads": {head: [labels]}}: with a label "nothing" there, the share of such pictures is scored.
"""

import importlib
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.labelled_classifier import (
    LabelledClassifier,
    Probabilities,
    checked_heads,
    softmax,
)
from erasure_bench.evaluators.packages import required_module
from erasure_bench.evaluators.pixel_batch import pixel_batch
from erasure_bench.foreign.meaning import PACKAGE, ROOMS
from erasure_bench.foreign.sources import code_digest

DESCRIPTION_FILE = "oracle.json"


class Architecture(BaseModel):
    """What a network may say of itself before it is loaded."""

    heads: Mapping[str, tuple[str, ...]] = {}


class Description(BaseModel):
    """What the evaluator reads of `oracle.json`."""

    network: str
    image_size: int | None
    architecture: Architecture = Architecture()


@dataclass(frozen=True)
class FolderClassifier:
    """A classifier in the folder `path`; `name` is what the user called it."""

    path: Path
    name: str

    kind: ClassVar[str] = "a folder that says all of itself"
    reads: ClassVar[tuple[str, ...]] = ()

    def protocol(self) -> Mapping[str, Any]:
        described = self._description()  # before a whole folder is read that is no classifier
        return {"weights_sha256": sha256_of(self.path), **_code_of(_module_of(described.network))}

    def known_labels(self) -> Collection[str]:
        heads = self._description().architecture.heads
        return [label for labels in heads.values() for label in labels]

    def known_count(self) -> int | None:
        heads = list(self._description().architecture.heads.values())
        return len(heads[0]) if len(heads) == 1 else None

    def load(self, device: str) -> LabelledClassifier:
        network, resolution = self.network()
        heads = checked_heads(network.heads, self.path)
        return HeadedNetwork(network.to(device).eval(), heads, resolution, device)

    def network(self) -> tuple[Any, int | None]:
        """The torch module as the folder describes it, and the side of the pictures that it reads."""
        description = self._description()
        torch = required_module("torch", "torch", "classifier")
        attribute = description.network.partition(":")[2]
        try:
            module = importlib.import_module(_module_of(description.network))
            with torch.random.fork_rng(
                devices=[]
            ):  # new layers are filled at random before their weights come
                network = getattr(module, attribute).load(self.path)
        except Exception as error:
            raise BenchError(
                f"classifier {self.name!r} in {self.path} cannot be loaded by {description.network}: "
                f"{' '.join(str(error).split())[:300]}"
            ) from error
        return network, description.image_size

    def _description(self) -> Description:
        file = self.path / DESCRIPTION_FILE
        if not file.is_file():
            raise NotHere(
                f"classifier {self.name!r}: {DESCRIPTION_FILE} missing, looked in {self.path}; restore the "
                f"folder or "
                f"name another model (--evaluator-option model=FOLDER, FILE.pt, FILE.onnx or NAME/WEIGHTS)"
            )
        try:
            return Description.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise BenchError(f"{file}: {where or 'content'}: {first['msg']}") from error


def _module_of(network: str) -> str:
    """The module in "package.module:Class"; one of our rooms by its bare name is ours.

    So descriptions from the time of those names stay as they are, and with them the digest of their folder.
    """
    module = network.partition(":")[0]
    return f"{PACKAGE}.{module}" if module.partition(".")[0] in ROOMS else module


def _code_of(module: str) -> dict[str, str]:
    """What names the code of the network: our own lies in one file, someone's may rest on others."""
    if module.partition(".")[0] == PACKAGE:
        source = _source(module)
        return {"network_sha256": sha256_of(source)} if source else {}
    try:
        return {"network_code": code_digest(module)}
    except (
        ModuleNotFoundError,
        SyntaxError,
    ):  # no such module, one made in memory, or one that cannot be imported
        return {}


def _source(module: str) -> Path | None:
    """The module's file, where it has one."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # no such package, or a module that was made in memory
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


@dataclass(frozen=True, eq=False)
class HeadedNetwork:
    """A torch module with one logit vector for each head."""

    network: Any
    heads: Mapping[str, tuple[str, ...]]
    resolution: int | None
    device: str

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        import torch

        images = torch.from_numpy(pixel_batch(pixels, self.resolution)).to(self.device)
        with torch.inference_mode():
            logits = self.network(images)
        return {head: softmax(logits[head]) for head in self.heads}
