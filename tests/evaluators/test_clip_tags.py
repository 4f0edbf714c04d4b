"""Tagged CLIP models of their real shapes, in the files that they are published in, equal open_clip's own."""

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from erasure_bench.errors import BenchError
from erasure_bench.evaluators.clip_model import ClipModel, _as_trained, load_clip
from erasure_bench.evaluators.clip_source import ClipSource, clip_source

open_clip = pytest.importorskip("open_clip")
torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

TEXTS = ["A photo depicts grumpy cat", "A photo depicts cat", "A photo depicts van gogh style"]
OPENAI = "timm/vit_base_patch32_clip_224.openai"
HALF = "open_clip_model.safetensors"


@pytest.fixture(scope="module")
def pictures() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(3)
    return [random.integers(0, 256, size, dtype=np.uint8) for size in ((40, 60, 3), (96, 64, 3))]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A $BENCH_MODELS with random weights of ViT-B-32 in it, 300 MB, removed in the end."""
    root = tmp_path_factory.mktemp("models")
    (root / OPENAI).mkdir(parents=True)
    _random_weights("ViT-B-32", root / OPENAI / HALF)
    yield root
    load_clip.cache_clear()
    shutil.rmtree(root)


def _random_weights(architecture: str, file: Path) -> None:
    """In fp16, as OpenAI's are. Larger than at the start of training, so that activations are curved."""
    torch.manual_seed(0)
    state = open_clip.create_model(architecture).state_dict()
    for name, tensor in state.items():
        if name.endswith(("c_fc.weight", "fc1.weight")):
            tensor.mul_(4)
    safetensors_torch.save_file({name: tensor.half().contiguous() for name, tensor in state.items()}, file)


def _as_torchscript(weights: Path, file: Path) -> None:
    """The archive that OpenAI publishes: the weights as a module's, and three numbers beside them."""

    class Node(torch.nn.Module):  # type: ignore[name-defined,misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
            return x

    root = Node()
    tensors = safetensors_torch.load_file(weights) | {
        "input_resolution": torch.tensor(224),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        node = root
        for part in path:
            if part not in dict(node.named_children()):
                node.add_module(part, Node())
            node = getattr(node, part)
        node.register_buffer(leaf, tensor)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(root).save(str(file))


def _own(pictures: list[NDArray[np.uint8]], *arguments: str, **options: Any) -> tuple[Any, Any]:
    """Unit embeddings of the pictures and of `TEXTS` by open_clip alone."""
    from PIL import Image

    network, _, preprocess = open_clip.create_model_and_transforms(*arguments, **options)
    network.eval()
    batch = torch.stack([preprocess(Image.fromarray(picture)) for picture in pictures])
    with torch.no_grad():
        seen = network.encode_image(batch, normalize=True)
        read = network.encode_text(open_clip.get_tokenizer(arguments[0])(TEXTS), normalize=True)
    return seen, read


def _ours(clip: ClipModel, pictures: list[NDArray[np.uint8]]) -> tuple[Any, Any]:
    return clip.encode_images(pictures), clip.encode_texts(TEXTS)


def test_the_default_backbone_equals_open_clips_own(
    models: Path, pictures: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(models))
    file = str(models / OPENAI / HALF)

    ours = _ours(load_clip(clip_source("ViT-B-32/openai")), pictures)

    quick = _own(pictures, "ViT-B-32", file, force_quick_gelu=True)
    by_architecture = _own(pictures, "ViT-B-32-quickgelu", file)
    gelu = _own(pictures, "ViT-B-32", file)
    for mine, one, other, wrong in zip(ours, quick, by_architecture, gelu, strict=True):
        torch.testing.assert_close(mine, one, rtol=0, atol=1e-6)
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-6)
        assert (mine - wrong).abs().max() > 1e-3


def test_weights_in_the_hubs_cache_equal_what_open_clip_finds_there_by_the_tag(
    models: Path, tmp_path: Path, pictures: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_MODELS", raising=False)
    repository, revision = f"models--{OPENAI.replace('/', '--')}", "0" * 40
    snapshot = tmp_path / repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / HALF).symlink_to(models / OPENAI / HALF)
    (tmp_path / repository / "refs").mkdir()
    (tmp_path / repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    load_clip.cache_clear()

    ours = _ours(load_clip(clip_source("ViT-B-32/openai")), pictures)

    tagged = _own(pictures, "ViT-B-32", "openai", cache_dir=str(tmp_path), force_quick_gelu=True)
    for mine, theirs in zip(ours, tagged, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("format", ["torchscript", pytest.param("state dict", marks=pytest.mark.slow)])
def test_openais_own_formats_by_path_give_the_same(
    format: str, models: Path, tmp_path: Path, pictures: list[NDArray[np.uint8]]
) -> None:
    weights, file = models / OPENAI / HALF, tmp_path / "ViT-B-32.pt"
    if format == "torchscript":
        _as_torchscript(weights, file)
    else:
        torch.save({"state_dict": safetensors_torch.load_file(weights)}, file)

    ours = _ours(load_clip(clip_source("ViT-B-32/openai", str(file))), pictures)

    for mine, theirs in zip(
        ours, _own(pictures, "ViT-B-32", str(weights), force_quick_gelu=True), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-6)
    if format == "torchscript":
        with pytest.raises(BenchError, match="QuickGELU.*backbone=ViT-B-32/openai"):
            load_clip(clip_source("ViT-B-32", str(file)))
    file.unlink()


@pytest.mark.slow
def test_half_precision_stays_near_the_full_one(
    models: Path, pictures: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MODELS", str(models))
    source = clip_source("ViT-B-32/openai")

    full, half = _ours(load_clip(source), pictures), _ours(load_clip(source, "bf16"), pictures)

    for one, other in zip(full, half, strict=True):
        assert ((one * other).sum(1) > 0.99).all()


def test_another_tags_own_preprocessing(
    tmp_path: Path, pictures: list[NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Squashed by bilinear interpolation, mean and deviation 0.5, through timm's image tower."""
    from PIL import Image
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.functional import normalize, resize, to_tensor

    file = tmp_path / "timm/PE-Core-T-16-384" / HALF
    file.parent.mkdir(parents=True)
    _random_weights("PE-Core-T-16-384", file)
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))

    clip = load_clip(clip_source("PE-Core-T-16-384/meta"))

    for picture in pictures:
        by_hand = resize(Image.fromarray(picture), [384, 384], InterpolationMode.BILINEAR)
        expected = normalize(to_tensor(by_hand), [0.5] * 3, [0.5] * 3)
        torch.testing.assert_close(clip.preprocess(Image.fromarray(picture)), expected)
    network = open_clip.create_model("PE-Core-T-16-384", str(file)).eval()
    batch = torch.stack([clip.preprocess(Image.fromarray(picture)) for picture in pictures])
    with torch.no_grad():
        seen = network.encode_image(batch, normalize=True)
    torch.testing.assert_close(clip.encode_images(pictures), seen, rtol=0, atol=1e-6)
    shutil.rmtree(file.parent)


def test_open_clip_takes_what_every_tag_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments of all 196 tags, through open_clip's own function up to where the network is made."""
    made: dict[str, Any] = {}

    def create(name: str, pretrained: str | None, **options: Any) -> Any:
        made.update(options)
        return SimpleNamespace(visual=SimpleNamespace(preprocess_cfg=options["force_preprocess_cfg"]))

    monkeypatch.setattr("open_clip.factory.create_model", create)
    for architecture, tag in open_clip.list_pretrained():
        open_clip.create_model_and_transforms(architecture, **_as_trained(ClipSource(architecture, tag)))
        known = open_clip.get_pretrained_cfg(architecture, tag)
        assert made["force_quick_gelu"] is bool(known.get("quick_gelu"))
        for key in ("mean", "std", "interpolation", "resize_mode"):
            assert made["force_preprocess_cfg"][key] == known[key]


def test_a_tokenizer_of_its_own_repository_is_taken_from_the_local_copies(
    tiny_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erasure_bench.evaluators.clip_model import _tokenizer

    copy = tmp_path / "timm/ViT-B-16-SigLIP"
    shutil.copytree(tiny_clip, copy)
    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    settings = open_clip.get_model_config("ViT-B-16-SigLIP")["text_cfg"]

    tokens = _tokenizer(open_clip, "ViT-B-16-SigLIP")(["a red ball"])

    own = open_clip.tokenizer.HFTokenizer(
        str(copy), context_length=settings["context_length"], **settings.get("tokenizer_kwargs", {})
    )
    torch.testing.assert_close(tokens, own(["a red ball"]))


def test_a_tokenizer_that_cannot_be_had_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from erasure_bench.evaluators.clip_model import _tokenizer

    monkeypatch.setenv("BENCH_MODELS", str(tmp_path))
    monkeypatch.setattr("open_clip.tokenizer.HFTokenizer.__init__", _offline)

    with pytest.raises(BenchError, match=r"copy timm/ViT-B-16-SigLIP to \$BENCH_MODELS") as refused:
        _tokenizer(open_clip, "ViT-B-16-SigLIP")

    assert "\n" not in str(refused.value)


def _offline(*_: object, **__: object) -> None:
    raise OSError("We couldn't connect to\nthe hub")
