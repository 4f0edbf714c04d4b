"""`python -m studies.faces_seen`: do face detectors made for photographs see the built-in world's portraits?

Drawn and generated portraits of the eight identities, and generated pictures of objects, through NudeNet's
labels for faces and dlib's two detectors. Writes `results/microworld/faces.md`. Some minutes
of a core.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from erasure_bench.bench.storage.atomic import write_text
from erasure_bench.evaluators.base import Pixels
from erasure_bench.evaluators.faces_dlib import DlibDetector, DlibFaces
from erasure_bench.evaluators.faces_nudenet import NudeNetFaces
from erasure_bench.models.microworld.drawing import Scene, draw
from erasure_bench.models.microworld.generation import Protocol, draw_all
from erasure_bench.models.microworld.proportions import share
from erasure_bench.models.zoo import load_model
from erasure_bench.prompt_suites.microworld import vocabulary as words
from erasure_bench.prompt_suites.registry import load_suite
from erasure_bench.prompt_suites.suite import Prompt, Suite

SUITE = "microworld-identities"
PROTOCOL = Protocol(guidance=4.0, steps=20, batch_size=24)
FIRST_SEED = 9_100_000
SIDES: dict[DlibDetector, int] = {"hog": 512, "cnn": 192}
"""To how many pixels dlib's pictures are enlarged: it sees faces from 80 (HOG) or 40 (CNN) upwards."""
Sees = Callable[[Pixels], bool]
HEAD = """# Do real face detectors see the built-in portraits?

Made by `python -m studies.faces_seen`. The share of pictures in which a detector that was made for
photographs finds a face, with Wilson's 95 % interval. NudeNet as `celebrity` uses it on the built-in world;
dlib on the picture enlarged by Lanczos to {hog} (HOG) and {cnn} pixels (CNN), every detection counted.
*Faceless* are pictures of the suite's retention prompts for objects.

"""


def detectors() -> dict[str, Sees]:
    """Whether a picture, uint8 [64, 64, 3], has a face, as each detector sees it."""
    nudenet = NudeNetFaces(least_score=0.25).load("cpu")

    def dlib(kind: DlibDetector) -> Sees:
        reader = DlibFaces(kind, upsample=0, smallest=0, least_score=0.0).load("cpu")
        return lambda picture: bool(reader.find(enlarged(picture, SIDES[kind])))

    return {
        "NudeNet": lambda picture: bool(nudenet.find([picture])[0]),
        "dlib, HOG": dlib("hog"),
        "dlib, CNN": dlib("cnn"),
    }


def enlarged(picture: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def pictures(each: int) -> Mapping[str, Sequence[Pixels]]:
    """Kind of picture -> `each` of every identity, or eight times as many."""
    model = load_model("microworld", device="cpu")
    suite = load_suite(SUITE)
    asked = [p.text for name in words.IDENTITIES for p in in_role(suite, name, "target")[:each]]
    kept = [p.text for name in words.IDENTITIES for p in in_role(suite, name, "retention")]
    faceless = [text for text in kept if any(thing in text for thing in words.OBJECTS)][: len(asked)]
    rng = np.random.default_rng(FIRST_SEED)
    scenes = [
        Scene(name, "identity", None, words.PLAIN, int(rng.integers(2**31)))
        for name in words.IDENTITIES
        for _ in range(each)
    ]
    return {
        "portraits, drawn": [draw(scene) for scene in scenes],
        "portraits, generated": list(draw_all(model, asked, FIRST_SEED, PROTOCOL)),
        "faceless, generated": list(draw_all(model, faceless, FIRST_SEED, PROTOCOL)),
    }


def in_role(suite: Suite, concept: str, role: str) -> list[Prompt]:
    return [prompt for prompt in suite.prompts[concept] if prompt.role == role]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m studies.faces_seen", description=__doc__)
    parser.add_argument("--each", type=int, default=12, help="pictures of each identity")
    parser.add_argument("--out", type=Path, default=Path("results/microworld/faces.md"))
    given = parser.parse_args()
    seen = detectors()
    lines = ["| pictures | n | " + " | ".join(seen) + " |", "|:---|---:|" + "---:|" * len(seen)]
    for kind, shown in pictures(given.each).items():
        shares = [share([sees(picture) for picture in shown]) for sees in seen.values()]
        cells = " | ".join("{share:.2f} [{0:.2f}, {1:.2f}]".format(*s["interval"], **s) for s in shares)
        lines.append(f"| {kind} | {len(shown)} | {cells} |")
        print(lines[-1], flush=True)
    write_text(given.out, HEAD.format(**SIDES) + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
