"""Evaluation classifiers: right on real pictures, unsure of nothing, resumed bit by bit, read as saved."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from erasure_bench.errors import NotHere
from erasure_bench.evaluators.base import ImageSet, Picture, Pixels
from erasure_bench.evaluators.classifier import ClassProbability
from erasure_bench.evaluators.fidelity import Fidelity
from erasure_bench.evaluators.sets import FeatureSet, features_of
from erasure_bench.models.classifiers import places
from erasure_bench.models.classifiers.folder import save_classifier
from erasure_bench.models.classifiers.names import CLASSIFIERS
from erasure_bench.models.classifiers.nothing import TRAINED, UNSEEN, mixed
from erasure_bench.models.classifiers.places import classifier_folder
from erasure_bench.models.classifiers.recipes import RECIPES
from erasure_bench.models.classifiers.residual import ResidualClassifier
from erasure_bench.models.classifiers.small import SmallClassifier
from erasure_bench.models.classifiers.train import classifier_ready, why_no_classifier
from erasure_bench.models.classifiers.training import moved, train_classifier
from erasure_bench.models.datasets.base import Labelled, LabelledParts
from erasure_bench.models.datasets.registry import dataset_card, load_dataset
from erasure_bench.models.microworld.settings import Schedule
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

SHIPPED = ("digits", "digits-plain")
TOY = replace(RECIPES["digits"], schedule=Schedule(steps=12, batch=32, lr=1e-3, warmup=2))


@pytest.fixture(scope="module")
def digits() -> LabelledParts:
    return load_dataset("digits")


def scored(model: str, pixels: Pixels, labels: list[int]) -> dict[str, float]:
    """Mean of every metric where pictures [n, 8, 8, 3] were asked for by their labels, as kept classes."""
    pictures = tuple(
        Picture(
            Prompt(id=str(place), text=str(label), role="retention", subject="", label=str(label)), 0, each
        )
        for place, (each, label) in enumerate(zip(pixels, labels, strict=True))
    )
    concept = Concept(name="0", kind="object", targets=("0",), anchor="1", label="0")
    values = ClassProbability(model=model, report="sa").score(ImageSet(concept, pictures)).values
    return {str(name): float(rows["value"].mean()) for name, rows in values.groupby("metric")}


@pytest.mark.parametrize("model", SHIPPED)
def test_a_shipped_classifier_knows_real_digits_that_it_never_saw(model: str, digits: LabelledParts) -> None:
    found = scored(model, digits.held_out.rgb(), digits.held_out.labels.tolist())
    assert found["class_accuracy"] > 0.97 and found["class_probability"] > 0.95
    assert found["entropy"] < 0.1


def test_it_is_unsure_of_noise_and_of_blank_pictures_to_the_very_maximum() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (200, 8, 8, 1), dtype=np.uint8).repeat(3, axis=3)
    blank = np.arange(0, 250, 5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    for pixels in (noise, blank):
        found = scored("digits", pixels, [0] * len(pixels))
        assert found["entropy"] > 0.97 * math.log(10)
        assert found["class_probability"] == pytest.approx(0.1, abs=0.03)
    plain = scored("digits-plain", blank, [0] * len(blank))
    assert plain["entropy"] < 2.0, "without outlier exposure even greys look like digits"


def test_the_entropys_maximum_is_shown() -> None:
    (entropy,) = (each for each in ClassProbability(model="digits").metrics if each.name == "entropy")
    assert entropy.bounds == (0.0, math.log(10)) and "ln 10 = 2.303" in entropy.title


def test_the_features_tell_real_digits_from_noise_blanks_and_copies(digits: LabelledParts) -> None:
    evaluator = Fidelity(network="digits", reference="data:digits")

    def features(pixels: Pixels) -> FeatureSet:
        rows = np.stack([row for row in features_of(evaluator, list(pixels)) if isinstance(row, np.ndarray)])
        return FeatureSet(rows, np.arange(len(rows)))

    real, reference = digits.held_out.rgb()[:150], features(digits.train.rgb()[::2])
    rng = np.random.default_rng(1)
    sets = {
        "real": real,
        "noise": rng.integers(0, 256, real.shape, dtype=np.uint8),
        "blank": np.full_like(real, 128),
        "one copied picture": np.repeat(real[:1], len(real), axis=0),
    }
    found = {name: evaluator.statistics(features(pixels), reference) for name, pixels in sets.items()}
    assert found["real"]["precision"] > 0.8 and found["real"]["recall"] > 0.7
    for name in ("noise", "blank", "one copied picture"):
        assert found[name]["fid"] > 20 * found["real"]["fid"], name
        assert found[name]["recall"] < 0.1, name
    assert found["noise"]["precision"] < 0.1 and found["blank"]["precision"] < 0.1


@pytest.mark.parametrize("kind", [*TRAINED, *UNSEEN])
def test_nothing_is_of_the_pictures_shape_and_range_and_follows_from_the_seed(
    kind: str, digits: LabelledParts
) -> None:
    pictures = torch.from_numpy(digits.train.pixels[:16]).float() / 255
    family = (dict(TRAINED) | dict(UNSEEN))[kind]
    one, again = (family(pictures, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.shape == pictures.shape and one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, again) and not torch.equal(one, pictures)
    assert len(mixed(pictures[:7], torch.Generator().manual_seed(0))) == 7


def test_a_training_that_stopped_goes_on_to_the_same_weights(tmp_path: Path, digits: LabelledParts) -> None:
    card = dataset_card("digits")

    def train(name: str, stop_after: int | None = None) -> bool:
        return train_classifier(
            TOY, card, digits, tmp_path / name, tmp_path / f"{name}.work", stop_after=stop_after
        )

    assert train("whole")
    assert not train("stopped", stop_after=5) and not (tmp_path / "stopped").exists()
    assert train("stopped")
    whole, stopped = (SmallClassifier.load(tmp_path / name).state_dict() for name in ("whole", "stopped"))
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert (tmp_path / "whole/oracle.json").read_text() == (tmp_path / "stopped/oracle.json").read_text()


def test_moving_without_a_shift_or_turn_leaves_pictures_alone(digits: LabelledParts) -> None:
    pictures = torch.from_numpy(digits.train.pixels[:8]).float() / 255
    still = replace(TOY, shift=0.0, turn=0.0)
    assert moved(pictures, still, torch.Generator()) is pictures
    mirrored = moved(pictures, replace(still, mirror=True), torch.Generator().manual_seed(0))
    flipped = [
        torch.allclose(one, other.flip(-1), atol=1e-5) for one, other in zip(mirrored, pictures, strict=True)
    ]
    same = [torch.allclose(one, other, atol=1e-5) for one, other in zip(mirrored, pictures, strict=True)]
    assert all(one != other for one, other in zip(flipped, same, strict=True)) and any(flipped) and any(same)


def test_a_residual_classifier_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = ResidualClassifier(labels=("a", "b", "c"), network="resnet18", resolution=48).eval()
    network.temperature = 2.5
    save_classifier(tmp_path, network, {"image_size": 32})
    again = ResidualClassifier.load(tmp_path)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(again(images)["class"], network(images)["class"])
        assert again.features(images).shape == (2, 512)
        direct = again.classify(again.features(images))
    assert torch.allclose(again(images)["class"], direct / 2.5)
    assert ClassProbability(model=str(tmp_path)).protocol()["weights_sha256"]


def test_weights_to_begin_with_that_are_not_here_are_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    with pytest.raises(NotHere, match="resnet34-.*offline.*TORCH_HOME"):
        ResidualClassifier(labels=("a", "b"), start="IMAGENET1K_V1")
    assert "TORCH_HOME" in why_no_classifier("cifar10"), "before the base has been trained for days"
    assert why_no_classifier("digits") == why_no_classifier("mnist") == ""


def test_a_classifier_is_trained_once_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    monkeypatch.setitem(RECIPES, "toy", TOY)
    monkeypatch.setattr(places, "CLASSIFIERS", ("toy",))
    folder = classifier_ready("toy")
    assert folder == tmp_path / "classifiers" / "toy"
    written = (folder / "oracle.json").stat().st_mtime_ns
    assert classifier_ready("toy") == folder and (folder / "oracle.json").stat().st_mtime_ns == written
    assert classifier_ready("microworld") is None


def test_what_is_still_to_be_trained_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path / "models"))
    with pytest.raises(NotHere, match="classifiers.train cifar10"):
        classifier_folder("cifar10")
    with pytest.raises(NotHere, match=r"classifiers\.train mnist-plain`$"):  # no base has it for its judge
        classifier_folder("mnist-plain")
    assert classifier_folder("microworld") is None
    network = SmallClassifier(labels=tuple("abc"), channels=1, side=28)
    save_classifier(tmp_path / "models" / "classifiers" / "fashion-mnist", network, {"image_size": 28})
    assert classifier_folder("fashion-mnist") == tmp_path / "models" / "classifiers" / "fashion-mnist"


def test_every_name_has_a_recipe() -> None:
    assert tuple(RECIPES) == CLASSIFIERS


def test_the_papers_sizes_are_the_papers_network() -> None:
    """320 inputs of the first linear layer, as the official code has them."""
    network = SmallClassifier(labels=tuple("0123456789"), channels=1, side=28)
    assert (network.describe.in_features, network.describe.out_features) == (320, 50)
    assert Labelled(np.zeros((1, 1, 28, 28), np.uint8), np.zeros(1, np.int64)).rgb().shape == (1, 28, 28, 3)
