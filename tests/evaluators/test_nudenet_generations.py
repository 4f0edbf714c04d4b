"""NudeNet 2, 3.0 and 640m by path: each is driven as its own package does it, under a name of its own.

The networks are built here and see next to nothing; the pictures are a portrait, a cup, a cat, a rocket. What
a picture becomes before the network and its answers after it are held against a plain reading of what the
packages do, one picture at a time, from a file.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from erasure_bench.bench.planning.chosen import choose_evaluator
from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet
from erasure_bench.evaluators.nudenet_detector import LABELS, Detection, NudeNetDetector
from erasure_bench.evaluators.nudenet_networks import NudeNet
from erasure_bench.evaluators.nudenet_v2 import (
    BASE_LABELS,
    PUBLISHED_LABELS,
    NudeNet2Detector,
    labels_of,
    renamed,
)
from erasure_bench.evaluators.nudenet_v30 import NudeNet30Detector
from erasure_bench.evaluators.nudity import EXPOSED, Nudity
from erasure_bench.evaluators.registry import build_evaluator

onnx = pytest.importorskip("onnx")
data = pytest.importorskip("skimage.data")

ANCHORS, PLACES = 40, 12
Pictures = list[np.ndarray]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    astronaut = data.astronaut()
    return [
        astronaut,
        data.coffee(),
        data.chelsea(),
        astronaut[:300, 100:350],
        astronaut[:301, :97],
        astronaut[10:74, 200:264],
        np.roll(astronaut, 40, axis=1),
    ]


def _save(folder: Path, name: str, inputs: Any, outputs: Any, nodes: Any, constants: dict[str, Any]) -> Path:
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = onnx.helper.make_graph(nodes, "made-up", inputs, outputs, tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / name))
    return folder / name


def _value(name: str, kind: int, shape: list[Any]) -> Any:
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def _some_pixels(axes: tuple[int, int]) -> dict[str, Any]:
    """Constants of a Slice: so few that their mean hardly rounds, in places that a wrong resize moves."""
    far = np.iinfo(np.int64).max
    return {
        "first": np.array([17, 31]),
        "last": np.array([far, far]),
        "axes": np.array(axes),
        "steps": np.array([61, 47]),
    }


def _anchors_network(folder: Path, name: str, batch: Any, side: Any) -> Path:
    """[batch, 3, side, side] to [batch, 22, anchors]: boxes and scores move with the mean colour."""
    random = np.random.default_rng(3)
    weight = random.normal(0, 1, (3, 22, ANCHORS)) * 0.3
    bias = random.uniform(0.0, 0.75, (22, ANCHORS)) ** 2
    weight[:, :4] *= 200
    bias[:2], bias[2:4] = random.uniform(20, 300, (2, ANCHORS)), random.uniform(10, 140, (2, ANCHORS))
    node, kind = onnx.helper.make_node, onnx.TensorProto.FLOAT
    nodes = [
        node("Slice", ["images", "first", "last", "axes", "steps"], ["some"]),
        node("ReduceMean", ["some"], ["mean"], axes=[2, 3], keepdims=0),
        node("Gemm", ["mean", "weight", "bias"], ["flat"]),
        node("Reshape", ["flat", "shape"], ["output0"]),
    ]
    constants = {
        "weight": weight.reshape(3, -1).astype(np.float32),
        "bias": bias.reshape(-1).astype(np.float32),
        "shape": np.array([-1, 22, ANCHORS]),
        **_some_pixels(axes=(2, 3)),
    }
    inputs = [_value("images", kind, [batch, 3, side, side])]
    return _save(folder, name, inputs, [_value("output0", kind, [batch, 22, ANCHORS])], nodes, constants)


def _retinanet(
    folder: Path,
    name: str = "detector_v2_default_checkpoint.onnx",
    labels: Sequence[str] = PUBLISHED_LABELS,
) -> Path:
    """[n, height, width, 3] to boxes, scores and classes of NudeNet 2's RetinaNet, by the mean colour."""
    random = np.random.default_rng(4)
    node, proto = onnx.helper.make_node, onnx.TensorProto
    nodes = [
        node("Slice", ["pixels", "first", "last", "axes", "steps"], ["some"]),
        node("ReduceMean", ["some"], ["mean"], axes=[1, 2], keepdims=0),
        node("Gemm", ["mean", "to_boxes", "of_boxes"], ["flat"]),
        node("Reshape", ["flat", "shape"], ["boxes"]),
        node("Gemm", ["mean", "to_scores", "of_scores"], ["raw"]),
        node("Sigmoid", ["raw"], ["scores"]),
        node("Mul", ["raw", "nothing"], ["zeros"]),
        node("Add", ["zeros", "of_classes"], ["places"]),
        node("Cast", ["places"], ["classes"], to=proto.INT32),
    ]
    constants = {
        "to_boxes": random.normal(0, 1, (3, PLACES * 4)).astype(np.float32),
        "of_boxes": random.uniform(100, 700, PLACES * 4).astype(np.float32),
        "shape": np.array([-1, PLACES, 4]),
        **_some_pixels(axes=(1, 2)),
        "to_scores": random.normal(0, 0.02, (3, PLACES)).astype(np.float32),
        "of_scores": random.normal(0, 1.5, PLACES).astype(np.float32),
        "nothing": np.float32(0),
        "of_classes": np.resize(random.permutation(len(labels)), PLACES).astype(np.float32),
    }
    outputs = [
        _value("classes", proto.INT32, ["n", PLACES]),
        _value("boxes", proto.FLOAT, ["n", PLACES, 4]),
        _value("scores", proto.FLOAT, ["n", PLACES]),
    ]
    return _save(folder, name, [_value("pixels", proto.FLOAT, ["n", "h", "w", 3])], outputs, nodes, constants)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "nudenet"
    folder.mkdir()
    _anchors_network(folder, "best.onnx", 1, 320)
    _anchors_network(folder, "640m.onnx", "n", 640)
    _retinanet(folder)
    return folder


def _detector(name: Any, file: Path) -> Any:
    return NudeNet(name=name, weights=str(file), resolution=320).load("cpu")


def _session(file: Path) -> Any:
    return pytest.importorskip("onnxruntime").InferenceSession(str(file))


def _read_30(file: Path, network: Any) -> list[Detection]:
    """As nudenet 3.0.8 reads a file: BGR, turned, fitted into 320, black around, boxes scaled back."""
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    tall, wide = image.shape[:2]
    fitted = (320, round(320 / (wide / tall))) if tall <= wide else (round(320 * (wide / tall)), 320)
    back = math.hypot(wide, tall) / math.hypot(*fitted)
    black = [(320 - fitted[1]) // 2] * 2 + [(320 - fitted[0]) // 2] * 2
    framed = cv2.copyMakeBorder(cv2.resize(image, fitted), *black, cv2.BORDER_CONSTANT, value=[0, 0, 0])
    ready = np.moveaxis(cv2.resize(framed, (320, 320)).astype("float32") / 255, 2, 0)[None]
    boxes, scores, names = [], [], []
    for column in np.squeeze(network.run(None, {"images": ready})[0]).T:
        if (score := max(column[4:])) >= 0.2:
            x, y, w, h = (float(number) for number in column[:4])
            corner = (x - w / 2 - black[2], y - h / 2 - black[0], w, h)
            boxes.append([round(number * back) for number in corner])
            scores.append(float(score))
            names.append(LABELS[int(np.argmax(column[4:]))])
    kept = cv2.dnn.NMSBoxes(boxes, scores, 0.25, 0.45)
    return [Detection(names[place], scores[place], *boxes[place]) for place in kept]


def _read_2(file: Path, network: Any) -> list[Detection]:
    """As NudeNet 2.0.9 reads a file: BGR minus the means, 800 by at most 1333, boxes divided by the scale."""
    image = np.asarray(Image.open(file).convert("RGB"))[..., ::-1].astype("float32")
    image = (image - np.array([103.939, 116.779, 123.68])).astype("float32")
    short, long = sorted(image.shape[:2])
    scale = 1333 / long if long * 800 / short > 1333 else 800 / short
    image = cv2.resize(image, None, fx=scale, fy=scale)
    classes, boxes, scores = network.run(["classes", "boxes", "scores"], {"pixels": image[None]})
    found = []
    for box, score, place in zip(boxes[0] / scale, scores[0], classes[0], strict=True):
        if score >= 0.25:
            left, top, right, bottom = box.astype(int).tolist()
            label = renamed(PUBLISHED_LABELS[place])
            found.append(Detection(label, float(score), left, top, right - left, bottom - top))
    return sorted(found, key=lambda detection: -detection.score)


def _same(one: list[Detection], other: list[Detection], pixels: int) -> None:
    assert [each.label for each in one] == [each.label for each in other]
    assert [each.score for each in one] == pytest.approx([each.score for each in other], abs=1e-5)
    if one:
        # Sums over pictures round as batches go, and boxes are cut to whole pixels afterwards.
        np.testing.assert_allclose([each[2:] for each in one], [each[2:] for each in other], atol=pixels)


@pytest.mark.parametrize(
    ("name", "file", "read"),
    [("v3.0", "best.onnx", _read_30), ("v2", "detector_v2_default_checkpoint.onnx", _read_2)],
)
def test_equal_to_the_package_picture_by_picture(
    name: str,
    file: str,
    read: Callable[[Path, Any], list[Detection]],
    folder: Path,
    pictures: Pictures,
    tmp_path: Path,
) -> None:
    expected = []
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
        expected.append(read(tmp_path / f"{number}.png", _session(folder / file)))
    detector = _detector(name, folder / file)

    for batch in (1, len(pictures)):
        ours = [
            found
            for start in range(0, len(pictures), batch)
            for found in detector.detect(pictures[start : start + batch])
        ]
        for one, other in zip(ours, expected, strict=True):
            _same(one, other, pixels=0 if batch == 1 else 1)
    assert sum(map(len, expected)) > len(pictures)
    assert len({tuple(found) for found in map(tuple, expected)}) > 1


def test_640m_is_the_librarys_own_with_another_network(folder: Path, pictures: Pictures) -> None:
    library = pytest.importorskip("nudenet.nudenet")
    reference = library.NudeDetector(str(folder / "640m.onnx"), inference_resolution=640)

    ours = _detector("640m", folder / "640m.onnx").detect(pictures)

    for one, picture in zip(ours, pictures, strict=True):
        answers = reference.detect(picture)
        assert [(each.label, each[2:]) for each in one] == [
            (each["class"], tuple(each["box"])) for each in answers
        ]
        assert [each.score for each in one] == pytest.approx([each["score"] for each in answers], abs=1e-5)
    assert any(ours)


@pytest.mark.parametrize("name", ["v3.0", "v2", "640m"])
def test_colours_are_not_swapped(name: Any, folder: Path) -> None:
    red, blue = (np.full((64, 64, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    file = NudeNet(name=name, weights=None, resolution=320)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_MODELS", str(folder.parent))
        detector = file.load("cpu")

    (alone,), (together, other) = detector.detect([red]), detector.detect([red, blue])
    _same(alone, together, pixels=1)
    assert [each[:2] for each in alone] != [each[:2] for each in other]


@pytest.mark.parametrize(
    ("preset", "detector"),
    [
        ("official", "nudenet-3.4.2-320n"),
        ("640m", "nudenet-3.4-640m"),
        ("v3.0", "nudenet-3.0-best"),
        ("v2", "nudenet-2-detector_v2_default_checkpoint"),
    ],
)
def test_each_is_a_protocol_of_its_own(
    preset: str, detector: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(folder.parent))

    chosen = choose_evaluator(f"nudity@{preset}", None, {}, {})

    assert chosen.name == f"nudity@{preset}" and chosen.protocol["detector"] == detector
    assert len(chosen.protocol["weights_sha256"]) == 64 and chosen.protocol["input"]
    assert str(folder) not in str(chosen.protocol)


@pytest.mark.parametrize(
    ("preset", "file"), [("640m", "640m.onnx"), ("v3.0", "nudenet==3.0.8"), ("v2", "notAI-tech/NudeNet")]
)
def test_what_is_missing_is_named_with_the_way_to_get_it(
    preset: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_MODELS", raising=False)

    with pytest.raises(BenchError, match=file) as refused:
        build_evaluator(f"nudity@{preset}").protocol()

    assert "weights=FILE" in str(refused.value) and "\n" not in str(refused.value)


def test_a_network_of_another_generation_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no NudeNet 2|no NudeNet v2"):
        Nudity(detector="v2", weights=str(folder / "best.onnx")).prepare()
    with pytest.raises(BenchError, match="no NudeNet 3.0"):
        Nudity(detector="v3.0", weights=str(folder / "detector_v2_default_checkpoint.onnx")).prepare()
    with pytest.raises(BenchError, match="resolution has no effect with detector=v3.0"):
        build_evaluator("nudity@v3.0", options={"resolution": "640"})


def test_labels_of_nudenet_2_are_those_of_3() -> None:
    assert [
        renamed(label) for label in ("EXPOSED_BREAST_F", "COVERED_GENITALIA_F", "FACE_M", "EXPOSED_ANUS")
    ] == [
        "FEMALE_BREAST_EXPOSED",
        "FEMALE_GENITALIA_COVERED",
        "FACE_MALE",
        "ANUS_EXPOSED",
    ]
    assert set(EXPOSED) < set(map(renamed, PUBLISHED_LABELS)) < set(LABELS)
    with pytest.raises(BenchError, match="no class"):
        renamed("EXPOSED_ELBOW")


def test_a_classes_file_beside_the_network_says_what_the_classes_are(
    tmp_path: Path, pictures: Pictures
) -> None:
    published, turned = tmp_path / "one", tmp_path / "two"
    for place in (published, turned):
        place.mkdir()
        _retinanet(place)
    (turned / "detector_v2_default_classes").write_text("\n".join(PUBLISHED_LABELS[::-1]) + "\n")

    (one,), (other,) = (
        _detector("v2", place / "detector_v2_default_checkpoint.onnx").detect(pictures[:1])
        for place in (published, turned)
    )

    places = [[renamed(label) for label in PUBLISHED_LABELS].index(each.label) for each in one]
    assert [each.label for each in other] == [renamed(PUBLISHED_LABELS[::-1][place]) for place in places]


def test_the_base_network_of_nudenet_2_has_classes_of_its_own(
    tmp_path: Path, pictures: Pictures, image_set: Callable[..., ImageSet]
) -> None:
    """I2P's authors count with it: by the default network's classes a breast would be a covered belly."""
    base = _retinanet(tmp_path, "detector_v2_base_checkpoint.onnx", BASE_LABELS)
    default = _retinanet(tmp_path)

    found = [each.label for each in _detector("v2", base).detect(pictures[:1])[0]]
    scores = Nudity(detector="v2", weights=str(base)).score(image_set(("target", None))).values

    assert found and {*found} <= {*map(renamed, BASE_LABELS)}
    by_metric = scores.set_index("metric")
    assert by_metric.status["nudity_feet_detections"] == by_metric.status["nudity_feet_images"] == "missing"
    assert by_metric.reason["nudity_anus_images"] == "the detector has no label for it"
    assert by_metric.status["nudity_belly_detections"] == by_metric.status["nudity_detections"] == "ok"
    (tmp_path / "classes").write_text("\n".join(BASE_LABELS))
    assert labels_of(base) == tuple(map(renamed, BASE_LABELS))
    with pytest.raises(BenchError, match="of NudeNet 2's base network.*is the default one"):
        labels_of(default)
    (tmp_path / "detector_v2_default_classes").write_text("\n".join(PUBLISHED_LABELS))
    assert labels_of(default) == tuple(map(renamed, PUBLISHED_LABELS))


def test_scores_of_another_generation_go_into_the_same_metrics(
    folder: Path, image_set: Callable[..., ImageSet]
) -> None:
    images = image_set(*[("target", None)] * 3)
    evaluator = Nudity(detector="v3.0", weights=str(folder / "best.onnx"), batch_size=2)

    scores = evaluator.score(images)

    assert set(scores.values.metric) == {metric.name for metric in Nudity().metrics}
    assert (scores.values.status == "ok").all() and scores.details is not None


class _Broken:
    """A session whose scores are not finite on pictures that are not of one colour."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], even: float = 0.5) -> None:
        self.shapes, self.even = shapes, even

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="images", shape=["batch", 3, 320, 320])]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        bad = np.array([np.nan if np.ptp(one) > self.even else 0.0 for one in feed["images"]], np.float32)
        found = []
        for kind, shape in self.shapes.items():
            given = np.zeros((len(bad), *shape), np.int32 if kind == "classes" else np.float32)
            found.append(given if kind == "classes" else given + bad.reshape(-1, *[1] * len(shape)))
        return found


ANCHORED = {"output": (22, ANCHORS)}
LISTED = {"boxes": (PLACES, 4), "scores": (PLACES,), "classes": (PLACES,)}


@pytest.mark.parametrize(
    "detector",
    [
        NudeNetDetector(_Broken(ANCHORED), 320),
        NudeNet30Detector(_Broken(ANCHORED), 320),
        NudeNet2Detector(_Broken(LISTED, even=50), tuple(map(renamed, PUBLISHED_LABELS))),
    ],
    ids=["3.4", "3.0", "2"],
)
def test_scores_that_are_not_finite_are_missing_and_never_safe(
    detector: Any, monkeypatch: pytest.MonkeyPatch, image_set: Callable[..., ImageSet]
) -> None:
    monkeypatch.setattr(NudeNet, "load", lambda self, device: detector)
    black = np.zeros((32, 32, 3), np.uint8)
    half = np.repeat(np.array([0, 255], np.uint8), 16)[:, None, None] * np.ones((1, 32, 3), np.uint8)

    pictures = image_set(*[("target", "red")] * 3)
    shown = [
        each._replace(pixels=own) for each, own in zip(pictures.pictures, (black, half, black), strict=True)
    ]
    found = Nudity().score(ImageSet(pictures.concept, tuple(shown))).values

    flagged = found[found.metric == "nudity_flagged"]
    assert list(flagged.status) == ["ok", "missing", "ok"]
    assert "not finite" in flagged.reason.iloc[1]
