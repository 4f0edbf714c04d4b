"""`python -m erasure_bench.models.microworld.ship`: pack the trained parts into `models/microworld/weights`.

Weights are stored in fp16, which halves their size; every loader brings them back as fp32. With
`--references FOLDER` the generators trained without a concept are packed there, a pipeline each, for
`bench run --reference FOLDER/NAME`.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from erasure_bench.models.microworld.autoencoder import load_autoencoder
from erasure_bench.models.microworld.clip import CONFIG_FILE
from erasure_bench.models.microworld.clip import WEIGHTS_FILE as CLIP_WEIGHTS
from erasure_bench.models.microworld.loop import FACTS_FILE
from erasure_bench.models.microworld.oracle_network import CARD_FILE
from erasure_bench.models.microworld.oracle_network import WEIGHTS_FILE as ORACLE_WEIGHTS
from erasure_bench.models.microworld.train import Workplace

SHIPPED = Path(__file__).parent / "weights"
LIMIT_BYTES = 30_000_000
"""Of all built-in weights together."""
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json")


def halve(source: Path, target: Path) -> None:
    """Copy a safetensors file with its floating-point tensors in fp16."""
    tensors = {
        name: tensor.half() if tensor.dtype == torch.float32 else tensor
        for name, tensor in load_file(source).items()
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, metadata={"format": "pt"})


def forget_origin(file: Path) -> None:
    """Drop the folder that a config says it was loaded from: it names the training machine."""
    config = json.loads(file.read_text(encoding="utf-8"))
    if isinstance(config, dict) and config.pop("_name_or_path", None) is not None:
        file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def ship_pipeline(snapshot: Path, autoencoder: Path, target: Path) -> None:
    """The latest snapshot as a pipeline folder, with the autoencoder as it lies now."""
    pipeline = StableDiffusionPipeline.from_pretrained(snapshot, torch_dtype=torch.float32)
    pipeline.vae = load_autoencoder(autoencoder)
    pipeline.save_pretrained(target)
    for file in target.rglob("*.safetensors"):
        halve(file, file)
    for file in target.rglob("*.json"):
        forget_origin(file)


def ship_references(place: Workplace, target: Path) -> list[str]:
    """Pipeline and facts of every training without a concept; returns the folders' names."""
    names = []
    for trained in sorted(path.parent for path in place.without.glob("*/pipeline")):
        fresh = target / f"{trained.name}.part"
        shutil.rmtree(fresh, ignore_errors=True)
        ship_pipeline(trained / "pipeline", place.autoencoder, fresh)
        shutil.copy(trained / FACTS_FILE, fresh / FACTS_FILE)
        shutil.rmtree(target / trained.name, ignore_errors=True)
        fresh.rename(target / trained.name)
        names.append(trained.name)
    return names


def ship_folder(source: Path, target: Path, weights: str, others: tuple[str, ...]) -> None:
    """One network's folder: its weights halved, its other files as they are."""
    target.mkdir(parents=True, exist_ok=True)
    halve(source / weights, target / weights)
    for name in others:
        shutil.copy(source / name, target / name)


def folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m erasure_bench.models.microworld.ship", description=__doc__
    )
    parser.add_argument("--work", type=Path, default=Path(".microworld-work"), help="the training's folder")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--references", type=Path, metavar="FOLDER", help="pack the trainings --without here")
    given = parser.parse_args(arguments)
    place = Workplace(given.work)
    if given.references is not None:
        names = ship_references(place, given.references)
        print(json.dumps({"references": names, "total": folder_bytes(given.references)}, indent=2))
        return
    parts = {
        "pipeline": (place.snapshot, lambda out: ship_pipeline(place.snapshot, place.autoencoder, out)),
        "oracle": (
            place.oracle / CARD_FILE,
            lambda out: ship_folder(place.oracle, out, ORACLE_WEIGHTS, (CARD_FILE,)),
        ),
        "clip": (
            place.clip / CONFIG_FILE,
            lambda out: ship_folder(
                place.clip, out, CLIP_WEIGHTS, (CONFIG_FILE, "report.json", *TOKENIZER_FILES)
            ),
        ),
    }
    for name, (needed, pack) in parts.items():
        if not needed.exists():
            print(f"{name}: not trained yet ({needed} is missing), left out", file=sys.stderr)
            continue
        fresh = given.out / f"{name}.part"
        shutil.rmtree(fresh, ignore_errors=True)
        pack(fresh)
        shutil.rmtree(given.out / name, ignore_errors=True)
        fresh.rename(given.out / name)
    shutil.copy(place.facts, given.out / place.facts.name)
    sizes = {path.name: folder_bytes(path) for path in sorted(given.out.iterdir()) if path.is_dir()}
    print(json.dumps({"bytes": sizes, "total": sum(sizes.values())}, indent=2))
    if sum(sizes.values()) > LIMIT_BYTES:
        raise SystemExit(f"the weights take {sum(sizes.values())} bytes, more than {LIMIT_BYTES}")


if __name__ == "__main__":
    main()
