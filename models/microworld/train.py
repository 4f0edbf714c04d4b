"""`python -m erasure_bench.models.microworld.train`: draw, train and ship the built-in model, stage by stage.

Every stage is seeded and goes on where it stopped. Order: pictures, tokenizer, autoencoder, oracle,
diffusion, clip. Everything is written under `--work`; `models.microworld.ship` packs the weights.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from erasure_bench.models.microworld.dataset import SPLITS, Pictures, draw_split, load_split
from erasure_bench.models.microworld.settings import FULL, TOY, Schedule, Settings

STAGES = ("pictures", "tokenizer", "autoencoder", "decoder", "oracle", "diffusion", "clip")
DECODER_REFINEMENT = Schedule(steps=600, batch=32, lr=7e-4, warmup=30)


class Workplace:
    """The folders of one training run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tokenizer = root / "tokenizer"
        self.autoencoder = root / "autoencoder"
        self.diffusion = root / "diffusion"
        self.snapshot = root / "snapshot"
        self.oracle = root / "oracle"
        self.clip = root / "clip"

    def pictures(self, split: str) -> Path:
        return self.root / "pictures" / split

    def load(self, split: str = "train") -> Pictures:
        path = self.pictures(split)
        if not path.exists():
            raise SystemExit(f"no pictures at {path}: run with --stage pictures --work {self.root} first")
        return load_split(path)


def run_stage(
    stage: str, settings: Settings, place: Workplace, stop_after: int | None, minutes: float | None
) -> None:
    """Run one stage, to its end or for `stop_after` steps of the optimiser."""
    if stage == "pictures":
        for split in SPLITS:
            if not place.pictures(split).exists():
                draw_split(settings.pictures, split, settings.seed, place.pictures(split))
    elif stage == "tokenizer":
        from erasure_bench.models.microworld.tokenizer import train_tokenizer

        texts = (text for several in place.load().captions for text in several)
        train_tokenizer(texts, settings.tokenizer, place.tokenizer)
    elif stage == "autoencoder":
        from erasure_bench.models.microworld.autoencoder import train_autoencoder

        train_autoencoder(place.load(), settings.autoencoder, place.autoencoder, settings.seed, stop_after)
    elif stage == "decoder":
        from erasure_bench.models.microworld.autoencoder import refine_decoder

        schedule = DECODER_REFINEMENT if settings is not TOY else replace(DECODER_REFINEMENT, steps=2)
        refine_decoder(place.load(), place.autoencoder, schedule, settings.seed)
    elif stage == "oracle":
        from erasure_bench.models.microworld.oracle import train_oracle

        train_oracle(
            place.load(),
            place.load("heldout"),
            settings.oracle,
            place.oracle,
            place.autoencoder,
            settings.seed,
            stop_after,
        )
    elif stage == "diffusion":
        from erasure_bench.models.microworld.diffusion import train_diffusion

        train_diffusion(
            place.load(),
            settings.diffusion,
            place.diffusion,
            place.autoencoder,
            place.tokenizer,
            place.snapshot,
            settings.seed,
            stop_after,
            minutes,
        )
    else:
        from erasure_bench.models.microworld.clip import train_clip

        train_clip(
            place.load(),
            place.load("heldout"),
            settings.clip,
            place.clip,
            place.autoencoder,
            place.tokenizer,
            settings.seed,
            stop_after,
            minutes,
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m erasure_bench.models.microworld.train", description=__doc__
    )
    parser.add_argument("--stage", choices=(*STAGES, "all"), default="all")
    parser.add_argument("--work", type=Path, default=Path(".microworld-work"), help="folder for everything")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="length of the schedule, instead of the recipe's")
    parser.add_argument("--stop-after", type=int, help="stop after so many steps; run again to go on")
    parser.add_argument("--minutes", type=float, help="diffusion, clip: fit the schedule to this time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--toy", action="store_true", help="tiny settings: every stage in seconds")
    given = parser.parse_args(arguments)
    torch.set_flush_denormal(True)  # saturated softmaxes make denormals, which slow a CPU down
    torch.set_num_threads(given.threads)
    torch.set_float32_matmul_precision("high")
    settings = (
        replace(TOY if given.toy else FULL, seed=given.seed) if given.seed else (TOY if given.toy else FULL)
    )
    stages = STAGES if given.stage == "all" else (given.stage,)
    for stage in stages:
        chosen = settings
        if given.steps is not None and hasattr(settings, stage) and stage not in ("pictures", "tokenizer"):
            part = getattr(settings, stage)
            part = replace(part, schedule=replace(part.schedule, steps=given.steps))
            chosen = replace(settings, **{stage: part})
        print(f"stage {stage}", file=sys.stderr, flush=True)
        run_stage(stage, chosen, Workplace(given.work), given.stop_after, given.minutes)


if __name__ == "__main__":
    main()
