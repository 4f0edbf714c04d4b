"""Detector and classifier by file give the closed forms of the papers' measures; names are upstream's."""

import csv
import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erasure_bench.errors import BenchError, NotHere
from erasure_bench.evaluators import giphy_labels
from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.evaluators.celebrity import Celebrity
from erasure_bench.evaluators.faces import Box
from erasure_bench.evaluators.faces_giphy import GIPHYS, crop_of
from erasure_bench.evaluators.giphy_labels import LABELS, are_upstreams, celebrity_names
from erasure_bench.evaluators.wanted_faces import plain_name
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role

RED = Concept(name="Red", kind="identity", targets=("Red",), anchor="a person", neighbours=("Blue",))
TWO_BOXES = Box(0.0, 0.0, 32.0, 64.0, 0.9), Box(32.0, 0.0, 64.0, 64.0, 0.8)


def _picture(role: Role, subject: str, number: int, pixels: np.ndarray) -> Picture:
    prompt = Prompt(id=f"{role}/{subject}", text=f"a photo of {subject}", role=role, subject=subject)
    return Picture(prompt, number, pixels.astype(np.uint8))


def _filled(*colour: int) -> np.ndarray:
    return np.full((64, 64, 3), colour)


@pytest.fixture
def by_file(whole_picture_detector: Path, colour_classifier: tuple[Path, Path]) -> Celebrity:
    """A detector that sees faces in bright pictures, a classifier whose logits are 10 × the mean colours."""
    network, labels = map(str, colour_classifier)
    return Celebrity(
        recogniser="giphy",
        detector=str(whole_picture_detector),
        model=network,
        labels=labels,
        least_score=0.3,
    )


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TorchScript: the left half is a surer face than the right one, given in the other order."""
    torch = pytest.importorskip("torch")

    class Halves(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, image: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":  # type: ignore[name-defined]
            boxes = torch.tensor([[32.0, 0.0, 64.0, 64.0], [0.0, 0.0, 32.0, 64.0]])
            return boxes + 0 * image.sum(), torch.tensor([0.8, 0.9]) + 0 * image.sum()

    file = tmp_path_factory.mktemp("halves") / "halves.pt"
    torch.jit.trace(Halves(), torch.rand(1, 3, 64, 64)).save(str(file))
    return file


def test_gcds_is_over_pictures_with_a_face_and_of_all_counts_the_others_as_nobody(by_file: Celebrity) -> None:
    red, blue, dark = _filled(255, 128, 128), _filled(128, 128, 255), _filled(0, 0, 0)
    pictures = (
        _picture("target", "Red", 0, red),
        _picture("target", "Red", 1, blue),
        _picture("target", "Red", 2, dark),
        _picture("neighbour", "Blue", 0, blue),
        _picture("retention", "a boat", 0, blue),
    )

    frame = by_file.score(ImageSet(RED, pictures)).values
    value = frame.set_index(["prompt_id", "image_index", "metric"])["value"]

    logits = np.array([255, 128, 128]) / 25.5
    chance = math.exp(logits[0]) / np.exp(logits).sum()
    assert value["target/Red", 0, "gcds"] == pytest.approx(chance, abs=1e-5)
    assert value["target/Red", 1, "gcds"] == pytest.approx((1 - chance) / 2, abs=1e-5)
    assert np.isnan(value["target/Red", 2, "gcds"]) and np.isnan(value["target/Red", 2, "top1"])
    assert [value["target/Red", number, "top1"] for number in range(2)] == [1, 0]
    assert [value["target/Red", number, "shows_celebrity"] for number in range(3)] == [1, 0, 0]
    assert [value["target/Red", number, "no_face"] for number in range(3)] == [0, 0, 1]
    assert value["neighbour/Blue", 0, "gcds"] == pytest.approx(chance, abs=1e-5)
    unknown = frame[frame.prompt_id == "retention/a boat"].set_index("metric")
    assert unknown.loc["no_face", "status"] == "ok"
    assert all("'a boat'" in unknown.loc[name, "reason"] for name in ("gcds", "top1", "shows_celebrity"))


def test_of_several_faces_gcds_takes_the_likeliest_and_top1_the_surest(
    by_file: Celebrity, two_faces: Path
) -> None:
    pixels = np.concatenate([np.full((64, 32, 3), (0, 255, 0)), np.full((64, 32, 3), (255, 0, 0))], axis=1)
    shown = ImageSet(RED, (_picture("target", "Red", 0, pixels),))

    scores = replace(by_file, detector=str(two_faces)).score(shown)
    value = scores.values.set_index("metric")["value"]

    assert value["gcds"] > 0.9 and value["top1"] == 0 and value["shows_celebrity"] == 0
    assert scores.details is not None
    (row,) = scores.details.itertuples()
    assert (row.faces, row.name, row.wanted) == (2, "green", "red") and row.score == pytest.approx(0.9)


@pytest.mark.parametrize("size", [1, 7, 32])
def test_every_batch_size_gives_what_the_networks_give_directly(
    size: int, by_file: Celebrity, colour_classifier: tuple[Path, Path]
) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    drawn = [random.integers(60, 256, (40 + 8 * (i % 3), 48, 3), dtype=np.uint8) for i in range(33)]
    network = torch.jit.load(str(colour_classifier[0]))

    shown = ImageSet(RED, tuple(_picture("target", "Red", i, each) for i, each in enumerate(drawn)))
    frame = replace(by_file, batch_size=size).score(shown).values

    found = frame[frame.metric == "gcds"].value.to_numpy()
    for pixels, gcds in zip(drawn, found, strict=True):
        crop = np.asarray(Image.fromarray(pixels).resize((224, 224), Image.Resampling.BILINEAR))
        batch = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float() / 255
        assert gcds == pytest.approx(float(torch.softmax(network(batch), 1)[0, 0]), abs=1e-5)


def test_a_crop_has_upstreams_margin_and_stays_inside() -> None:
    pixels = np.arange(100 * 100 * 3).reshape(100, 100, 3).astype(np.uint8)

    def wanted(left: int, top: int, right: int, bottom: int) -> np.ndarray:
        part = Image.fromarray(pixels[top:bottom, left:right])
        return np.asarray(part.resize((224, 224), Image.Resampling.BILINEAR))

    # 20 % of 40 is 8 and of 20 is 4: half of it on each side
    np.testing.assert_array_equal(crop_of(pixels, Box(30, 40, 70, 60, 1.0)), wanted(26, 38, 74, 62))
    np.testing.assert_array_equal(crop_of(pixels, Box(-10, -5, 40, 45, 1.0)), wanted(0, 0, 45, 50))
    with pytest.raises(ValueError, match="outside"):
        crop_of(pixels, Box(300, 10, 340, 50, 1.0))


def test_a_detector_that_gives_nothing_finite_or_no_boxes_is_told(
    by_file: Celebrity, tmp_path: Path, colour_classifier: tuple[Path, Path]
) -> None:
    torch = pytest.importorskip("torch")

    class Broken(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, image: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":  # type: ignore[name-defined]
            scores = image.mean().reshape(1) / 0
            return scores.expand(4).reshape(1, 4), scores

    torch.jit.trace(Broken(), torch.rand(1, 3, 8, 8), check_trace=False).save(str(tmp_path / "broken.pt"))
    shown = ImageSet(RED, (_picture("target", "Red", 0, _filled(200, 0, 0)),))

    frame = replace(by_file, detector=str(tmp_path / "broken.pt")).score(shown).values
    assert (frame.status == "missing").all() and frame.reason.str.contains("not finite").all()
    with pytest.raises(BenchError, match="boxes"):
        replace(by_file, detector=str(colour_classifier[0])).score(shown)


def test_labels_that_do_not_fit_and_absent_files_say_what_to_do(by_file: Celebrity, tmp_path: Path) -> None:
    shown = ImageSet(RED, (_picture("target", "Red", 0, _filled(200, 200, 200)),))
    (tmp_path / "two.txt").write_text("red\nblue\n", encoding="utf-8")

    with pytest.raises(BenchError, match="celebrity.labels"):
        replace(by_file, labels=str(tmp_path / "two.txt")).score(shown)
    with pytest.raises(BenchError, match="celebrity.model=FILE"):
        replace(by_file, model=None).prepare()
    with pytest.raises(BenchError, match="celebrity.detector=FILE"):
        replace(by_file, detector=str(tmp_path / "absent.onnx")).protocol()
    assert len(Celebrity(recogniser="giphy").metrics) == 4


def test_probabilities_taken_for_logits_are_told(by_file: Celebrity, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Colours(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, crops: "torch.Tensor") -> "torch.Tensor":  # type: ignore[name-defined]
            return (10.0 * crops.mean(dim=(2, 3))).softmax(1)

    file = tmp_path / "colours.pt"
    torch.jit.trace(Colours(), torch.rand(2, 3, 8, 8)).save(str(file))
    shown = ImageSet(RED, (_picture("target", "Red", 0, _filled(255, 128, 128)),))

    with pytest.raises(BenchError, match="celebrity.output=probabilities"):
        replace(by_file, model=str(file)).score(shown)
    frame = replace(by_file, model=str(file), output="probabilities").score(shown).values
    assert frame.set_index("metric").value["gcds"] > 0.9


def test_a_protocol_claims_giphys_network_for_its_own_names_alone(
    by_file: Celebrity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published shares are by GIPHY's: another network's stand beside none of them."""
    assert by_file.protocol()["recogniser"] == "detector and classifier of face crops"
    own = hashlib.sha256(Path(str(by_file.labels)).read_bytes()).hexdigest()
    monkeypatch.setattr(giphy_labels, "LABELS", replace(LABELS, sha256=own))
    assert by_file.protocol()["recogniser"] == GIPHYS
    assert replace(by_file, detector="nudenet").protocol()["recogniser"] != GIPHYS


def test_labels_are_read_in_the_order_of_their_index(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("Labels,Index\nZoe_B_[m.01],1\nAda_[m.2_b],0\n", encoding="utf-8")

    assert celebrity_names(str(file)) == ["Ada", "Zoe B"]
    file.write_text("Labels,Index\nZoe,first\n", encoding="utf-8")
    with pytest.raises(BenchError, match="whole number"):
        celebrity_names(str(file))
    assert plain_name("Zoe_B_[m.01]") == plain_name("zoë  b") == "zoe b"


def test_upstreams_names_stand_where_the_papers_say(
    upstream_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Selective Amnesia gives 281 for Brad Pitt, 124 for Angelina Jolie; MACE's names are all among them."""
    mace = upstream_data / "mace" / "celebrity_100_concepts.csv"
    if not mace.is_file() or not (upstream_data / LABELS.folder / LABELS.name).is_file():
        pytest.skip("the upstream files are not at hand (BENCH_DATA)")
    monkeypatch.setenv("BENCH_DATA", str(upstream_data))

    names = [plain_name(name) for name in celebrity_names(None)]
    assert are_upstreams(str(upstream_data / LABELS.folder / LABELS.name))

    assert (names.index("brad pitt"), names.index("angelina jolie"), len(names)) == (281, 124, 2306)
    with mace.open(encoding="utf-8") as rows:
        prompts = [row["prompt"] for row in csv.DictReader(rows)]
    portrayed = {
        plain_name(p.removeprefix("A portrait of ")) for p in prompts if p.startswith("A portrait of ")
    }
    assert len(portrayed) == 200 and portrayed <= {*names}


@pytest.mark.parametrize("text", ['[{"name": "Ada"}]', '["Ada", 1]', '["Ada", "Ada"]', "[]"])
def test_a_list_of_labels_that_are_no_names_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "labels.json"
    file.write_text(text)

    with pytest.raises(BenchError, match="labels.json: names must be distinct texts.*celebrity.labels"):
        celebrity_names(str(file))


def test_what_is_not_here_is_said_before_anything_is_read(by_file: Celebrity, tmp_path: Path) -> None:
    """The network first, whose absence a run goes on without; then its names, with the option for them."""
    with pytest.raises(NotHere, match="celebrity.model"):
        replace(by_file, model=None, labels=str(tmp_path / "none.txt")).protocol()
    with pytest.raises(BenchError, match="none.txt.*celebrity.labels"):
        replace(by_file, labels=str(tmp_path / "none.txt")).protocol()
