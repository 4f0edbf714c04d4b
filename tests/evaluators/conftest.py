"""Pictures and tiny models in the formats that users bring."""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from erasure_bench.evaluators.base import ImageSet, Picture
from erasure_bench.prompt_suites.concepts import Concept
from erasure_bench.prompt_suites.suite import Prompt

CONCEPT = Concept(
    name="red things",
    kind="object",
    targets=("red ball",),
    anchor="blue ball",
    label="red",
    neighbours=("green",),
    anchor_label="blue",
)

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 16,
        "vocab_size": 300,
        "width": 32,
        "heads": 2,
        "layers": 1,
        "hf_tokenizer_name": "in this folder",
    },
}
CLIP_MEAN, CLIP_STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture
def concept() -> Concept:
    return CONCEPT


@pytest.fixture(scope="session")
def odd() -> list[Any]:
    """Odd picture files of every kind (`odd_pictures.py`)."""
    found: list[Any] = _beside("odd_pictures").odd_pictures()
    return found


@pytest.fixture(scope="session")
def lpips_files() -> Any:
    """The module `lpips_files.py`: weights of LPIPS at random, in every format that they come in."""
    return _beside("lpips_files")


@pytest.fixture(scope="session")
def lpips_weights(lpips_files: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A `file` with both backbones, and the tensors of each, `alex` and `vgg`."""
    from erasure_bench.evaluators.lpips_weights import write_weights

    tensors = {network: lpips_files.random_weights(network) for network in ("alex", "vgg")}
    file = tmp_path_factory.mktemp("lpips") / "lpips.safetensors"
    write_weights(file, tensors, {})
    return {"file": file, **tensors}


def _beside(name: str) -> Any:
    """A module that lies beside this file: tests are no package."""
    spec = importlib.util.spec_from_file_location(
        f"evaluators_tests_{name}", Path(__file__).with_name(f"{name}.py")
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def image_set() -> Callable[..., ImageSet]:
    """Random pictures, one for each (role, label) pair; sizes as given."""

    def build(
        *prompts: tuple[str, str | None], size: tuple[int, int] = (32, 32), concept: Concept = CONCEPT
    ) -> ImageSet:
        random = np.random.default_rng(5)
        pictures = [
            Picture(
                Prompt(id=f"p{i}", text=f"a {label}", role=role, subject=f"{label} ball", label=label),  # type: ignore[arg-type]
                i,
                random.integers(0, 256, (*size, 3), dtype=np.uint8),
            )
            for i, (role, label) in enumerate(prompts)
        ]
        return ImageSet(concept, tuple(pictures))

    return build


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIP model in open_clip's folder format, with its own tokenizer."""
    open_clip = pytest.importorskip("open_clip")
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<start>", "<end>"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(["a photo depicts a red blue green ball style"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<start>", eos_token="<end>"
    ).save_pretrained(folder)

    torch.manual_seed(0)
    network = open_clip.CLIP(**TINY_CLIP)
    with torch.no_grad():
        network.text_projection.normal_()
        network.visual.proj.normal_()
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    preprocess = {"mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": preprocess}), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="session")
def whole_picture_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX file: one box, the whole picture, whose score is the picture's mean in [0, 1]."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Shape", ["image"], ["shape"]),
            helper.make_node("Gather", ["shape", "across_and_down"], ["size"]),
            helper.make_node("Cast", ["size"], ["corner"], to=kinds.FLOAT),
            helper.make_node("Concat", ["origin", "corner"], ["edges"], axis=0),
            helper.make_node("Unsqueeze", ["edges", "first"], ["boxes"]),
            helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
            helper.make_node("Div", ["mean", "white"], ["share"]),
            helper.make_node("Unsqueeze", ["share", "first"], ["scores"]),
        ],
        "whole picture",
        [helper.make_tensor_value_info("image", kinds.FLOAT, [1, 3, "height", "width"])],
        [
            helper.make_tensor_value_info("boxes", kinds.FLOAT, ["faces", 4]),
            helper.make_tensor_value_info("scores", kinds.FLOAT, ["faces"]),
        ],
        [
            helper.make_tensor("across_and_down", kinds.INT64, [2], [3, 2]),
            helper.make_tensor("origin", kinds.FLOAT, [2], [0.0, 0.0]),
            helper.make_tensor("first", kinds.INT64, [1], [0]),
            helper.make_tensor("white", kinds.FLOAT, [], [255.0]),
        ],
    )
    file = tmp_path_factory.mktemp("detector") / "faces.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    return file


@pytest.fixture(scope="session")
def tiny_judges() -> ModuleType:
    """The module that saves tiny vision-language models."""
    pytest.importorskip("transformers")
    file = Path(__file__).with_name("tiny_judge.py")
    spec = importlib.util.spec_from_file_location("evaluator_tests_tiny_judge", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_judge(tiny_judges: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA that says yes or no to every picture."""
    folder: Path = tiny_judges.save_tiny_llava(tmp_path_factory.mktemp("judge"), doubts=False)
    return folder


@pytest.fixture(scope="session")
def colour_classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """TorchScript file and labels: the logits are ten times the mean of each colour channel in [0, 1]."""
    torch = pytest.importorskip("torch")

    class MeanColour(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, images: Any) -> Any:
            return 10.0 * images.mean(dim=(2, 3))

    folder = tmp_path_factory.mktemp("classifier")
    torch.jit.trace(MeanColour(), torch.rand(2, 3, 8, 8)).save(str(folder / "colour.pt"))
    (folder / "labels.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    return folder / "colour.pt", folder / "labels.txt"


@pytest.fixture(scope="session")
def copy_descriptor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TorchScript file with SSCD's input and output: 512 numbers at length 1, alike for copies.

    What a picture of 8×8 pixels is beside its mean colour, turned at random into 512 dimensions.
    """
    torch = pytest.importorskip("torch")
    turned = torch.linalg.qr(torch.randn(512, 192, generator=torch.Generator().manual_seed(0)))[0]

    class Coarse(torch.nn.Module):  # type: ignore[name-defined]
        def forward(self, images: Any) -> Any:
            small = torch.nn.functional.adaptive_avg_pool2d(images, 8)
            beside = (small - small.mean(dim=(2, 3), keepdim=True)).flatten(1)
            return torch.nn.functional.normalize(beside @ turned.T, dim=1)

    file = tmp_path_factory.mktemp("sscd") / "sscd_imagenet_mixup.torchscript.pt"
    torch.jit.trace(Coarse(), torch.rand(2, 3, 64, 64)).save(str(file))
    return file


@pytest.fixture(scope="session")
def memorized_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture of the concept and of every subject of `image_set`."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("memorised")
    random = np.random.default_rng(0)
    for name in ("red_things", "Red Ball", "green-ball", "blue ball"):
        small = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(small).resize((80, 64)).save(folder / f"{name}.png")
    return folder
