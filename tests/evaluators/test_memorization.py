"""SSCD's similarity is that of its file called directly; what is no copy, such as noise, is not memorised."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.memorization import Memorization
from erasure_bench.evaluators.memorized_pictures import reference_files, wanted_keys
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role

CONCEPT = Concept(name="Anne G", kind="memorised", targets=("Anne Graham",), anchor="a portrait")


def coarse(seed: int, height: int = 96, width: int = 120) -> Pixels:
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height)))


def as_jpeg(pixels: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=60)
    return np.asarray(Image.open(buffer))


def images(
    *pixels: Pixels, role: Role = "target", subject: str = "Anne G", concept: Concept = CONCEPT
) -> ImageSet:
    prompt = Prompt(id="anne/00", text="a portrait", role=role, subject=subject)
    return ImageSet(concept, tuple(Picture(prompt, index, each) for index, each in enumerate(pixels)))


def values(evaluator: Memorization, shown: ImageSet) -> dict[str, list[float]]:
    frame = evaluator.score(shown).values
    return {str(metric): rows.value.tolist() for metric, rows in frame.groupby("metric")}


def save(pixels: Pixels, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_it_is_the_file_called_directly(copy_descriptor: Path, tmp_path: Path, batch_size: int) -> None:
    """On torchvision's `Resize(288)`, `ToTensor` and `Normalize`, a picture at a time."""
    transforms = pytest.importorskip("torchvision.transforms")
    shown = [coarse(seed, *((64, 96), (96, 64), (80, 80))[seed % 3]) for seed in range(batch_size)]
    save(coarse(0), tmp_path / "anne-g" / "1.png")
    save(coarse(1), tmp_path / "anne-g" / "2.png")
    network = torch.jit.load(str(copy_descriptor))
    normalise = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    prepared = transforms.Compose([transforms.Resize(288), transforms.ToTensor(), normalise])

    def described(pixels: Pixels) -> Any:
        with torch.inference_mode():
            return network(prepared(Image.fromarray(pixels)).unsqueeze(0))[0].numpy()

    evaluator = Memorization(model=str(copy_descriptor), references=str(tmp_path), batch_size=batch_size)
    found = values(evaluator, images(*shown))

    own = [described(coarse(seed)) for seed in (0, 1)]
    expected = [max(float(described(each) @ one) for one in own) for each in shown]
    np.testing.assert_allclose(found["memorized_similarity"], expected, atol=1e-5)
    assert found["memorized"] == [value > 0.5 for value in expected]
    assert found["memorized_surely"] == [value > 0.75 for value in expected]
    assert found["memorized"][0] == 1 and sum(found["memorized"]) <= 2


def test_a_copy_is_seen_through_jpeg_and_another_size(copy_descriptor: Path, tmp_path: Path) -> None:
    whole = coarse(3)
    small = np.asarray(Image.fromarray(whole).resize((60, 48)))
    save(whole, tmp_path / "anne_g.png")
    evaluator = Memorization(model=str(copy_descriptor), references=str(tmp_path))

    found = values(evaluator, images(whole, as_jpeg(whole), small, coarse(4)))

    assert found["memorized_surely"] == [1, 1, 1, 0]
    assert found["memorized_similarity"][0] == pytest.approx(1, abs=1e-6)


def test_noise_and_blanks_look_erased(copy_descriptor: Path, tmp_path: Path) -> None:
    """They resemble nothing: what shows that they are no success is `coherence`, beside it."""
    random = np.random.default_rng(0)
    save(coarse(3), tmp_path / "anne-g.png")
    evaluator = Memorization(model=str(copy_descriptor), references=str(tmp_path))
    noise = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)

    found = values(evaluator, images(noise, np.full((64, 64, 3), 128, np.uint8)))

    assert found["memorized"] == [0, 0] and np.abs(found["memorized_similarity"]).max() < 0.5
    from erasure_bench.evaluators.memorization import CARD

    assert "Noise and blanks" in CARD.notes and "coherence" in CARD.notes


def test_each_role_is_held_against_its_own_picture(copy_descriptor: Path, tmp_path: Path) -> None:
    save(coarse(1), tmp_path / "anne-g.png")
    save(coarse(2), tmp_path / "Blood Borne.png")
    evaluator = Memorization(model=str(copy_descriptor), references=str(tmp_path))

    def similarity(**asked: Any) -> float:
        return values(evaluator, images(coarse(2), **asked))["memorized_similarity"][0]

    assert similarity(role="neighbour", subject="blood borne") == pytest.approx(1, abs=1e-6)
    assert similarity(role="target", subject="blood borne") < 0.5
    unknown = evaluator.score(images(coarse(2), role="retention", subject="a cat"))
    assert set(unknown.values.reason) == {"no memorised picture of 'a cat' is known"}
    details = evaluator.score(images(coarse(1))).details
    assert details is not None and details.memorized_picture.tolist() == ["anne-g.png"]
    better = evaluator.metrics[0].better
    assert (better["target"], better["misspelt"], better["neighbour"]) == ("lower", "lower", "higher")


def test_a_reference_is_found_by_prompt_then_concept_then_subject(tmp_path: Path) -> None:
    save(coarse(1), tmp_path / "anne" / "00.png", tmp_path / "many" / "1.png", tmp_path / "many" / "2.jpg")
    found = reference_files(tmp_path)

    assert {key: len(files) for key, files in found.items()} == {
        "anne/00": 1,
        "anne": 1,
        "many": 2,
        "many/1": 1,
        "many/2": 1,
    }
    erased = images(coarse(1)).pictures[0].prompt
    assert wanted_keys(CONCEPT, erased) == ("anne/00", "anne-g", "anne-graham")
    kept = images(coarse(1), role="neighbour", subject="Lukas X").pictures[0].prompt
    assert wanted_keys(CONCEPT, kept) == ("anne/00", "lukas-x")


def test_mistakes_are_one_line(
    copy_descriptor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "anne-g.png").write_bytes(b"hello")
    (tmp_path / "text.pt").write_bytes(b"hello")
    (tmp_path / "weights.safetensors").write_bytes(b"hello")
    save(coarse(0), tmp_path / "whole" / "anne-g.png")
    model, whole = str(copy_descriptor), str(tmp_path / "whole")
    for settings, reason in (
        ({"references": whole}, "looked for .*sscd/sscd_imagenet_mixup.torchscript.pt"),
        ({"model": str(tmp_path / "no.pt"), "references": whole}, "weights are missing, looked for"),
        ({"model": str(tmp_path / "text.pt"), "references": whole}, "cannot be opened as TorchScript"),
        ({"model": str(tmp_path / "weights.safetensors"), "references": whole}, "opened as TorchScript"),
        ({"model": model}, "memorization.references=FOLDER"),
        ({"model": model, "references": str(tmp_path / "nowhere")}, "is no folder of memorised pictures"),
        ({"model": model, "references": str(tmp_path / "empty")}, "holds no pictures"),
        ({"model": model, "references": str(tmp_path / "broken")}, "is no picture that can be read"),
        ({"model": str(tmp_path / "empty")}, "oracle.json is missing"),
    ):
        with pytest.raises(BenchError, match=reason) as refused:
            Memorization(**settings).prepare()  # type: ignore[arg-type]
        assert "\n" not in str(refused.value)


def of_differences(file: Path, least: float) -> Path:
    """A network that finds no direction in one flat colour: it gives 0 / 0, or zeros with a `least`."""

    class OfDifferences(torch.nn.Module):
        def forward(self, images: Any) -> Any:
            spots = images[:, 0, ::40, ::40].flatten(1)
            beside = spots[:, 1:] - spots[:, :-1]
            return beside / beside.norm(dim=1, keepdim=True).clamp(min=least)

    torch.jit.trace(OfDifferences(), torch.rand(1, 3, 288, 288)).save(str(file))
    return file


@pytest.mark.parametrize(("least", "reason"), [(0.0, "is not finite"), (1e-9, "is all zeros")])
def test_a_reference_that_nothing_can_resemble_is_refused_by_its_name(
    tmp_path: Path, least: float, reason: str
) -> None:
    """Every picture would be at 0 or below, as though no copy of it was ever drawn."""
    model = of_differences(tmp_path / "spots.pt", least)
    save(coarse(0, 64, 64), tmp_path / "all" / "anne-g" / "1.png")
    save(np.full((48, 48, 3), 9, np.uint8), tmp_path / "all" / "anne-g" / "2.png")
    with pytest.raises(BenchError, match=rf"anne-g.2\.png: cannot be held .* descriptor {reason}") as refused:
        Memorization(model=str(model), references=str(tmp_path / "all")).prepare()
    assert "\n" not in str(refused.value) and "memorization.references=" in str(refused.value)


def test_a_reference_that_cannot_be_described_is_named(copy_descriptor: Path, tmp_path: Path) -> None:
    save(coarse(0), tmp_path / "anne-g" / "1.png")
    save(coarse(0, 1, 400), tmp_path / "anne-g" / "2.png")
    with pytest.raises(BenchError, match=r"anne-g.2\.png: .* 400×1 pixels are too narrow"):
        Memorization(model=str(copy_descriptor), references=str(tmp_path)).prepare()


def test_a_picture_without_a_finite_descriptor_is_missing_never_erased(tmp_path: Path) -> None:
    model = of_differences(tmp_path / "spots.pt", 0.0)
    shown = [coarse(0, 64, 64), np.zeros((64, 64, 3), np.uint8), coarse(1, 64, 64)]
    save(shown[0], tmp_path / "all" / "anne-g.png")
    evaluator = Memorization(model=str(model), references=str(tmp_path / "all"))

    frame = evaluator.score(images(*shown)).values

    blank = frame[frame.image_index == 1]
    assert blank.value.isna().all() and set(blank.reason) == {"the descriptor is not finite"}
    assert (frame[frame.image_index != 1].status == "ok").all()


def test_a_file_that_gives_no_descriptors_is_refused(tmp_path: Path) -> None:
    torch.jit.trace(torch.nn.Conv2d(3, 2, 3), torch.rand(1, 3, 8, 8)).save(str(tmp_path / "maps.pt"))
    save(coarse(0), tmp_path / "whole" / "anne-g.png")
    with pytest.raises(BenchError, match="not one descriptor each: it is no SSCD"):
        Memorization(model=str(tmp_path / "maps.pt"), references=str(tmp_path / "whole")).prepare()


def test_in_the_models_folder_it_is_found_by_name(
    copy_descriptor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "sscd" / "sscd_disc_mixup.torchscript.pt"
    place.parent.mkdir()
    place.write_bytes(copy_descriptor.read_bytes())
    save(coarse(0), tmp_path / "whole" / "anne-g.png")
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))

    evaluator = Memorization(model="sscd_disc_mixup", references=str(tmp_path / "whole"))

    assert values(evaluator, images(coarse(0)))["memorized"] == [1]
    before = evaluator.protocol()
    save(coarse(5), tmp_path / "whole" / "anne-g.png")
    assert before["references_sha256"] != evaluator.protocol()["references_sha256"]
    assert values(evaluator, images(coarse(0)))["memorized"] == [0]


def test_thresholds_can_be_set(copy_descriptor: Path) -> None:
    evaluator = Memorization(model=str(copy_descriptor), threshold=0.6)
    assert [metric.title for metric in evaluator.metrics[:2]] == [
        "the memorised picture (similarity > 0.6)",
        "the memorised picture (similarity > 0.75)",
    ]
    with pytest.raises(ValueError, match="threshold is a cosine"):
        Memorization(threshold=1.5)


@pytest.fixture(scope="module")
def built_in() -> Memorization:
    """The built-in world's own descriptor."""
    evaluator = Memorization(model="microworld")
    try:
        evaluator.prepare()
    except BenchError as error:
        pytest.skip(str(error))
    return evaluator


def test_the_built_in_descriptor_knows_its_memorised_pictures(built_in: Memorization) -> None:
    from erasure_bench.evaluators.shipped import shipped_folder
    from erasure_bench.models.microworld.drawing import draw
    from erasure_bench.models.microworld.drawing.scenes import Scene
    from erasure_bench.models.microworld.oracle_network import OracleNetwork
    from erasure_bench.prompt_suites.microworld.vocabulary import ABSTRACT, MEMORISED, PLAIN

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    folder = shipped_folder("microworld", "oracle")
    assert folder
    network = OracleNetwork.load(folder)
    for title, other in zip(MEMORISED, MEMORISED[1:], strict=False):
        concept = Concept(name=title, kind="memorised", targets=(title,), anchor="a painting")
        own = np.asarray(draw(Scene(title, "memorised", None, PLAIN, 0)))
        abstract = np.asarray(draw(Scene(ABSTRACT, "abstract", None, PLAIN, 7)))
        shown = [own, abstract, noise]

        found = values(built_in, images(*shown, concept=concept, subject=title))
        kept = values(built_in, images(own, concept=concept, role="neighbour", subject=other))

        assert found["memorized"] == [1, 0, 0] and kept["memorized"] == [0]
        with torch.inference_mode():
            described = network.descriptor(torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2) / 255)
        reference = torch.tensor(network.card["descriptor"]["references"][title])
        expected = (described @ reference).numpy()
        np.testing.assert_allclose(found["memorized_similarity"], expected, atol=1e-5)
    assert {metric.name for metric in built_in.metrics} == {"memorized", "memorized_similarity"}
