"""The drawn pictures on disk: drawn once by two processes, read by every training stage."""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from erasure_bench.models.microworld.settings import PictureSettings

SPLITS = ("train", "heldout")
_CHUNK = 500


class Pictures(NamedTuple):
    """Drawn pictures with what is known about them.

    `pixels` uint8 [n, 64, 64, 3]; `labels` maps an oracle head to int class indices [n];
    `captions` holds for each picture its captions, in wording drawn at random.
    """

    pixels: NDArray[np.uint8]
    labels: dict[str, NDArray[np.int64]]
    captions: list[list[str]]

    def images(self, chosen: Tensor | NDArray[np.int64]) -> Tensor:
        """Float images in [0, 1], [n, 3, 64, 64]."""
        return to_float(self.pixels[np.asarray(chosen)])


def to_float(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 [n, 64, 64, 3] to float [n, 3, 64, 64] in [0, 1]."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float().div_(255)


def _draw_chunk(seed: int, split: int, settings: PictureSettings, chunk: int) -> tuple:
    from erasure_bench.models.microworld.drawing import HEADS, caption, draw, labels, sample_scene

    count = min(_CHUNK, (settings.train, settings.heldout)[split] - chunk * _CHUNK)
    rng = np.random.default_rng((seed, split, chunk))
    index = {head: {label: i for i, label in enumerate(names)} for head, names in HEADS.items()}
    pixels, classes, captions = [], [], []
    for _ in range(count):
        scene = sample_scene(rng)
        known = labels(scene)
        pixels.append(draw(scene))
        classes.append([index[head][getattr(known, head)] for head in HEADS])
        captions.append([caption(scene, rng, settings.misspelt_share) for _ in range(settings.captions)])
    return np.stack(pixels), np.array(classes), np.array(captions)


def draw_split(settings: PictureSettings, split: str, seed: int, path: Path, processes: int = 2) -> None:
    """Draw one split and save it; every chunk has its own seed, so the number of processes is free."""
    from erasure_bench.models.microworld.drawing import HEADS

    number = SPLITS.index(split)
    count = (settings.train, settings.heldout)[number]
    chunks = -(-count // _CHUNK)
    work = partial(_draw_chunk, seed, number, settings)
    started, parts = time.monotonic(), []
    for part in _mapped(work, chunks, processes):
        parts.append(part)
        done, elapsed = len(parts) / chunks, time.monotonic() - started
        print(
            f"pictures ({split}): {done:.0%}, {elapsed / done * (1 - done):.0f} s left",
            file=sys.stderr,
            flush=True,
        )
    pixels, classes, captions = (np.concatenate([part[i] for part in parts]) for i in range(3))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix(".part.npz")
    np.savez(partial_path, pixels=pixels, classes=classes, captions=captions, heads=np.array(list(HEADS)))
    os.replace(partial_path, path)


def _mapped(work: partial, chunks: int, processes: int) -> Iterator[tuple]:
    if processes <= 1:
        yield from map(work, range(chunks))
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(work, range(chunks))


def load_split(path: Path) -> Pictures:
    """Read what `draw_split` wrote."""
    with np.load(path) as stored:
        classes = stored["classes"]
        return Pictures(
            stored["pixels"],
            {str(head): classes[:, i] for i, head in enumerate(stored["heads"])},
            stored["captions"].tolist(),
        )
