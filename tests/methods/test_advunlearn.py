"""AdvUnlearn: the adversary lowers its loss, the step is the formula, only the text encoder is trained."""

import pytest
import torch

from erasure_bench.errors import BenchError
from erasure_bench.methods.advunlearn import AdvUnlearn, brought_back
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.machinery.adversary import Adversary
from erasure_bench.methods.machinery.on_the_way import Ways
from erasure_bench.methods.machinery.parameters import of_text_encoder
from erasure_bench.methods.machinery.soft_tokens import encoded
from erasure_bench.methods.registry import build_method
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
TINY = {
    "sampled_by": "base",
    "timestep": "sampler",
    "denoise_steps": 3,
    "trajectories": 2,
    "steps": 2,
    "warmup_steps": 1,
    "attack_steps": 2,
    "retain": ("a tree", "a red boat"),
    "retain_batch": 2,
    "learning_rate": 1e-3,
}


def test_the_adversary_lowers_its_loss(tiny_model):
    """From an encoder that has moved away, on one latent: the found prefix is nearer to the base's answer."""
    method = AdvUnlearn(**TINY | {"attack_steps": 30, "attack_rate": 0.1, "denoise_steps": 1})
    base = tiny_model.frozen_copy()
    with torch.no_grad():
        for parameter in tiny_model.text_encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    generator = torch.Generator().manual_seed(0)
    ways = Ways(method, base, tiny_model, ["grumpy cat"], generator)
    ways.owners, ways.visited = ways.owners[:1], ways.visited
    soft = method.soft(tiny_model, ["grumpy cat"])
    before = {name: tensor.clone() for name, tensor in tiny_model.named_tensors().items()}

    attacked = method.attack(tiny_model, ways, soft, generator)

    assert attacked.prefix.shape == (1, 32)
    assert attacked.losses[-1] < 0.9 * attacked.losses[0]
    with torch.no_grad():
        after = float(brought_back(tiny_model, ways.draw(1, generator), soft, attacked.prefix))
    assert after <= attacked.losses[-1]
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.named_tensors().items())
    assert all(parameter.grad is None for parameter in tiny_model.named_tensors().values())


@pytest.mark.parametrize(("early", "kept"), [(True, 3), (False, 1)])
def test_what_is_kept_is_kept_from_the_first_step_on_or_after_the_warm_up(tiny_model, early, kept):
    told = []
    retaining = AdvUnlearn._retaining
    method = AdvUnlearn(**TINY | {"steps": 3, "warmup_steps": 2}, retain_early=early)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdvUnlearn, "_retaining", lambda *given: told.append(1) or retaining(*given))
        method.erase(tiny_model, [CAT], EraseContext())
    assert len(told) == kept


def test_the_first_term_leads_away_from_the_base_models_answer(tiny_model):
    method = AdvUnlearn(**TINY, eta=1.5, batch_size=3)
    generator = torch.Generator().manual_seed(0)
    ways = Ways(method, tiny_model.frozen_copy(), tiny_model, ["grumpy cat", "dog"], generator)
    seen = ways.draw(3, generator)
    embeddings = tiny_model.encode_prompts(["a tree", "a boat"])
    found = method.away(tiny_model, seen, embeddings)
    errors = []
    for row in range(3):
        said = ["grumpy cat", "dog"][seen.prompts[row]]
        one = seen.latents[row : row + 1]
        empty, concept, now = (
            tiny_model.predict_noise(one, seen.timestep, text)
            for text in ("", said, ["a tree", "a boat"][seen.prompts[row]])
        )
        errors.append((now - (2.5 * empty - 1.5 * concept)).square().mean())
    torch.testing.assert_close(found, torch.stack(errors).mean(), rtol=1e-3, atol=1e-4)


def test_the_second_term_holds_prompts_to_the_base_models_answer(tiny_model):
    method = AdvUnlearn(**TINY | {"trajectories": 1, "denoise_steps": 1}, retain_weight=0.4)
    base = tiny_model.frozen_copy()
    kept = Ways(method, base, base, ["a tree"], torch.Generator().manual_seed(0))
    with torch.no_grad():
        tiny_model.text_encoder.get_input_embeddings().weight.mul_(1.5)
        found = method._retaining(tiny_model, kept, torch.Generator().manual_seed(0))
        at = kept.visited[0]
        now, before = (model.predict_noise(at.latents, at.timestep, "a tree") for model in (tiny_model, base))
    assert float(found) > 0
    torch.testing.assert_close(found, 0.4 * (now - before).square().mean(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("layers", [None, 1])
def test_only_the_text_encoder_is_trained(tiny_model, layers):
    edit = AdvUnlearn(**TINY, layers=layers).erase(tiny_model, [CAT], EraseContext())
    assert edit.tensors.keys() <= of_text_encoder(tiny_model.text_encoder, layers).keys()
    assert edit.tensors.keys() <= tiny_model.named_tensors().keys()
    if layers:
        assert all(name.startswith("text_encoder.encoder.layers.0.") for name in edit.tensors)
    else:
        assert any("layers.1" in name for name in edit.tensors)


def test_without_an_adversary_the_prefix_is_where_it_begins(tiny_model):
    method = AdvUnlearn(**TINY | {"attack_steps": 0})
    ways = Ways(method, tiny_model, tiny_model, ["grumpy cat"], torch.Generator().manual_seed(0))
    soft = method.soft(tiny_model, ["grumpy cat"])
    found = method.attack(tiny_model, ways, soft, torch.Generator().manual_seed(0)).prefix
    table = tiny_model.text_encoder.get_input_embeddings().weight
    assert (table == found).all(1).any(), "a row of the vocabulary"


def test_mistakes_are_refused(tiny_model):
    with pytest.raises(BenchError, match="the text encoder has 2"):
        AdvUnlearn(**TINY, layers=3).erase(tiny_model, [CAT], EraseContext())
    with pytest.raises(BenchError, match="prefix_tokens=15: a text of .* has room for 14 "):
        AdvUnlearn(**TINY, prefix_tokens=15).erase(tiny_model, [CAT], EraseContext())
    with pytest.raises(BenchError, match="nothing to retain"):
        AdvUnlearn(**TINY | {"retain": "general"}).erase(tiny_model, [CAT], EraseContext())
    with pytest.raises(BenchError, match="attack_rate has no effect with attack_steps=0"):
        build_method("advunlearn", options={"attack_steps": "0", "attack_rate": "0.1"})


@pytest.mark.parametrize(("prefix", "words"), [(1, 30), (7, 2), (14, 1)])
def test_a_text_with_a_prefix_is_as_long_as_any(tiny_model, prefix, words):
    """Counted in words, what the prefix pushes out may end behind the last place there is."""
    phrase = " ".join("abcdefghijklmnopqrstuvwxyzabcd"[:words])
    soft = AdvUnlearn(**TINY, prefix_tokens=prefix).soft(tiny_model, [phrase])
    own = tiny_model.tokenizer(phrase, add_special_tokens=False).input_ids
    kept = min(words, 14 - prefix)
    assert soft.ids[0, 1 + prefix : 1 + prefix + kept].tolist() == own[:kept]
    assert encoded(tiny_model, soft, torch.zeros(prefix, 32)).shape == (1, 16, 32)


def test_officially_the_layers_and_the_last_norm_are_trained_and_no_embedding(tiny_model):
    method = build_method("advunlearn")
    trained = method.trained(tiny_model)
    whole = of_text_encoder(tiny_model.text_encoder)
    assert {name for name in whole if "embedding" in name} == whole.keys() - trained.keys() != set()
    assert {name.split(".")[1] for name in trained} == {"encoder", "final_layer_norm"}
    edit = AdvUnlearn(**TINY, train_embeddings=False).erase(tiny_model, [CAT], EraseContext())
    assert edit.tensors.keys() <= trained.keys()
    with_them = AdvUnlearn(**TINY).erase(tiny_model, [CAT], EraseContext())
    assert any("embedding" in name for name in with_them.tensors)


def test_gradients_that_are_never_zeroed_add_up():
    """Against torch's own loop without zero_grad, and going on from a state that was kept."""
    start, slopes = torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.5], [-3.0, 0.2], [0.5, -1.0]])
    plain = start.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([plain], lr=0.1)
    for slope in slopes:
        (plain * slope).sum().backward()
        optimiser.step()
    summed = Adversary(start, learning_rate=0.1, summed=True)
    for slope in slopes[:2]:
        summed.descend(lambda value, slope=slope: (value * slope).sum())
    again = Adversary(start, learning_rate=0.1, summed=True)
    again.load_state_dict(summed.state_dict())
    again.descend(lambda value: (value * slopes[2]).sum())
    torch.testing.assert_close(again.value.detach(), plain.detach())
    own = Adversary(start, learning_rate=0.1)
    for slope in slopes:
        own.descend(lambda value, slope=slope: (value * slope).sum())
    assert not torch.allclose(own.value.detach(), plain.detach())
