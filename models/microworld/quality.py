"""`python -m erasure_bench.models.microworld.quality`: does the built-in model draw what it is asked for?

Asks the shipped pipeline for pictures of everything in the vocabulary, with wordings and seeds that
training never used, under the suites' protocol, counts how often the oracle recognises them, and measures
how far they are from drawings of the same captions.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.microworld.checks import Check, checks, judge, reproduced
from erasure_bench.models.microworld.fidelity import NEIGHBOURS
from erasure_bench.models.microworld.fidelity_report import fidelity_report
from erasure_bench.models.microworld.generation import Progress, Protocol, draw_all
from erasure_bench.models.microworld.oracle_network import CARD_FILE, OracleNetwork
from erasure_bench.models.microworld.proportions import share, wilson

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
    "pair": 0.80,
    "binding": 0.80,
    "count": 0.80,
    "colour": 0.90,
}
"""What is asked for -> the share of each subject that must be recognised.

Of a pair both things must stand where they were asked to, of a binding both in their colours, too.
"""
ORACLE_BAR = 0.98


def summary(asked: Sequence[Check], right: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """Group -> its bar, its share over all, and for every subject the share with n and interval."""
    groups: dict[str, dict[str, list[bool]]] = {}
    for check, good in zip(asked, right, strict=True):
        groups.setdefault(check.group, {}).setdefault(check.subject, []).append(good)
    return {group: _group_summary(group, subjects) for group, subjects in groups.items()}


def _group_summary(group: str, subjects: dict[str, list[bool]]) -> dict[str, Any]:
    rows = {subject: share(found) for subject, found in subjects.items()}
    return {
        "bar": BARS[group],
        **share([good for found in subjects.values() for good in found]),
        "below_bar": [subject for subject, row in rows.items() if row["share"] < BARS[group]],
        "subjects": rows,
    }


def _record(folder: Path) -> dict[str, Any]:
    """What the oracle in `folder` has on record of itself."""
    return json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))


def oracle_report(folder: Path) -> dict[str, dict[str, Any]]:
    """Head -> how right and how calibrated the oracle is on held-out drawings, by its own record."""
    heads = {}
    for head, found in _record(folder)["accuracy"]["drawings"].items():
        shown = {label: recall for label, recall in found["recall"].items() if recall is not None}
        label = min(shown, key=lambda name: shown[name])
        heads[head] = {
            "bar": ORACLE_BAR,
            "accuracy": found["accuracy"],
            "n": found["n"],
            "interval": list(wilson(round(found["accuracy"] * found["n"]), found["n"])),
            "lowest_recall": {"label": label, "recall": shown[label]},
            "calibration_error": found["calibration_error"],
        }
    return heads


def bindings_summary(folder: Path) -> dict[str, Any]:
    """The bar, and how often the oracle tells both things and both colours of a binding, by its record."""
    return {"bar": ORACLE_BAR, **_record(folder)["bindings"]}


def nothing_summary(folder: Path) -> dict[str, Any]:
    """The bar, and the family of nothing that the oracle takes for something most often, by its record."""
    record = _record(folder)["nothing"]
    families = record["families"]
    worst = min(families, key=lambda family: families[family]["share"])
    return {
        "bar": record["bar"],
        "lowest": {"family": worst, **{key: families[worst][key] for key in ("share", "n", "trained")}},
        "below_bar": [family for family, found in families.items() if found["share"] < record["bar"]],
    }


class Recognition(NamedTuple):
    groups: dict[str, dict[str, Any]]
    images_per_second: float


def recognised(model: DiffusionModel, oracle: OracleNetwork, samples: int, protocol: Protocol) -> Recognition:
    """Every group of checks: how often the oracle sees what was asked for."""
    asked = checks(samples)
    progress = Progress(len(asked))
    pictures = draw_all(model, [check.prompt for check in asked], FIRST_SEED, protocol, progress)
    rate = progress.rate
    kept = [i for i, check in enumerate(asked) if check.group == "memorised"]
    titles = [asked[i]._replace(group="similarity") for i in kept]
    similar = reproduced(oracle, titles, pictures[kept])
    groups = summary(asked, judge(oracle, asked, pictures)) | summary(titles, similar)
    return Recognition(groups, rate)


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
    parser.add_argument(
        "--fidelity",
        type=int,
        default=2_000,
        help="pictures beside drawings (KID, precision, recall); 0: none",
    )
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default="cpu", help="where the model draws, e.g. cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    if 0 < given.fidelity <= NEIGHBOURS:
        parser.error(f"--fidelity {given.fidelity} is too few: give 0, or more than {NEIGHBOURS}")
    torch.set_num_threads(given.threads)
    model = DiffusionModel.from_directory(given.pipeline or given.weights / "pipeline", device=given.device)
    oracle_folder = given.oracle or given.weights / "oracle"
    oracle = OracleNetwork.load(oracle_folder)
    protocol = Protocol(given.guidance, given.steps, given.batch_size)
    found = recognised(model, oracle, given.samples, protocol)
    report: dict[str, Any] = {
        "protocol": {
            "scheduler": "ddim",
            "steps": given.steps,
            "guidance_scale": given.guidance,
            "samples": given.samples,
        },
        "images_per_second": found.images_per_second,
        "device": given.device,
        "threads": torch.get_num_threads(),
        "batch_size": given.batch_size,
        "heads": found.groups,
        "oracle": oracle_report(oracle_folder),
        "bindings": bindings_summary(oracle_folder),
        "nothing": nothing_summary(oracle_folder),
    }
    if given.fidelity:
        report["fidelity"] = fidelity_report(model, oracle, given.fidelity, protocol)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines(report)))


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report in words, one line for each bar."""
    for group, found in report["heads"].items():
        verdict = "reached" if not found["below_bar"] else f"below for {', '.join(found['below_bar'])}"
        yield f"{group:12} {found['share']:.3f} (n {found['n']}, bar {found['bar']:.2f}: {verdict})"
    worst = min(report["oracle"].values(), key=lambda found: found["accuracy"])
    yield f"oracle on held-out drawings: {worst['accuracy']:.3f} at the least (bar {ORACLE_BAR:.2f})"
    bound = report["bindings"]
    yield f"oracle on drawn bindings: {bound['drawings']['share']:.3f} (bar {bound['bar']:.2f})"
    nothing = report["nothing"]
    lowest = nothing["lowest"]
    yield (
        f"oracle on nothing: {lowest['share']:.3f} at the least ({lowest['family']}, "
        f"bar {nothing['bar']:.2f})"
    )
    for name, found in report.get("fidelity", {}).items():
        low, high = found["kernel_distance_interval"]
        yield (
            f"{name}: KID {found['kernel_distance']:.4f} [{low:.4f}, {high:.4f}], "
            f"precision {found['precision']:.3f}, recall {found['recall']:.3f} (n {found['n']})"
        )
    yield f"{report['images_per_second']:.1f} images/s"


if __name__ == "__main__":
    main()
