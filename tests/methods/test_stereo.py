"""STEREO: the search finds a word a round, and the erasure leads away from all of them."""

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods import stereo
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.on_the_way import Ways
from erasure_bench.methods.machinery.soft_tokens import with_word
from erasure_bench.methods.machinery.textual_inversion import invert
from erasure_bench.methods.registry import build_method
from erasure_bench.methods.stereo import Stereo, guided_part
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat", anchor_prompts=("a cat",))
DOG = Concept(name="dog", kind="instance", targets=("pirate dog",), anchor="dog")
TINY = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 2,
    "trajectories": 2,
    "rounds": 2,
    "images": 2,
    "search_steps": 2,
    "inversion_steps": 2,
    "batch_size": 2,
    "steps": 2,
}


def test_parts_of_the_guidance_are_orthogonal_and_parallel():
    said, empty = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    orthogonal, whole = guided_part(said, empty, 0.0), guided_part(said, empty, 1.0)
    torch.testing.assert_close(whole, said - empty)
    torch.testing.assert_close((orthogonal * said).sum((1, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
    along = whole - orthogonal
    for row in range(3):
        cosine = torch.nn.functional.cosine_similarity(along[row].flatten(), said[row].flatten(), 0)
        assert abs(float(cosine)) == pytest.approx(1.0, abs=1e-5)


def test_the_target_leads_away_from_all_words_and_towards_the_anchor(tiny_model):
    method = Stereo(**TINY, towards=1.0, away=3.0)
    generator = torch.Generator().manual_seed(0)
    ways = Ways(method, tiny_model, tiny_model, ["grumpy cat"], generator)
    seen = ways.draw(2, generator)
    words = tiny_model.encode_prompts(["grumpy cat", "a dog", "a tree"])
    found = method.target(tiny_model, seen, tiny_model.encode_prompts(["a cat"]), words)

    def lead(text):
        with torch.no_grad():
            return tiny_model.predict_noise(seen.latents, seen.timestep, text) - seen.unconditional

    away = (lead("grumpy cat") + lead("a dog") + lead("a tree")) / 3
    wanted = seen.unconditional + lead("a cat") - 3 * away
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)


def test_inversion_lowers_the_loss_on_the_pictures_and_moves_nothing_else(tiny_model):
    before = {name: tensor.detach().clone() for name, tensor in tiny_model.named_tensors().items()}
    clean = 0.5 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    start = torch.zeros(1, 32)
    found = invert(
        tiny_model,
        clean,
        start,
        steps=40,
        learning_rate=0.5,
        batch_size=8,
        context=EraseContext(),
        templates=("a photo of {}",),
    )
    assert found.vectors.shape == start.shape and not torch.equal(found.vectors, start)
    first, last = (sum(part) / len(part) for part in (found.losses[:8], found.losses[-8:]))
    assert last < first
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.named_tensors().items())


def test_the_search_finds_a_word_a_round_in_ever_other_models(tiny_model):
    method = Stereo(**TINY, search_rate=1e-3, inversion_rate=0.1)
    base = tiny_model.frozen_copy()
    ways = Ways(method, base, base, ["grumpy cat"], torch.Generator().manual_seed(0))
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found = method.search(base, CAT, ways, clean, EraseContext())
    assert len(found.words) == 2 and len(found.losses) == 2 * (2 + 2)
    assert not torch.equal(found.words[0], found.words[1])
    assert all(
        torch.equal(tensor, tiny_model.named_tensors()[name]) for name, tensor in base.named_tensors().items()
    )


def test_each_round_leads_the_present_word_away_in_the_model_of_the_round_before(tiny_model, monkeypatch):
    """Targets are the base model's answers: of the phrase, then of the word that the first round found."""
    method = Stereo(**TINY | {"search_steps": 1, "trajectories": 1, "denoise_steps": 1}, eta=0.7)
    base = tiny_model.frozen_copy()
    told = []
    monkeypatch.setattr(
        stereo,
        "mse_loss",
        lambda found, target: told.append((found, target)) or (found - target).square().mean(),
    )
    ways = Ways(method, base, base, ["grumpy cat"], torch.Generator().manual_seed(0))
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found = method.search(base, CAT, ways, clean, EraseContext())
    at = ways.visited[0]
    for (now, target), present in zip(told, (ways.embeddings, found.words[0]), strict=True):
        with torch.no_grad():
            empty, said = (
                base.predict_noise(at.latents.expand(2, -1, -1, -1), at.timestep, asked)
                for asked in ("", present)
            )
        torch.testing.assert_close(target, empty - 0.7 * (said - empty), rtol=1e-3, atol=1e-3)
        moved = now.detach() - said
        assert (moved.abs().max() < 1e-4) == (present is ways.embeddings), (
            "the first begins as the base model"
        )


@pytest.mark.parametrize(
    ("kind", "caption", "written"),
    [
        ("instance", "a photo of", "a photo of"),
        ("style", "a painting in the style of", "a picture in the style of"),
        ("identity", "a photo portrait of", "a photo of"),
    ],
)
def test_a_word_is_sought_in_captions_of_its_kind_and_stands_alone_if_asked(
    tiny_model, monkeypatch, kind, caption, written
):
    base, seen = tiny_model.frozen_copy(), []
    monkeypatch.setattr(
        stereo,
        "with_word",
        lambda model, texts, count: seen.append(texts[0]) or with_word(model, texts, count),
    )
    monkeypatch.setattr(
        stereo,
        "invert",
        lambda *given, **named: seen.append(named["templates"][0]) or invert(*given, **named),
    )
    concept = Concept(name="cat", kind=kind, targets=("grumpy cat",), anchor="cat")
    clean = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for own in ({}, {"captions": "kind", "alone": True}):
        method = Stereo(**TINY | {"rounds": 1}, **own)
        ways = Ways(method, base, base, ["grumpy cat"], torch.Generator().manual_seed(0))
        method.search(base, concept, ways, clean, EraseContext())
    assert seen == ["a photo of {}", f"{written} {{}}", f"{caption} {{}}", "{}"]


def test_the_model_that_is_trained_draws_no_latents():
    with pytest.raises(BenchError, match="sampled_by has no effect on latents that are always the base"):
        build_method("stereo", options={"sampled_by": "edited"})


def test_every_concept_is_searched_for_and_trained_in_turn(tiny_model, monkeypatch):
    method, seen = Stereo(**TINY, trained="all"), []
    loss = Stereo.loss

    def watched(self, model, base, plan, number, generator):
        seen.append((plan.ways.prompts, len(plan.words), number))
        return loss(self, model, base, plan, number, generator)

    monkeypatch.setattr(Stereo, "loss", watched)
    edit = method.erase(tiny_model, [CAT, DOG], EraseContext())
    assert seen == [(("grumpy cat",), 3, 0), (("pirate dog",), 3, 0)]
    assert edit.cost.steps == len(edit.losses) == 2 * 2 * (2 + 2) + 2
