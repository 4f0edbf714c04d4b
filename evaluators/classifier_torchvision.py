"""A torchvision classifier by name, with its own transforms and categories."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from erasure_bench.environment import why_offline
from erasure_bench.errors import BenchError, NotHere, UnknownName
from erasure_bench.evaluators import imagenet
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.digests import sha256_of
from erasure_bench.evaluators.labelled_classifier import (
    ONE_HEAD,
    LabelledClassifier,
    Probabilities,
    checked_heads,
    softmax,
)
from erasure_bench.evaluators.packages import required_module, version_of
from erasure_bench.evaluators.resizing import refuse_narrow


@dataclass(frozen=True)
class TorchvisionClassifier:
    """NAME/WEIGHTS of torchvision ("resnet50/IMAGENET1K_V2").

    `file` is a local copy of the weights. A `mirror` is another address of the published file, whose
    name it must end in: that name holds the first digits of the file's sha256, which are checked.
    """

    name: str
    weights: str
    file: Path | None = None
    mirror: str | None = None

    kind: ClassVar[str] = "torchvision's, which has labels and transforms of its own"
    reads: ClassVar[tuple[str, ...]] = ("weights",)

    def protocol(self) -> Mapping[str, Any]:
        chosen = self._weights()
        if self.file is None:
            # The published file's name ends in the first digits of its sha256.
            identity = {"weights_file": chosen.url.rpartition("/")[2]}
        else:
            identity = {"weights_sha256": sha256_of(self._local_file())}
        return {
            "model": self.name,
            "weights": self.weights,
            **identity,
            "resize": "the weights' own transforms",
            "torchvision": version_of("torchvision"),
        }

    def known_labels(self) -> Collection[str]:
        return ()  # torchvision's categories are known once it is imported, which takes seconds

    def known_count(self) -> int | None:
        return imagenet.CLASSES if self.weights.startswith(imagenet.TAG) else None

    def load(self, device: str) -> LabelledClassifier:
        models = required_module("torchvision.models", "torchvision", "classifier")
        chosen = self._weights()
        network = models.get_model(self.name, weights=None)
        try:
            network.load_state_dict(self._state(chosen))
        except RuntimeError as error:
            raise BenchError(
                f"weights {self.file or self.weights} do not fit torchvision's {self.name}: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        labels = imagenet.distinct(chosen.meta["categories"])
        heads = checked_heads({ONE_HEAD: labels}, f"{self.name}/{self.weights}")
        return TransformedNetwork(network.to(device).eval(), heads, chosen.transforms(), device)

    def _weights(self) -> Any:
        models = required_module("torchvision.models", "torchvision", "classifier")
        known = models.list_models(module=models)
        if self.name not in known:
            raise UnknownName(
                "classifier", self.name, known, "--evaluator-option model=NAME/WEIGHTS, FOLDER or FILE"
            )
        tags = {member.name: member for member in models.get_model_weights(self.name)}
        if self.weights not in tags:
            what = f"weights of torchvision's {self.name}"
            raise UnknownName(what, self.weights, tags, f"--evaluator-option model={self.name}/WEIGHTS")
        return tags[self.weights]

    def _state(self, chosen: Any) -> Mapping[str, Any]:
        torch = required_module("torch", "torch", "classifier")
        if self.file is not None:
            try:
                state = torch.load(self._local_file(), map_location="cpu", weights_only=True)
            except BenchError:
                raise
            except Exception as error:  # torch's own words advise to run the file's code
                raise self._no_state(type(error).__name__) from error
            if not isinstance(state, Mapping):
                raise self._no_state(f"a {type(state).__name__}")
            return state
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        name = chosen.url.rpartition("/")[2]
        address = self.mirror or chosen.url
        if address.rpartition("/")[2] != name:
            raise BenchError(
                f"weights {address}: a mirror's address ends in {name} (--evaluator-option weights=ADDRESS)"
            )
        # torch checks what it fetches, and takes what it finds there as it is.
        _hold_to_its_name(folder / name)
        try:
            if (off := why_offline()) and not (folder / name).is_file():
                raise FileNotFoundError(off)
            with redirect_stdout(sys.stderr):
                fetched: Mapping[str, Any] = torch.hub.load_state_dict_from_url(
                    address, map_location="cpu", progress=False, check_hash=True, weights_only=True
                )
            return fetched
        except Exception as error:
            raise NotHere(
                f"weights {name} of {self.name}/{self.weights} are not here and could not be fetched. "
                f"Looked in {folder}. "
                f"Ways to get them: go online once; put the file of {chosen.url} there (or set "
                f"TORCH_HOME); or "
                f"--evaluator-option weights=PATH, or the address of a mirror. Reason: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error

    def _no_state(self, why: str) -> BenchError:
        return BenchError(
            f"classifier weights {str(self.file)!r} are no state dict of plain tensors ({why}) "
            f"(--evaluator-option weights=PATH)"
        )

    def _local_file(self) -> Path:
        if self.file is None or not self.file.is_file():
            raise BenchError(
                f"classifier weights {str(self.file)!r} are not a file (--evaluator-option weights=PATH)"
            )
        return self.file


def _hold_to_its_name(file: Path) -> None:
    """Raises BenchError for a file that is not the published one, the digits of whose sha256 its name has."""
    digits = file.stem.rpartition("-")[2]
    if file.is_file() and not sha256_of(file).startswith(digits):
        raise BenchError(
            f"{file}: not the published weights (its sha256 does not begin with {digits}); remove it, or "
            f"name your own by --evaluator-option classifier.weights=PATH"
        )


@dataclass(frozen=True, eq=False)
class TransformedNetwork:
    """A torch module behind a transform of single pictures."""

    network: Any
    heads: Mapping[str, tuple[str, ...]]
    transform: Callable[[Any], Any]
    device: str

    def predict(self, pixels: Sequence[Pixels]) -> Mapping[str, Probabilities]:
        import torch
        from PIL import Image

        refuse_narrow(pixels)
        images = torch.stack([self.transform(Image.fromarray(picture)) for picture in pixels])
        with torch.inference_mode():
            logits = self.network(images.to(self.device))
        (head,) = self.heads
        return {head: softmax(logits)}
