"""UCE equals the paper's normal equations, solved here in other ways, at both official codes' tokens."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import applied
from erasure_bench.methods.machinery.closed_form import EmbeddedTokens, Erased, last_token, weight_change
from erasure_bench.methods.machinery.parameters import select
from erasure_bench.methods.registry import build_method
from erasure_bench.methods.uce import UCE
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(
    name="cat",
    kind="instance",
    targets=("grumpy cat", "angry cat"),
    anchor="a cat",
    neighbours=("tabby cat", "dog"),
)
DOG = Concept(name="dog", kind="object", targets=("dog",), anchor="animal", neighbours=("cat", "tabby cat"))
NEON = Concept(name="neon", kind="style", targets=("neon style",), anchor="picture")

Array = NDArray[np.float64]


def erase(model: DiffusionModel, *concepts: Concept, **settings: Any) -> dict[str, torch.Tensor]:
    return dict(UCE(**settings).erase(model, concepts, EraseContext()).tensors)


def embedding(model: DiffusionModel, text: str) -> Array:
    """[tokens, width] in float64."""
    return model.encode_prompts([text])[0].double().numpy()


def last_of(model: DiffusionModel, text: str) -> int:
    """As the official codes find it: from the padded prompt's attention mask."""
    tokens = model.tokenizer(text, padding="max_length", max_length=16, truncation=True)
    return sum(tokens.attention_mask) - 2


def written_out(
    original: Array, concepts: Array, guides: Array, retained: Array, scales: tuple[float, float, float]
) -> Array:
    """The formula of the paper, sum by sum, one token at a time."""
    erase_scale, retain_scale, keep_scale = scales
    left = keep_scale * original
    right = keep_scale * np.eye(original.shape[1])
    for concept, guide in zip(concepts, guides, strict=True):
        left = left + erase_scale * np.outer(original @ guide, concept)
        right = right + erase_scale * np.outer(concept, concept)
    for kept in retained:
        left = left + retain_scale * np.outer(original @ kept, kept)
        right = right + retain_scale * np.outer(kept, kept)
    return np.linalg.solve(right.T, left.T).T


@pytest.mark.parametrize("scales", [(1.0, 1.0, 0.5), (1.0, 0.1, 0.5), (3.0, 0.0, 0.01), (0.2, 5.0, 20.0)])
@pytest.mark.parametrize(("erased", "retained"), [(1, 0), (2, 3), (30, 40)])
def test_weights_minimise_the_objective(scales, erased, retained):
    """Against a least-squares solver on the objective itself, which forms no normal equations."""
    random = np.random.default_rng(erased)
    original = random.normal(size=(5, 12))
    concepts, guides = random.normal(size=(2, erased, 12))
    kept = random.normal(size=(retained, 12))
    change = weight_change(EmbeddedTokens(*map(torch.from_numpy, (concepts, guides, kept))), *scales)
    found = original @ (np.eye(12) + change.numpy())

    roots = np.sqrt(scales)
    rows = np.concatenate([roots[0] * concepts, roots[1] * kept, roots[2] * np.eye(12)])
    wanted = [roots[0] * guides @ original.T, roots[1] * kept @ original.T, roots[2] * original.T]
    solved, *_ = np.linalg.lstsq(rows, np.concatenate(wanted), rcond=None)
    np.testing.assert_allclose(found, solved.T, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found, written_out(original, concepts, guides, kept, scales), atol=1e-9)


def test_keys_and_values_are_the_formulas_on_last_tokens(tiny_model):
    """The official code: one token a text, guide '' (the start token), nothing retained."""
    found = build_method("uce").erase(tiny_model, [CAT, DOG], EraseContext()).tensors

    start = embedding(tiny_model, "")[0]
    concepts = [embedding(tiny_model, text)[last_of(tiny_model, text)] for text in ("grumpy cat", "dog")]
    assert found.keys() == select(tiny_model.parts, "xattn-strict").keys()
    for name, tensor in found.items():
        original = tiny_model.named_tensors()[name].double().numpy()
        expected = written_out(
            original, np.stack(concepts), np.stack([start, start]), np.empty((0, 32)), (1.0, 1.0, 0.5)
        )
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=2e-6)
        assert np.abs(tensor.numpy() - original).max() > 1e-3


def test_keys_and_values_are_the_formulas_on_all_later_tokens(tiny_model):
    """The old code: from the last token on, aligned; '' and the retained prompts whole, β = 1 / 3."""
    method = build_method("uce", "old", {"retain": "neighbours"})
    found = method.erase(tiny_model, [CAT], EraseContext()).tensors

    phrase, guide = embedding(tiny_model, "grumpy cat"), embedding(tiny_model, " ")
    first = last_of(tiny_model, "grumpy cat")
    assert (first, last_of(tiny_model, " ")) == (7, 0)
    kept = np.concatenate([embedding(tiny_model, text) for text in ("", "tabby cat", "dog")])
    assert kept.shape == (3 * 16, 32)
    for name, tensor in found.items():
        original = tiny_model.named_tensors()[name].double().numpy()
        expected = written_out(original, phrase[7:16], guide[0:9], kept, (1.0, 1 / 3, 0.5))
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=2e-6)


def test_longer_guide_is_aligned_from_its_own_last_token(tiny_model):
    """They are 1 and 7: the phrase's tokens 1 to 9 meet the guide's 7 to 15."""
    found = erase(tiny_model, DOG, guide="grumpy cat", tokens="last-to-end")

    phrase, guide = embedding(tiny_model, "dog")[1:10], embedding(tiny_model, "grumpy cat")[7:16]
    assert (last_of(tiny_model, "dog"), last_of(tiny_model, "grumpy cat")) == (1, 7)
    name, tensor = next(iter(found.items()))
    original = tiny_model.named_tensors()[name].double().numpy()
    expected = written_out(original, phrase, guide, np.empty((0, 32)), (1.0, 1.0, 0.5))
    np.testing.assert_allclose(tensor.numpy(), expected, rtol=0, atol=2e-6)


def test_keys_and_values_move_to_the_guides_and_retained_ones_stay(tiny_model):
    """With λ towards 0 exactly so, in the model's own layers."""
    edit = UCE(guide="anchor", retain="neighbours", keep_scale=1e-6).erase(tiny_model, [CAT], EraseContext())

    def made(text: str) -> list[torch.Tensor]:
        token = tiny_model.encode_prompts([text])[0, last_of(tiny_model, text)]
        modules = [
            module
            for name, module in tiny_model.unet.named_modules()
            if name.endswith(("attn2.to_k", "attn2.to_v"))
        ]
        assert len(modules) == len(edit.tensors)
        with torch.no_grad():
            return [module(token) for module in modules]

    guides, kept = made("a cat"), [made("tabby cat"), made("dog")]
    before = made("grumpy cat")
    with applied(tiny_model, edit):
        torch.testing.assert_close(made("grumpy cat"), guides, rtol=0, atol=1e-3)
        torch.testing.assert_close([made("tabby cat"), made("dog")], kept, rtol=0, atol=1e-3)
    assert all((old - new).abs().max() > 0.05 for old, new in zip(before, guides, strict=True))


def test_nothing_changes_where_nothing_is_erased(tiny_model):
    tokens = EmbeddedTokens(*(torch.randn(count, 8, dtype=torch.float64) for count in (0, 0, 5)))
    assert torch.equal(weight_change(tokens, 1.0, 1.0, 0.5), torch.zeros(8, 8, dtype=torch.float64))
    assert erase(tiny_model, CAT, guide="grumpy cat", retain="neighbours") == {}


def test_every_phrase_and_every_concept_is_erased(tiny_model):
    assert UCE().erased([CAT, DOG]) == (Erased("grumpy cat", ""), Erased("dog", ""))
    both = UCE(phrases="all", guide="anchor").erased([CAT, DOG])
    assert both == (Erased("grumpy cat", "a cat"), Erased("angry cat", "a cat"), Erased("dog", "animal"))

    single, double = erase(tiny_model, CAT), erase(tiny_model, CAT, DOG)
    assert all(not torch.equal(single[name], double[name]) for name in single)


def test_guides():
    assert [pair.guide for pair in UCE().erased([CAT, NEON])] == ["", "art"]
    assert [pair.guide for pair in UCE(guide="anchor").erased([CAT, NEON])] == ["a cat", "picture"]
    assert [pair.guide for pair in build_method("uce", "old").erased([CAT, NEON])] == [" ", " "]
    chosen = build_method("uce", options={"guide": "a lamp"})
    assert [pair.guide for pair in chosen.erased([CAT, NEON])] == ["a lamp", "a lamp"]


def test_retained_prompts():
    """Neighbours each once, and never what is itself erased; a list is taken at its word."""
    assert UCE().retained([CAT, DOG]) == ()
    assert UCE(retain="neighbours").retained([CAT]) == ("tabby cat", "dog")
    assert UCE(retain="neighbours").retained([CAT, DOG]) == ("tabby cat", "cat")
    assert build_method("uce", "old").retained([CAT]) == ("",)
    listed = build_method("uce", options={"retain": '["dog", "a lamp", "dog"]'})
    assert listed.retained([DOG]) == ("dog", "a lamp")


@pytest.mark.parametrize(("prompts", "scale"), [(0, 1.0), (1, 0.5), (3, 0.25), (30, 0.1)])
def test_old_code_shares_its_retain_scale(prompts, scale):
    """'' counts among the prompts that share it."""
    method = build_method("uce", "old", {"retain": str([f"{i}" for i in range(prompts)]).replace("'", '"')})
    assert method._retain_scale(len(method.retained([CAT]))) == pytest.approx(scale)


@pytest.fixture(scope="module")
def clip_tokenizer() -> Any:
    """CLIP's own vocabulary, which open_clip carries, in the tokenizer of Stable Diffusion 1.4."""
    from open_clip.tokenizer import SimpleTokenizer
    from transformers import CLIPTokenizer

    clip = SimpleTokenizer()
    renamed = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    return CLIPTokenizer(
        vocab={renamed.get(piece, piece): index for piece, index in clip.encoder.items()},
        merges=list(clip.bpe_ranks),
        pad_token="<|endoftext|>",
        model_max_length=77,
    )


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("dog", ["dog</w>"]),
        ("Van Gogh", ["van</w>", "gogh</w>"]),
        ("in the style of Kelly McKernan", ["in</w>", "the</w>", "style</w>", "of</w>", "kelly</w>"]),
        ("a grumpy cat, sitting", ["a</w>", "grumpy</w>", "cat</w>", ",</w>", "sitting</w>"]),
        ("zxqvk", []),
    ],
)
def test_last_token_in_clips_vocabulary(clip_tokenizer, text, pieces):
    padded = clip_tokenizer(text, padding="max_length")
    found = clip_tokenizer.convert_ids_to_tokens(padded.input_ids)
    last = last_token(clip_tokenizer, text)

    assert found[1 : 1 + len(pieces)] == pieces
    assert "".join(found[1 : last + 1]).replace("</w>", "") == text.lower().replace(" ", "")
    assert found[last].endswith("</w>")
    assert set(found[last + 1 :]) == {"<|endoftext|>"}
    assert last == sum(padded.attention_mask) - 2


@pytest.mark.parametrize(("text", "last"), [("", 0), (" ", 0), ("word " * 100, 75)])
def test_last_token_of_no_words_and_of_too_many(clip_tokenizer, text, last):
    assert last_token(clip_tokenizer, text) == last


def test_cost_is_measured_and_the_models_dtype_kept(tiny_model_dir):
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.bfloat16)
    edit = UCE(guide="anchor").erase(model, [CAT], EraseContext())

    assert {tensor.dtype for tensor in edit.tensors.values()} == {torch.bfloat16}
    assert 0 < edit.cost.seconds < 60
    assert edit.cost.steps == 0
    assert edit.cost.peak_memory_bytes > 50 * 2**20


@pytest.mark.parametrize(
    ("concept", "guide", "texts"),
    [
        (NEON, "art", ("painting by {}", "art by {}", "artwork by {}", "picture by {}", "style of {}")),
        (DOG, "", ("image of {}", "photo of {}", "portrait of {}", "picture of {}", "painting of {}")),
    ],
    ids=["style", "object"],
)
def test_expanded_prompts_are_the_official_codes(tiny_model, concept, guide, texts):
    """Its --expand_prompts true: phrase and guide as they are, and both in each of five texts."""
    found = erase(tiny_model, concept, expand_prompts=True)

    pairs = [(text.format(concept.target), text.format(guide)) for text in ("{}", *texts)]
    concepts, guides = (
        np.stack([embedding(tiny_model, pair[side])[last_of(tiny_model, pair[side])] for pair in pairs])
        for side in (0, 1)
    )
    nothing = np.zeros((0, concepts.shape[1]))
    for name, original in list(select(tiny_model.parts, "xattn-strict").items())[:2]:
        expected = written_out(original.double().numpy(), concepts, guides, nothing, (1.0, 1.0, 0.5))
        np.testing.assert_allclose(found[name].numpy(), expected, atol=1e-5)
