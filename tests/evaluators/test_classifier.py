"""Class probabilities equal the closed form for every kind of model; an unknown label is missing, not 0."""

import hashlib
import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.classifier import ClassProbability
from erasure_bench.evaluators.labelled_classifier import LabelPlace, entropy, place_of
from erasure_bench.evaluators.packages import version_of

torch = pytest.importorskip("torch")

MakeImages = Callable[..., ImageSet]
COLOURS = ("red", "green", "blue")


class TwoHeads(torch.nn.Module):  # type: ignore[name-defined]
    """A network as `oracle.json` names it: one head reads the colour, the other the brightness."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.heads = {"colour": COLOURS, "light": ("light", "dark")}

    @classmethod
    def load(cls, folder: Path) -> "TwoHeads":
        return cls(float((folder / "gain.txt").read_text()))

    def forward(self, images: Any) -> dict[str, Any]:
        colour = self.gain * images.mean(dim=(2, 3))
        return {"colour": colour, "light": torch.stack([colour.mean(1), 1 - colour.mean(1)], dim=1)}


@pytest.fixture
def two_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import types

    module = types.ModuleType("network_of_the_test")
    module.TwoHeads = TwoHeads  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "network_of_the_test", module)
    (tmp_path / "gain.txt").write_text("4.0")
    (tmp_path / "oracle.json").write_text(
        json.dumps({"network": "network_of_the_test:TwoHeads", "image_size": 16, "accuracy": {}})
    )
    return tmp_path


def _expected(images: ImageSet, gain: float) -> np.ndarray:
    """softmax(gain · mean colour), in float64."""
    means = np.stack([picture.pixels.reshape(-1, 3).mean(axis=0) / 255 for picture in images.pictures])
    weights = np.exp(gain * means)
    return weights / weights.sum(axis=1, keepdims=True)


def _table(frame: DataFrame) -> DataFrame:
    return frame.pivot(index="image_index", columns="metric", values="value")


def _check_closed_form(evaluator: ClassProbability, images: ImageSet, gain: float, wanted: list[str]) -> None:
    expected = _expected(images, gain)

    scores = _table(evaluator.score(images).values)

    rows, columns = np.arange(len(images)), [COLOURS.index(label) for label in wanted]
    np.testing.assert_allclose(scores.class_probability, expected[rows, columns], atol=1e-6)
    np.testing.assert_array_equal(scores.class_accuracy, (expected.argmax(1) == columns).astype(float))
    np.testing.assert_allclose(scores.entropy, -(expected * np.log(expected)).sum(1), atol=1e-6)


ROLES = (
    ("target", "green"),
    ("anchor", "blue"),
    ("implicit", None),
    ("neighbour", "green"),
    ("retention", "red"),
)
WANTED = ["red", "blue", "red", "green", "red"]


def test_torchscript_gives_the_closed_form(
    colour_classifier: tuple[Path, Path], image_set: MakeImages
) -> None:
    network, labels = map(str, colour_classifier)

    _check_closed_form(ClassProbability(model=network, labels=labels), image_set(*ROLES), 10.0, WANTED)


def test_normalisation_is_applied(colour_classifier: tuple[Path, Path], image_set: MakeImages) -> None:
    network, labels = map(str, colour_classifier)
    evaluator = ClassProbability(model=network, labels=labels, mean=(0.3, 0.3, 0.3), std=(0.5, 0.5, 0.5))

    # A mean equal in all channels drops out of the softmax; the deviation doubles the gain.
    _check_closed_form(evaluator, image_set(*ROLES), 20.0, WANTED)


def test_onnx_gives_the_closed_form(
    tmp_path: Path, colour_classifier: tuple[Path, Path], image_set: MakeImages
) -> None:
    onnx = pytest.importorskip("onnx")
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["means"]),
            helper.make_node("Mul", ["means", "gain"], ["scaled"]),
            helper.make_node("Softmax", ["scaled"], ["probabilities"], axis=1),
        ],
        "colour",
        [helper.make_tensor_value_info("images", floats, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("probabilities", floats, ["n", 3])],
        [helper.make_tensor("gain", floats, [1], [6.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "colour.onnx")
    evaluator = ClassProbability(
        model=str(tmp_path / "colour.onnx"), labels=str(colour_classifier[1]), output="probabilities"
    )

    _check_closed_form(evaluator, image_set(*ROLES), 6.0, WANTED)
    assert evaluator.protocol()["onnxruntime"] == version_of("onnxruntime") != "absent"


@pytest.mark.parametrize(("even", "said"), [(True, "logits"), (False, "probabilities")])
def test_logits_and_probabilities_are_not_taken_for_each_other(
    even: bool, said: Any, tmp_path: Path, colour_classifier: tuple[Path, Path], image_set: MakeImages
) -> None:
    """Of a softmax that is taken twice every label comes to about a third: all seems to be erased."""

    class Colours(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, pictures: Any) -> Any:
            logits = 10.0 * pictures.mean(dim=(2, 3))
            return logits.softmax(1) if even else logits

    file = tmp_path / "colours.pt"
    torch.jit.trace(Colours(), torch.rand(2, 3, 8, 8)).save(str(file))
    wrong = ClassProbability(model=str(file), labels=str(colour_classifier[1]), output=said)

    other = "probabilities" if even else "logits"
    with pytest.raises(BenchError, match=f"output={other}"):
        wrong.score(image_set(*ROLES))
    assert (replace(wrong, output=other).score(image_set(*ROLES)).values.status == "ok").all()  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["red\ngreen\nblue\n", '["red", "green", "blue"]'])
def test_labels_are_read_with_a_byte_order_mark_and_in_utf8_alone(
    text: str, tmp_path: Path, colour_classifier: tuple[Path, Path], image_set: MakeImages
) -> None:
    network, labels = str(colour_classifier[0]), tmp_path / "labels.txt"
    labels.write_text(text, encoding="utf-8-sig")
    _check_closed_form(ClassProbability(model=network, labels=str(labels)), image_set(*ROLES), 10.0, WANTED)

    latin = tmp_path / "latin.txt"
    latin.write_bytes(b"red\nvert d\xe9\nblue\n")
    with pytest.raises(BenchError, match="latin.txt:2: is no UTF-8"):
        ClassProbability(model=network, labels=str(latin)).prepare()


def test_a_folder_names_its_own_network_and_heads(two_heads: Path, image_set: MakeImages) -> None:
    images = image_set(*ROLES, size=(16, 16))
    concept = replace(images.concept, label="colour/red")

    _check_closed_form(
        ClassProbability(model=str(two_heads)), ImageSet(concept, images.pictures), 4.0, WANTED
    )


@pytest.mark.parametrize("package", ["erasure_bench.", ""])
def test_the_built_in_models_kind_of_oracle(package: str, tmp_path: Path, image_set: MakeImages) -> None:
    """A random network of that class, saved as its training saves it, gives its own softmax."""
    from safetensors.torch import save_file

    from erasure_bench.models.microworld.oracle_network import CARD_FILE, WEIGHTS_FILE, OracleNetwork

    torch.manual_seed(3)
    network = OracleNetwork({"colour": COLOURS, "fire": ("no fire", "fire")}, (8, 8, 8, 8), 8).eval()
    save_file(network.state_dict(), tmp_path / WEIGHTS_FILE)
    card = {"network": f"{package}models.microworld.oracle_network:OracleNetwork", "image_size": 64}
    (tmp_path / CARD_FILE).write_text(json.dumps(card | {"architecture": network.settings}))
    images = image_set(*ROLES, size=(64, 64))

    scores = _table(ClassProbability(model=str(tmp_path)).score(images).values)

    pixels = np.stack([picture.pixels for picture in images.pictures]).transpose(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = network(torch.tensor(pixels, dtype=torch.float32))["colour"].softmax(1).numpy()
    code = Path(sys.modules[OracleNetwork.__module__].__file__ or "").read_bytes()
    protocol = ClassProbability(model=str(tmp_path)).protocol()
    assert hashlib.sha256(code).hexdigest() in json.dumps(protocol), "its code decides the scores, too"
    columns = [COLOURS.index(label) for label in WANTED]
    np.testing.assert_allclose(scores.class_probability, expected[np.arange(len(images)), columns], atol=1e-6)


def test_all_code_of_someones_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "networks_for_test.py").write_text("import layers_for_test\nclass Network: ...\n")
    (tmp_path / "layers_for_test.py").write_text("width = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "classifier"
    folder.mkdir()
    (folder / "oracle.json").write_text('{"network": "networks_for_test:Network", "image_size": null}')
    before = ClassProbability(model=str(folder)).protocol()
    (tmp_path / "layers_for_test.py").write_text("width = 2\n")
    after = ClassProbability(model=str(folder)).protocol()
    assert before["network_code"] != after["network_code"]


def test_pictures_of_another_size_are_resized(two_heads: Path, image_set: MakeImages) -> None:
    images = image_set(("target", None), ("target", None))
    flat = tuple(
        picture._replace(pixels=np.full((size, size, 3), (200, 40, 90), np.uint8))
        for picture, size in zip(images.pictures, (16, 50), strict=True)
    )

    scores = _table(ClassProbability(model=str(two_heads)).score(ImageSet(images.concept, flat)).values)

    assert scores.class_probability[0] == pytest.approx(scores.class_probability[1], abs=1e-6)


def test_an_unknown_label_is_missing_with_its_reason(
    colour_classifier: tuple[Path, Path], image_set: MakeImages
) -> None:
    network, labels = map(str, colour_classifier)
    images = image_set(("target", None), ("retention", "purple"), ("retention", None), ("retention", "blue"))

    frame = ClassProbability(model=network, labels=labels).score(images).values
    probability = frame[frame.metric == "class_probability"].sort_values("image_index")

    assert list(probability.status) == ["ok", "missing", "missing", "ok"]
    assert "purple" in probability.reason.iloc[1] and "no label" in probability.reason.iloc[2]
    assert probability.value.isna().tolist() == [False, True, True, False]


def test_predicted_classes_are_kept(colour_classifier: tuple[Path, Path], image_set: MakeImages) -> None:
    network, labels = map(str, colour_classifier)
    images = image_set(*ROLES)

    details = ClassProbability(model=network, labels=labels).score(images).details

    assert details is not None
    best = _expected(images, 10.0)
    assert list(details.predicted) == [COLOURS[i] for i in best.argmax(1)]
    np.testing.assert_allclose(details.predicted_probability, best.max(1), atol=1e-6)


def test_labels_with_heads_and_slashes_find_their_place() -> None:
    heads = {"member": ("grumpy cat", "car"), "object": ("car", "either/or")}

    assert place_of("member/grumpy cat", heads) == LabelPlace("member", 0)
    assert place_of("grumpy cat", heads) == LabelPlace("member", 0)
    assert place_of("either/or", heads) == LabelPlace("object", 1)
    assert place_of("object/car", heads) == LabelPlace("object", 0)
    assert "several heads" in str(place_of("car", heads))
    assert "no label" in str(place_of("object/dog", heads))


def test_entropy_in_nats() -> None:
    assert entropy(np.full(10, 0.1)) == pytest.approx(math.log(10))
    assert entropy(np.array([1.0, 0.0, 0.0])) == 0.0


def test_torchvision_by_name_with_local_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image_set: MakeImages
) -> None:
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    network = models.squeezenet1_1(weights=None).eval()
    with torch.no_grad():
        network.classifier[1].weight.mul_(8)  # an untrained network answers every picture alike
    torch.save(network.state_dict(), tmp_path / "squeezenet.pth")
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    label = weights.meta["categories"][7]
    images = image_set(("target", None), size=(300, 260))
    images = ImageSet(replace(images.concept, label=label), images.pictures)
    evaluator = ClassProbability(
        model="squeezenet1_1/IMAGENET1K_V1", weights=str(tmp_path / "squeezenet.pth")
    )

    scores = _table(evaluator.score(images).values)

    # The published transform, by hand: resize the short side to 256, crop 224, ImageNet's mean and deviation.
    from PIL import Image

    resized = Image.fromarray(images.pictures[0].pixels).resize(
        (256, int(256 * 300 / 260)), Image.Resampling.BILINEAR
    )
    left, top = (resized.width - 224) / 2, round((resized.height - 224) / 2)
    cropped = np.asarray(resized.crop((int(left), top, int(left) + 224, top + 224)), dtype=np.float64) / 255
    normalised = (cropped - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        logits = network(torch.tensor(normalised.transpose(2, 0, 1)[None], dtype=torch.float32))[0].double()
    assert scores.class_probability[0] == pytest.approx(float(logits.softmax(0)[7]), rel=1e-4)
    assert evaluator.protocol()["weights"] == "IMAGENET1K_V1"


@pytest.mark.parametrize("content", [b"no weights", b"", None])
def test_local_weights_of_torchvision_that_are_none_are_named(tmp_path: Path, content: bytes | None) -> None:
    pytest.importorskip("torchvision")
    file = tmp_path / "mine.pth"
    torch.save([torch.zeros(2)], file) if content is None else file.write_bytes(content)

    with pytest.raises(BenchError, match="mine.pth' are no state dict .*--evaluator-option") as refused:
        ClassProbability(model="squeezenet1_1/IMAGENET1K_V1", weights=str(file)).prepare()

    assert "weights_only" not in str(refused.value)


def test_torchvision_weights_that_cannot_be_had_are_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")

    def offline(*_: object, **__: object) -> None:
        raise OSError("offline")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)

    with pytest.raises(BenchError) as refused:
        ClassProbability(model="squeezenet1_1/IMAGENET1K_V1").prepare()

    message = str(refused.value)
    assert all(word in message for word in ("squeezenet1_1-", "Looked in", "weights=PATH", "TORCH_HOME"))
    assert "\n" not in message


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"model": "resnet51/IMAGENET1K_V2"}, "resnet50"),
        ({"model": "resnet50/IMAGENET1K_V9"}, "IMAGENET1K_V2"),
        ({"model": "no such thing"}, "oracle.json"),
        ({"model": "absent.pt", "labels": "absent.txt"}, "not a file"),
    ],
)
def test_a_wrong_model_names_the_right_ones(settings: dict[str, str], word: str) -> None:
    with pytest.raises(BenchError, match=word) as refused:
        ClassProbability(**settings).protocol()  # type: ignore[arg-type]

    assert "--evaluator-option" in str(refused.value)


def test_a_file_needs_labels_that_fit(
    tmp_path: Path, colour_classifier: tuple[Path, Path], image_set: MakeImages
) -> None:
    network = str(colour_classifier[0])
    (tmp_path / "two.json").write_text('["red", "green"]')

    with pytest.raises(BenchError, match="labels=FILE"):
        ClassProbability(model=network).protocol()
    with pytest.raises(BenchError, match="does not fit"):
        ClassProbability(model=network, labels=str(tmp_path / "two.json")).score(image_set(("target", None)))
