"""`python -m benchmarks.sampling`: pictures a second, ours against what peers do and against plain diffusers.

`--shape microworld` draws with the built-in model; `sd14` with random weights of Stable Diffusion 1.4's
shape, for a GPU: `python -m benchmarks.sampling --shape sd14 --device cuda --dtype bfloat16`.
`cifar10-ddpm` and its like have the shapes of the class-conditional bases; their peer is the loop of
diffusers' examples around its network and scheduler, as it has no pipeline for them. Ours is the project's
own sampler as a run has it; peers ask `StableDiffusionPipeline` for one prompt at a time; plain diffusers
is the same pipeline with a batch. All draw the same prompts in as many steps with guidance, PNG files
written; they are timed in turns, and a ratio has its 95 % interval over the pairs. How well a device is
used is the network's own floating-point operations over its rate of multiplying large matrices, measured
beside them. Writes `results/performance/sampling-SHAPE-DEVICE.json`.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.devices import device_record, flops_of_a_row, matrix_rate, waiting
from benchmarks.pairs import in_turns, ratio_of
from benchmarks.peers import peer_of
from benchmarks.recording import record
from benchmarks.shapes import CLASS_MODELS, MODELS, model_of
from erasure_bench.bench.running.libraries import quiet_libraries
from erasure_bench.bench.running.pictures import write_png
from erasure_bench.models.compiling import CompiledUNet, drawn_with
from erasure_bench.models.denoiser import Denoiser
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.models.zoo import resolve_model

BUILT_IN = "microworld"
GUIDANCE = 7.5
GUIDED = 2
"""Rows of a pass for a picture: with and without the prompt."""


class Drawing:
    """The same pictures in each of the ways, written as PNG files."""

    def __init__(self, model: Denoiser, pictures: int, steps: int, folder: Path) -> None:
        self.model, self.steps, self.folder = model, steps, folder
        things = [f"a picture of thing {number}" for number in range(pictures)]
        names = model.classes
        self.prompts = [names[number % len(names)] for number in range(pictures)] if names else things
        self._peer = peer_of(model)

    def ours(self, batch: int, unet: CompiledUNet | None = None) -> None:
        """The project's sampler: PNG files are written while the next batch is drawn."""
        with drawn_with(unet):
            sample(
                self.model,
                self._requests,
                scheduler="ddim",
                steps=self.steps,
                batch_size=batch,
                keep=self._keep,
            )

    def written_after(self, batch: int) -> None:
        """The same, with the files written after all is drawn."""
        drawn = sample(self.model, self._requests, scheduler="ddim", steps=self.steps, batch_size=batch)
        for number, pixels in enumerate(drawn):
            self._keep(number, pixels)

    def peers(self, batch: int = 1) -> None:
        """Plain diffusers, which is given so many prompts at a time."""
        for start in range(0, len(self.prompts), batch):
            prompts = self.prompts[start : start + batch]
            seeds = range(start, start + len(prompts))
            for place, image in enumerate(self._peer(prompts, seeds, self.steps, GUIDANCE)):
                image.save(self.folder / f"{start + place}.png", compress_level=1)

    @property
    def _requests(self) -> list[ImageRequest]:
        side = self.model.resolution
        return [ImageRequest(prompt, seed, GUIDANCE, side, side) for seed, prompt in enumerate(self.prompts)]

    def _keep(self, number: int, pixels: Any) -> None:
        write_png(self.folder / f"{number}.png", pixels)


def measure(
    shape: str,
    device: str,
    dtype: str,
    *,
    batches: list[int],
    pictures: int,
    steps: int,
    pairs: int,
    compiled: bool = True,
    compiler: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The figures; `compiler` are options of `torch.compile`."""
    quiet_libraries()
    model = _model(shape, device, getattr(torch, dtype))
    wait = waiting(device)
    with tempfile.TemporaryDirectory() as folder:
        drawing = Drawing(model, pictures, steps, Path(folder))
        best = max(batches)
        per_picture = GUIDED * steps * flops_of_a_row(model)
        rate = matrix_rate(device, getattr(torch, dtype))

        def against(ours: Callable[[], object], other: Callable[[], object]) -> dict[str, Any]:
            mine, theirs = in_turns(ours, other, pairs, wait=wait)
            pace = pictures / min(mine)
            return {
                "pictures_per_second": round(pace, 3),
                "others_pictures_per_second": round(pictures / min(theirs), 3),
                "times_as_fast": ratio_of(mine, theirs).record(),
                "share_of_matrix_rate": round(pace * per_picture / rate, 3),
            }

        figures: dict[str, Any] = {
            "peers_one_prompt_at_a_time": against(lambda: drawing.ours(best), drawing.peers),
            "diffusers_with_batches": {
                batch: against(partial(drawing.ours, batch), partial(drawing.peers, batch))
                for batch in batches
            },
            "files_written_after_all": against(
                lambda: drawing.ours(max(best // 2, 1)), lambda: drawing.written_after(max(best // 2, 1))
            ),
        }
        if compiled and isinstance(model, DiffusionModel):
            unet = CompiledUNet(model.unet, **(compiler or {}))
            figures["compiled"] = {
                **against(lambda: drawing.ours(best, unet), lambda: drawing.ours(best)),
                "compile_seconds": round(unet.compile_seconds, 1),
            }
    return {
        "shape": shape,
        "dtype": dtype,
        "pictures": pictures,
        "steps": steps,
        "side": model.resolution,
        "device": device_record(device),
        "tera_operations_per_picture": float(f"{per_picture / 1e12:.4g}"),
        "matrix_tera_operations_per_second": round(rate / 1e12, 3),
        **figures,
    }


def _model(shape: str, device: str, dtype: torch.dtype) -> Denoiser:
    if shape != BUILT_IN:
        return model_of(shape, device, dtype)
    source = resolve_model(shape)
    return DiffusionModel.from_directory(source.path, name=source.name, device=device, dtype=dtype)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sampling", description=__doc__)
    parser.add_argument("--shape", choices=(BUILT_IN, *MODELS, *CLASS_MODELS), default=BUILT_IN)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batches", default="8,32", help="comma list")
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--without-compiling", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    figures = measure(
        asked.shape,
        asked.device,
        asked.dtype,
        batches=[int(size) for size in asked.batches.split(",")],
        pictures=asked.pictures,
        steps=asked.steps,
        pairs=asked.pairs,
        compiled=not asked.without_compiling,
    )
    name = f"sampling-{asked.shape}-{asked.device.partition(':')[0]}.json"
    record(figures, asked.out or Path("results/performance") / name)


if __name__ == "__main__":
    main()
