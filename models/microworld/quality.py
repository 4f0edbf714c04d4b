"""`python -m erasure_bench.models.microworld.quality`: does the built-in model draw what it is asked for?

Asks the shipped pipeline for pictures of everything in the vocabulary, with wordings and seeds that
training never used, under the suites' protocol, and counts how often the oracle recognises them.
"""

import argparse
import json
import math
import os
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.microworld.drawing import Scene, caption, labels
from erasure_bench.models.microworld.drawing.scenes import KINDS
from erasure_bench.models.microworld.oracle_network import OracleNetwork
from erasure_bench.models.sampling import ImageRequest, sample
from erasure_bench.prompt_suites.microworld import vocabulary as words

WEIGHTS = Path(__file__).parent / "weights"
FIRST_SEED = 7_000_000
BARS = {
    "object": 0.95,
    "member": 0.95,
    "style": 0.95,
    "identity": 0.95,
    "fire": 0.90,
    "rain": 0.90,
    "memorised": 0.90,
    "similarity": 0.90,
}


ORACLE_BAR = 0.98
ORACLE_RECORD = "oracle.json"


class Check(NamedTuple):
    """One prompt and what the oracle should say of its picture: `label` on head `head`."""

    prompt: str
    head: str
    label: str
    subject: str


class Interval(NamedTuple):
    low: float
    high: float


def wilson(right: int, n: int, z: float = 1.96) -> Interval:
    """Wilson's 95 % interval of a proportion."""
    share, spread = right / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def checks(samples: int, seed: int = 1) -> list[Check]:
    """`samples` prompts for each object, member, style, identity, evoking subject and memorised title."""
    found: list[Check] = []

    def ask(head: str, kind: str, subject: str, style: str, number: int) -> None:
        rng = np.random.default_rng((seed, zlib.crc32(f"{head}/{subject}/{style}".encode()), number))
        background = None
        if kind not in ("memorised", "abstract") and number % 3 != 2:
            background = words.BACKGROUNDS[number % len(words.BACKGROUNDS)]
        scene = Scene(subject, kind, background, style, 0)
        label = getattr(labels(scene), head)
        found.append(Check(caption(scene, rng, 0.0, 0.0), head, label, style if head == "style" else subject))

    for number in range(samples):
        for kind, head in (("object", "object"), ("category", "object"), ("member", "member")):
            for subject in KINDS[kind]:
                ask(head, kind, subject, words.PLAIN, number)
        for subject in KINDS["identity"]:
            ask("identity", "identity", subject, words.PLAIN, number)
        for subject in words.ANONYMOUS:
            ask("identity", "anonymous", subject, words.PLAIN, number)
        for style in (words.PLAIN, *words.STYLES, *words.VALIDATION_STYLES):
            subjects = (*words.OBJECTS, *(family.category for family in words.FAMILIES))
            ask(
                "style",
                _kind(subjects[number % len(subjects)]),
                subjects[number % len(subjects)],
                style,
                number,
            )
        for head, evoked in zip(("fire", "rain"), words.IMPLICIT + words.VALIDATION_IMPLICIT, strict=True):
            for subject in (*evoked.naming[:1], *evoked.evoking):
                ask(head, "implicit", subject, words.PLAIN, number)
            for subject in evoked.without:
                ask(head, "without", subject, words.PLAIN, number)
        for title in KINDS["memorised"]:
            ask("memorised", "memorised", title, words.PLAIN, number)
    return found


def _kind(subject: str) -> str:
    return next(kind for kind, subjects in KINDS.items() if subject in subjects)


def draw_all(
    model: DiffusionModel,
    prompts: Sequence[str],
    guidance: float,
    steps: int,
    batch: int,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.uint8]:
    """One DDIM sample for each prompt, uint8 [n, 64, 64, 3]; sample i has its own seed."""
    requests = [
        ImageRequest(prompt, FIRST_SEED + i, guidance, model.resolution, model.resolution)
        for i, prompt in enumerate(prompts)
    ]
    return np.stack(
        sample(model, requests, scheduler="ddim", steps=steps, batch_size=batch, on_batch=on_batch)
    )


@torch.no_grad()
def judge(oracle: OracleNetwork, asked: Sequence[Check], pictures: NDArray[np.uint8]) -> list[bool]:
    """For each check whether the oracle sees what was asked for."""
    right: list[bool] = []
    for start in range(0, len(asked), 256):
        images = torch.from_numpy(pictures[start : start + 256]).permute(0, 3, 1, 2).float().div(255)
        guesses = {head: logits.argmax(dim=1).tolist() for head, logits in oracle(images).items()}
        for i, check in enumerate(asked[start : start + 256]):
            right.append(oracle.heads[check.head][guesses[check.head][i]] == check.label)
    return right


@torch.no_grad()
def reproduced(oracle: OracleNetwork, asked: Sequence[Check], pictures: NDArray[np.uint8]) -> list[bool]:
    """For each memorised check whether the descriptor is over the card's threshold."""
    card = oracle.card["descriptor"]
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(255)
    descriptors = oracle.descriptor(images)
    references = torch.tensor([card["references"][check.label] for check in asked])
    return ((descriptors * references).sum(dim=1) > card["threshold"]).tolist()


def summary(asked: Sequence[Check], right: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """Head -> its bar, its share over all, and for every subject the share with n and interval."""
    heads: dict[str, dict[str, list[bool]]] = {}
    for check, good in zip(asked, right, strict=True):
        heads.setdefault(check.head, {}).setdefault(check.subject, []).append(good)
    return {head: _head_summary(head, subjects) for head, subjects in heads.items()}


def _head_summary(head: str, subjects: dict[str, list[bool]]) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {
        subject: {
            "share": sum(found) / len(found),
            "n": len(found),
            "interval": list(wilson(sum(found), len(found))),
        }
        for subject, found in subjects.items()
    }
    everything = [good for found in subjects.values() for good in found]
    return {
        "bar": BARS[head],
        "share": sum(everything) / len(everything),
        "n": len(everything),
        "below_bar": [subject for subject, row in rows.items() if row["share"] < BARS[head]],
        "subjects": rows,
    }


def oracle_report(folder: Path) -> dict[str, dict[str, Any]]:
    """Head -> how right the oracle is on held-out drawings, by its own record, and its bar."""
    record = json.loads((folder / ORACLE_RECORD).read_text(encoding="utf-8"))
    heads = {}
    for head, found in record["accuracy"]["drawings"].items():
        label, recall = min(found["recall"].items(), key=lambda item: item[1])
        heads[head] = {
            "bar": ORACLE_BAR,
            "accuracy": found["accuracy"],
            "n": found["n"],
            "interval": list(wilson(round(found["accuracy"] * found["n"]), found["n"])),
            "lowest_recall": {"label": label, "recall": recall},
        }
    return heads


def measure(
    model: DiffusionModel, oracle: OracleNetwork, *, samples: int, guidance: float, steps: int, batch: int
) -> dict[str, Any]:
    """Everything the bars ask for, at one guidance scale."""
    asked = checks(samples)
    started, done = time.monotonic(), 0

    def tell(n: int) -> None:
        nonlocal done
        done += n
        rate = done / (time.monotonic() - started)
        left = (len(asked) - done) / rate
        print(f"\r{done}/{len(asked)}, {rate:.1f} images/s, {left:.0f} s left  ", end="", file=sys.stderr)

    pictures = draw_all(model, [check.prompt for check in asked], guidance, steps, batch, tell)
    seconds = time.monotonic() - started
    print(file=sys.stderr)
    report = summary(asked, judge(oracle, asked, pictures))
    kept = [i for i, check in enumerate(asked) if check.head == "memorised"]
    titles = [asked[i]._replace(head="similarity") for i in kept]
    similar = reproduced(oracle, [asked[i] for i in kept], pictures[kept])
    report |= summary(titles, similar)
    return {
        "protocol": {"scheduler": "ddim", "steps": steps, "guidance_scale": guidance, "samples": samples},
        "images_per_second": len(asked) / seconds,
        "threads": torch.get_num_threads(),
        "batch_size": batch,
        "heads": report,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m erasure_bench.models.microworld.quality", description=__doc__
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with pipeline/ and oracle/")
    parser.add_argument("--pipeline", type=Path, help="a pipeline folder instead of WEIGHTS/pipeline")
    parser.add_argument("--oracle", type=Path, help="an oracle folder instead of WEIGHTS/oracle")
    parser.add_argument(
        "--out", type=Path, help="where to write the JSON, e.g. results/microworld/quality.json"
    )
    parser.add_argument("--samples", type=int, default=20, help="pictures for each subject")
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    model = DiffusionModel.from_directory(given.pipeline or given.weights / "pipeline")
    oracle_folder = given.oracle or given.weights / "oracle"
    oracle = OracleNetwork.load(oracle_folder)
    report = measure(
        model,
        oracle,
        samples=given.samples,
        guidance=given.guidance,
        steps=given.steps,
        batch=given.batch_size,
    )
    report["oracle"] = oracle_report(oracle_folder)
    text = json.dumps(report, indent=1)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text + "\n", encoding="utf-8")
    for head, found in report["heads"].items():
        verdict = "reached" if not found["below_bar"] else f"below for {', '.join(found['below_bar'])}"
        print(f"{head:12} {found['share']:.3f} (n {found['n']}, bar {found['bar']:.2f}: {verdict})")
    worst = min(report["oracle"].values(), key=lambda found: found["accuracy"])
    print(f"oracle on held-out drawings: {worst['accuracy']:.3f} at the least (bar {ORACLE_BAR:.2f})")
    print(f"{report['images_per_second']:.1f} images/s")


if __name__ == "__main__":
    main()
