"""`python -m erasure_bench.models.microworld.train`: draw, train and ship the built-in model, stage by stage.

Every stage is seeded and goes on where it stopped. Order: pictures, tokenizer, autoencoder, oracle,
diffusion, clip. Everything is written under `--work`; `models.microworld.ship` packs the weights. With
`--without CONCEPT` (or `A+B`: without both) the diffusion model alone is trained, on the pictures without it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from erasure_bench.errors import BenchError
from erasure_bench.models.microworld.dataset import SPLITS, Pictures, draw_split, load_split
from erasure_bench.models.microworld.loop import FACTS_FILE, default_device, side_by_side
from erasure_bench.models.microworld.settings import FULL, TOY, Settings, override

STAGES = ("pictures", "tokenizer", "autoencoder", "oracle", "diffusion", "clip")
TRAINED = ("autoencoder", "oracle", "diffusion", "clip")


class Workplace:
    """The folders of one training run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tokenizer = root / "tokenizer"
        self.tokens = root / "tokens.npy"
        self.autoencoder = root / "autoencoder"
        self.diffusion = root / "diffusion"
        self.snapshot = root / "snapshot"
        self.without = root / "without"
        self.oracle = root / "oracle"
        self.clip = root / "clip"
        self.facts = root / "training.json"

    def pictures(self, split: str) -> Path:
        return self.root / "pictures" / split

    def load(self, split: str = "train") -> Pictures:
        path = self.pictures(split)
        if not path.exists():
            raise SystemExit(f"no pictures at {path}: run with --stage pictures --work {self.root} first")
        return load_split(path)


def run_stage(
    stage: str,
    settings: Settings,
    place: Workplace,
    device: torch.device,
    stop_after: int | None = None,
    minutes: float | None = None,
) -> None:
    """Run one stage, to its end or for `stop_after` steps of the optimiser."""
    if stage == "pictures":
        for split in SPLITS:
            if not place.pictures(split).exists():
                draw_split(settings.pictures, split, settings.seed, place.pictures(split))
    elif stage == "tokenizer":
        from erasure_bench.models.microworld.tokenizer import keep_tokens, train_tokenizer

        captions = place.load().captions
        train_tokenizer(
            (text for several in captions[: settings.tokenizer.pictures] for text in several),
            settings.tokenizer,
            place.tokenizer,
        )
        keep_tokens(place.tokenizer, captions, place.tokens)
    elif stage == "autoencoder":
        from erasure_bench.models.microworld.autoencoder import train_autoencoder

        train_autoencoder(
            place.load(),
            place.load("heldout"),
            settings.autoencoder,
            place.autoencoder,
            settings.seed,
            device,
            stop_after,
            minutes,
        )
    elif stage == "oracle":
        from erasure_bench.models.microworld.oracle import train_oracle

        train_oracle(
            place.load(),
            place.load("heldout"),
            settings.oracle,
            place.oracle,
            place.autoencoder,
            settings.seed,
            device,
            stop_after,
            minutes,
        )
    elif stage == "diffusion":
        from erasure_bench.models.microworld.diffusion import train_diffusion

        training = train_diffusion(
            place.load(),
            settings.diffusion,
            place.diffusion,
            place.autoencoder,
            place.tokenizer,
            place.tokens,
            place.snapshot,
            settings.seed,
            device,
            stop_after,
            minutes,
        )
        side_by_side([training])
    else:
        from erasure_bench.models.microworld.clip import train_clip

        train_clip(
            place.load(),
            place.load("heldout"),
            settings.clip,
            place.clip,
            place.autoencoder,
            place.tokenizer,
            place.tokens,
            settings.seed,
            device,
            stop_after,
            minutes,
        )


def train_without(
    concepts: Sequence[str],
    settings: Settings,
    place: Workplace,
    device: torch.device,
    stop_after: int | None = None,
    minutes: float | None = None,
    by_passes: bool = True,
) -> None:
    """The diffusion stage without each concept's pictures, all side by side, at most as long as the recipe.

    `by_passes`: as many passes over the pictures that are left as the recipe makes over all, so fewer steps.
    Pipeline and facts of each lie in `without/<concept>`.
    """
    from erasure_bench.models.microworld.diffusion import train_diffusion
    from erasure_bench.models.microworld.references import TOGETHER, folder_name, left_out, named

    pictures, trainings = place.load(), []
    for asked in concepts:
        concept = TOGETHER.join(map(named, asked.split(TOGETHER)))
        folder = place.without / folder_name(concept)
        gone = left_out(pictures, concept)
        tell(f"without {concept}: {gone.sum()} of {len(gone)} pictures left out")
        schedule = settings.diffusion.schedule
        if by_passes:
            schedule = replace(schedule, steps=max(1, round(schedule.steps * float(np.mean(~gone)))))
        training = train_diffusion(
            pictures,
            replace(settings.diffusion, schedule=schedule),
            folder,
            place.autoencoder,
            place.tokenizer,
            place.tokens,
            folder / "pipeline",
            settings.seed,
            device,
            stop_after,
            minutes,
            longest=schedule.steps,
            kept=~gone,
            notes={"without": concept, "left_out": int(gone.sum())},
            name=f"without {concept}",
        )
        trainings.append(training)
    side_by_side(trainings)


def tell(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def collect_facts(place: Workplace) -> dict[str, dict[str, Any]]:
    """What every training in the work folder says of itself: part -> steps, batch, seconds, device, ..."""
    found = {stage: place.root / stage / FACTS_FILE for stage in TRAINED}
    found |= {f"without/{path.parent.name}": path for path in sorted(place.without.glob(f"*/{FACTS_FILE}"))}
    return {part: _read(path) for part, path in found.items() if path.exists()}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def note_facts(place: Workplace, settings: Settings) -> None:
    """Write `training.json`: the settings, what each part says of itself, and the autoencoder's PSNR."""
    psnr = place.autoencoder / "report.json"
    report = {
        "parts": collect_facts(place),
        "autoencoder": _read(psnr) if psnr.exists() else None,
        "settings": asdict(settings),
    }
    partial = place.facts.with_name(f"{place.facts.name}.{os.getpid()}")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.replace(place.facts)


def chosen_settings(given: argparse.Namespace, stage: str, place: Workplace) -> Settings:
    """The recipe with what the command line changes of it."""
    settings = override(replace(TOY if given.toy else FULL, seed=given.seed), given.set)
    steps = given.steps
    if steps is None and given.without:
        facts = collect_facts(place).get("diffusion")
        steps = facts and facts["steps"]
    if steps is not None and stage in TRAINED:
        part = getattr(settings, stage)
        part = replace(part, schedule=replace(part.schedule, steps=steps))
        settings = replace(settings, **{stage: part})
    return settings


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m erasure_bench.models.microworld.train", description=__doc__
    )
    parser.add_argument("--stage", choices=(*STAGES, "all"), default="all")
    parser.add_argument("--work", type=Path, default=Path(".microworld-work"), help="folder for everything")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cuda or cpu; by default cuda where there is a GPU")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="CONCEPT",
        help="train the diffusion model without this concept's pictures, for as many passes over what is "
        "left as the whole one's",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="PART.NAME=VALUE",
        help="change the recipe, e.g. autoencoder.latent_channels=48 diffusion.schedule.batch=256",
    )
    parser.add_argument("--steps", type=int, help="length of the schedule, instead of the recipe's")
    parser.add_argument("--stop-after", type=int, help="stop after so many steps; run again to go on")
    parser.add_argument("--minutes", type=float, help="fit each training's schedule to this time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--toy", action="store_true", help="tiny settings: every stage in seconds")
    given = parser.parse_args(arguments)
    device = torch.device(given.device) if given.device else default_device()
    torch.set_flush_denormal(True)  # saturated softmaxes make denormals, which slow a CPU down
    torch.set_num_threads(given.threads)
    torch.set_float32_matmul_precision("high")
    place = Workplace(given.work)
    try:
        if given.without:
            settings = chosen_settings(given, "diffusion", place)
            by_passes = given.steps is None
            train_without(given.without, settings, place, device, given.stop_after, given.minutes, by_passes)
            note_facts(place, settings)
            return
        for stage in STAGES if given.stage == "all" else (given.stage,):
            settings = chosen_settings(given, stage, place)
            tell(f"stage {stage}")
            run_stage(stage, settings, place, device, given.stop_after, given.minutes)
            note_facts(place, settings)
    except BenchError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
