"""The drawn pictures on disk: drawn once by all cores, mapped into memory by every training stage."""

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasure_bench.models.microworld.drawing import HEADS, Scene, caption, draw, labels, sample_scene
from erasure_bench.models.microworld.settings import PictureSettings
from erasure_bench.prompt_suites.microworld.vocabulary import NONE, SEVERAL

SPLITS = ("train", "heldout")
PIXELS_FILE, LABELS_FILE, CAPTIONS_FILE, HEADS_FILE = "pixels.npy", "labels.npy", "captions.txt", "heads.json"
_CHUNK = 500


class Pictures(NamedTuple):
    """Drawn pictures with what is known about them.

    `pixels` uint8 [n, 64, 64, 3]; `labels` maps an oracle head to int class indices [n];
    `captions` holds for each picture its captions, in wording drawn at random.
    """

    pixels: NDArray[np.uint8]
    labels: dict[str, NDArray[np.int64]]
    captions: list[list[str]]

    @classmethod
    def of(cls, scenes: Sequence[Scene], captions: list[list[str]]) -> "Pictures":
        """The scenes drawn, with the class of every head, and with the captions that are given."""
        known = [labels(scene) for scene in scenes]
        return cls(
            np.stack([draw(scene) for scene in scenes]),
            {
                head: np.array([names.index(getattr(one, head)) for one in known])
                for head, names in HEADS.items()
            },
            captions,
        )

    @property
    def classes(self) -> NDArray[np.int64]:
        """The class of every head, in the order of `HEADS`, [n, heads]."""
        return np.stack([self.labels[head] for head in HEADS], axis=1)

    def images(self, chosen: Tensor | NDArray[np.int64]) -> Tensor:
        """Float images in [0, 1], [n, 3, 64, 64], on the CPU."""
        return to_float(self.pixels[np.asarray(chosen)])

    def on(self, device: torch.device | str) -> Tensor:
        """All pixels on a device: one uint8 tensor [n, 64, 64, 3], to index and give to `to_float`."""
        return torch.from_numpy(self.pixels).to(device)

    @property
    def composed(self) -> NDArray[np.bool_]:
        """Which pictures, [n], show several things, or things in a number or colour that was asked for."""
        plain = {"object": set(HEADS["object"]) - {SEVERAL}, "count": {NONE, "1"}, "colour": {NONE}}
        found = np.zeros(len(self.pixels), bool)
        for head, names in plain.items():
            found |= ~np.isin(self.labels[head], [HEADS[head].index(name) for name in names])
        return found

    def subset(self, kept: NDArray[np.bool_]) -> "Pictures":
        """The pictures where `kept` [n] is true; copies their pixels."""
        labels = {head: classes[kept] for head, classes in self.labels.items()}
        captions = [texts for texts, keep in zip(self.captions, kept, strict=True) if keep]
        return Pictures(self.pixels[kept], labels, captions)


def to_float(pixels: Tensor | NDArray[np.uint8]) -> Tensor:
    """uint8 [n, 64, 64, 3] to float [n, 3, 64, 64] in [0, 1], on the device of `pixels`."""
    tensor = pixels if isinstance(pixels, Tensor) else torch.from_numpy(pixels)
    return tensor.permute(0, 3, 1, 2).contiguous().float().div_(255)


def to_bytes(images: Tensor) -> Tensor:
    """float [n, 3, h, w] in [0, 1] to uint8 [n, h, w, 3], rounded, on the device of `images`."""
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


def _draw_chunk(seed: int, split: int, settings: PictureSettings, chunk: int) -> Pictures:
    count = min(_CHUNK, (settings.train, settings.heldout)[split] - chunk * _CHUNK)
    rng = np.random.default_rng((seed, split, chunk))
    scenes, captions = [], []
    for _ in range(count):
        scenes.append(sample_scene(rng))
        captions.append([caption(scenes[-1], rng, settings.misspelt_share) for _ in range(settings.captions)])
    return Pictures.of(scenes, captions)


def _store_chunk(seed: int, split: int, settings: PictureSettings, folder: Path, chunk: int) -> str:
    """Draw one chunk into its place in the arrays in `folder`; returns its captions, one a line."""
    drawn = _draw_chunk(seed, split, settings, chunk)
    place = slice(chunk * _CHUNK, chunk * _CHUNK + len(drawn.pixels))
    for name, values in ((PIXELS_FILE, drawn.pixels), (LABELS_FILE, drawn.classes)):
        stored = np.load(folder / name, mmap_mode="r+")
        stored[place] = values
    return "".join(f"{text}\n" for texts in drawn.captions for text in texts)


def draw_split(
    settings: PictureSettings, split: str, seed: int, folder: Path, processes: int | None = None
) -> None:
    """Draw one split into `folder`; every chunk has its own seed, so the number of processes is free."""
    number = SPLITS.index(split)
    count = (settings.train, settings.heldout)[number]
    fresh = folder.with_name(folder.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    shapes = {PIXELS_FILE: (np.uint8, (count, 64, 64, 3)), LABELS_FILE: (np.int64, (count, len(HEADS)))}
    for name, (dtype, shape) in shapes.items():
        np.lib.format.open_memmap(fresh / name, mode="w+", dtype=dtype, shape=shape)
    work = partial(_store_chunk, seed, number, settings, fresh)
    chunks = -(-count // _CHUNK)
    started = told = time.monotonic()
    with (fresh / CAPTIONS_FILE).open("w", encoding="utf-8") as captions:
        for done, text in enumerate(_mapped(work, chunks, processes or os.cpu_count() or 1), start=1):
            captions.write(text)
            now = time.monotonic()
            if now - told > 5 or done == chunks:
                rate, left = done / (now - started), chunks - done
                print(
                    f"pictures ({split}): {done / chunks:.0%}, {rate * _CHUNK:.0f} pictures/s, "
                    f"{left / rate:.0f} s left",
                    file=sys.stderr,
                    flush=True,
                )
                told = now
    (fresh / HEADS_FILE).write_text(json.dumps(list(HEADS)), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)


def _mapped(work: "partial[str]", chunks: int, processes: int) -> Iterator[str]:
    if min(processes, chunks) <= 1:
        yield from map(work, range(chunks))
        return
    with ProcessPoolExecutor(min(processes, chunks)) as pool:
        yield from pool.map(work, range(chunks))


def load_split(folder: Path) -> Pictures:
    """What `draw_split` wrote; pixels stay on disk, mapped into memory."""
    pixels = np.load(folder / PIXELS_FILE, mmap_mode="c")
    classes = np.load(folder / LABELS_FILE)
    heads = json.loads((folder / HEADS_FILE).read_text(encoding="utf-8"))
    lines = (folder / CAPTIONS_FILE).read_text(encoding="utf-8").splitlines()
    each = len(lines) // len(pixels)
    captions = [lines[start : start + each] for start in range(0, len(lines), each)]
    return Pictures(pixels, {head: classes[:, i] for i, head in enumerate(heads)}, captions)
