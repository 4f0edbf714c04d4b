"""A pack with the inputs and outputs of buffalo_l's files gives what insightface itself gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.evaluators.celebrity import Celebrity
from erasure_bench.evaluators.faces_insightface import InsightfacePack
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt, Role

onnx = pytest.importorskip("onnx")
app = pytest.importorskip("insightface.app")
FLOAT = onnx.TensorProto.FLOAT
STRIDES, ANCHORS = (8, 16, 32), 2
SIDE = 640


def _save(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any], file: Path) -> None:
    helper = onnx.helper
    graph = helper.make_graph(nodes, file.stem, inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)


def _detector(file: Path, sure: str = "Sigmoid") -> None:
    """As det_10g.onnx: nine outputs, scores, boxes and five points at three strides.

    One face in the middle; its score falls from 1 with the darkness of the picture, a black one has none.
    With `sure` a square root that of a dark picture is no number.
    """
    helper, nodes, outputs, constants = onnx.helper, [], [], []
    nodes.append(helper.make_node("ReduceMax", ["input.1"], ["light"], keepdims=0))
    nodes.append(helper.make_node(sure, ["light"], ["sure"]))
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in STRIDES:
            cells = (SIDE // stride) ** 2 * ANCHORS
            values = np.zeros((cells, width), np.float32)
            middle = ANCHORS * (SIDE // stride // 2) * (SIDE // stride + 1)
            if kind == "score" and stride == 32:
                values[middle] = 1.0
            if kind == "bbox":
                values[:] = 4.0
            if kind == "kps":
                values[:] = [-2, -1.5, 2, -1.5, 0, 0, -1.5, 2, 1.5, 2]
            name = f"{kind}_{stride}"
            constants.append(helper.make_tensor(f"{name}_of", FLOAT, values.shape, values.ravel()))
            nodes.append(
                helper.make_node("Mul", [f"{name}_of", "sure"], [name])
                if kind == "score"
                else helper.make_node("Identity", [f"{name}_of"], [name])
            )
            outputs.append(helper.make_tensor_value_info(name, FLOAT, [cells, width]))
    shape = helper.make_tensor_value_info("input.1", FLOAT, [1, 3, "?", "?"])
    _save(nodes, [shape], outputs, constants, file)


def _recogniser(file: Path) -> None:
    """As w600k_r50.onnx: [n, 3, 112, 112] to [n, 512]; here a fixed projection of a 4 × 4 thumbnail."""
    helper = onnx.helper
    values = np.random.default_rng(0).normal(size=(48, 512)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input.1"], ["small"], kernel_shape=[28, 28], strides=[28, 28]),
        helper.make_node("Flatten", ["small"], ["flat"]),
        helper.make_node("MatMul", ["flat", "projection"], ["683"]),
    ]
    _save(
        nodes,
        [helper.make_tensor_value_info("input.1", FLOAT, ["None", 3, 112, 112])],
        [helper.make_tensor_value_info("683", FLOAT, ["None", 512])],
        [helper.make_tensor("projection", FLOAT, values.shape, values.ravel())],
        file,
    )


def _genderage(file: Path) -> None:
    """As genderage.onnx, which is not asked for."""
    helper = onnx.helper
    nodes = [
        helper.make_node("GlobalAveragePool", ["data"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["fc1"]),
    ]
    inputs = [helper.make_tensor_value_info("data", FLOAT, ["None", 3, 96, 96])]
    _save(nodes, inputs, [helper.make_tensor_value_info("fc1", FLOAT, ["None", 3])], [], file)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("insightface") / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    _detector(folder / "det_10g.onnx")
    _recogniser(folder / "w600k_r50.onnx")
    _genderage(folder / "genderage.onnx")
    return folder


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    coarse = [
        random.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(4)
    ]
    return [*coarse, coarse[0][:96], np.zeros((64, 64, 3), np.uint8), coarse[1][:, :80], coarse[2][:7, :9]]


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_equal_to_face_analysis_called_directly(pack: Path, pictures: list[np.ndarray]) -> None:
    analysis = app.FaceAnalysis(
        name="buffalo_l", root=str(pack.parents[1]), providers=["CPUExecutionProvider"]
    )
    analysis.prepare(0, det_thresh=0.5, det_size=(640, 640))
    wanted = [analysis.get(np.ascontiguousarray(picture[..., ::-1])) for picture in pictures]
    reader = InsightfacePack(str(pack), 0.5).load("cpu")
    assert [len(each) for each in wanted] == [1, 1, 1, 1, 1, 0, 1, 1]

    for size in (1, 7, 8):
        batches = [pictures[start : start + size] for start in range(0, len(pictures), size)]
        found = [faces for batch in batches for faces in reader.read(batch)]
        for faces, reference in zip(found, wanted, strict=True):
            assert len(faces) == len(reference)
            for face, its in zip(faces, reference, strict=True):
                np.testing.assert_array_equal(face.features, its.normed_embedding)
                np.testing.assert_array_equal(face.box, [*its.bbox, its.det_score])


ONE = Concept(name="One", kind="identity", targets=("One",), anchor="a person", neighbours=("Two",))


def _picture(role: Role, subject: str, number: int, pixels: np.ndarray) -> Picture:
    return Picture(Prompt(id=f"{role}/{subject}", text=subject, role=role, subject=subject), number, pixels)


def test_a_match_by_cosine(pack: Path, pictures: list[np.ndarray]) -> None:
    random = np.random.default_rng(1)

    def varied(of: int, count: int) -> list[np.ndarray]:
        noisy = [pictures[of] + random.normal(0, 12, pictures[of].shape) for _ in range(count)]
        return [each.clip(0, 255).astype(np.uint8) for each in noisy]

    drawn = [("target", "One", 0), ("neighbour", "Two", 1), ("neighbour", "Three", 2)]
    base = ImageSet(
        ONE,
        tuple(
            _picture(role, subject, number, each)  # type: ignore[arg-type]
            for role, subject, of in drawn
            for number, each in enumerate(varied(of, 5))
        ),
    )
    shown = ImageSet(ONE, tuple(_picture("target", "One", 10 + i, varied(i, 1)[0]) for i in range(3)))

    evaluator = Celebrity(pack=str(pack))
    scores = evaluator.score(shown, base)

    frame = scores.values
    assert evaluator.compares_with == "concept"
    assert list(frame[frame.metric == "face_match"].value) == [1, 0, 0]
    assert (frame[frame.metric == "no_face"].value == 0).all()
    # Nothing was drawn by the base model for these prompts and this noise.
    assert frame[frame.status != "ok"].metric.tolist() == ["face_moved"] * 3
    assert scores.details is not None and (scores.details.equal_error == 0).all()
    assert (scores.details.calibrated_on_others == 10).all()
    assert 0 < scores.details.threshold[0] < 1


def test_a_picture_whose_detection_is_no_number_has_no_score(
    tmp_path: Path, pack: Path, pictures: list[np.ndarray]
) -> None:
    """It is no picture without a face, and no face that does not match."""
    (broken := tmp_path / "broken").mkdir()
    _detector(broken / "det_10g.onnx", sure="Sqrt")
    (broken / "w600k_r50.onnx").write_bytes((pack / "w600k_r50.onnx").read_bytes())
    base = ImageSet(ONE, tuple(_picture("target", "One", number, pictures[0]) for number in range(3)))
    black = np.zeros((64, 64, 3), np.uint8)
    shown = ImageSet(
        ONE, tuple(_picture("target", "One", i, each) for i, each in enumerate([black, pictures[0]]))
    )
    frame = Celebrity(pack=str(broken), least_score=0.1).score(shown, base).values
    of_black = frame[frame["image_index"] == 0]
    assert (of_black["status"] == "missing").all()
    assert of_black["reason"].str.contains("the detector's output is not finite").any()
    assert (frame[(frame["image_index"] == 1) & (frame["metric"] == "no_face")]["value"] == 0).all()


def test_the_protocol_names_every_file_and_the_pinned_size(pack: Path) -> None:
    protocol = Celebrity(pack=str(pack)).protocol()

    assert {*protocol["weights_sha256"]} == {"det_10g.onnx", "genderage.onnx", "w600k_r50.onnx"}
    assert protocol["recogniser"] == "insightface-buffalo_l" and protocol["distance"] == "cosine"
    assert protocol["detection_size"] == [640, 640] and protocol["least_score"] == 0.5


def test_a_missing_or_half_a_pack_says_what_to_do_and_fetches_nothing(
    tmp_path: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("insightface went to the network")

    monkeypatch.setattr("insightface.utils.storage.download_file", refuse)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BenchError, match="non-commercial.*celebrity.pack=FOLDER"):
        Celebrity().prepare()
    half = tmp_path / "half"
    half.mkdir()
    (half / "det_10g.onnx").write_bytes((pack / "det_10g.onnx").read_bytes())
    with pytest.raises(BenchError, match="no network for recognition"):
        Celebrity(pack=str(half)).prepare()
    (half / "w600k_r50.onnx").write_bytes(b"no network at all, but long enough to be taken for one")
    with pytest.raises(BenchError, match="is no pack of insightface"):
        Celebrity(pack=str(half)).prepare()
