"""Attachments work as their formulas say, leave no trace, survive the disk and are exported or refused."""

import dataclasses
import json

import pytest
import torch
from torch.nn import functional

from erasure_bench.errors import BenchError
from erasure_bench.methods.base import EraseContext
from erasure_bench.methods.edit import Edit, applied
from erasure_bench.methods.machinery.adapters import Adapters, PromptGate, opened
from erasure_bench.methods.machinery.attachments import same
from erasure_bench.methods.machinery.exporting import export_edit
from erasure_bench.methods.machinery.parameters import cross_attentions
from erasure_bench.methods.machinery.traces import ModelState
from erasure_bench.methods.registry import build_method
from erasure_bench.models.asking import Layout, asked, called_with, laid_out
from erasure_bench.models.diffusion_model import DiffusionModel
from erasure_bench.models.guidance import ClassifierFree
from erasure_bench.models.sampling import sample_latents
from erasure_bench.models.weights import swapped
from erasure_bench.prompt_suites.concepts import Concept

CAT = Concept(name="cat", kind="instance", targets=("grumpy cat",), anchor="cat")
RANK = 2


def beside(model, **settings) -> Adapters:
    """An adapter beside every projection of the transformers, convolutions included."""
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, module in model.unet.named_modules():
        if "attentions" in name and isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            out, into, *kernel = module.weight.shape
            tensors[f"{name}.down"] = torch.randn(RANK, into, *kernel, generator=generator) * 0.1
            tensors[f"{name}.up"] = torch.randn(out, RANK, *[1] * len(kernel), generator=generator) * 0.1
    return Adapters(tensors=tensors, **settings)


def after(model) -> Adapters:
    """A bottleneck with biases after every cross-attention."""
    generator, tensors = torch.Generator().manual_seed(0), {}
    for name, module in cross_attentions(model.unet).items():
        width = module.to_q.in_features
        shapes = {"down": (RANK, width), "up": (width, RANK), "down_bias": (RANK,), "up_bias": (width,)}
        tensors |= {
            f"{name}.{part}": torch.randn(*shape, generator=generator) for part, shape in shapes.items()
        }
    return Adapters(tensors=tensors, place="after", activation="gelu", scale=0.5)


def edit_with(model, *attachments) -> Edit:
    blank = build_method("none").erase(model, [CAT], EraseContext())
    return dataclasses.replace(blank, attachments=attachments)


def noise_of(model, prompts, edit=None):
    latents = torch.randn(len(prompts), 4, 8, 8, generator=torch.Generator().manual_seed(1))
    if edit is None:
        return model.predict_noise(latents, 500, prompts)
    with applied(model, edit):
        return model.predict_noise(latents, 500, prompts)


def test_adapters_beside_modules_are_the_weights_that_they_can_be_merged_into(tiny_model_dir):
    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.float64)
    adapters = beside(model, scale=0.7)
    assert any(tensor.ndim == 4 for tensor in adapters.tensors.values()), "a convolution is among them"
    merged = adapters.as_weights(model.named_tensors())

    attached = noise_of(model, ["a cat"], edit_with(model, adapters))
    with swapped(model, merged):
        torch.testing.assert_close(attached, noise_of(model, ["a cat"]), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(attached, noise_of(model, ["a cat"]), atol=1e-3)


def test_adapters_after_a_module_add_their_network_of_its_output(tiny_model):
    adapters = after(tiny_model)
    name, module = next(iter(cross_attentions(tiny_model.unet).items()))
    own = {part: adapters.tensors[f"{name}.{part}"] for part in ("down", "up", "down_bias", "up_bias")}
    states, text = torch.randn(2, 64, module.to_q.in_features), torch.randn(2, 16, 32)
    plain = module(states, encoder_hidden_states=text)
    wanted = plain + 0.5 * (
        functional.gelu(plain @ own["down"].T + own["down_bias"]) @ own["up"].T + own["up_bias"]
    )
    with adapters.attached(tiny_model):
        torch.testing.assert_close(module(states, encoder_hidden_states=text), wanted)


def test_an_edit_with_attachments_leaves_no_trace(tiny_model):
    edit = edit_with(tiny_model, after(tiny_model), beside(tiny_model, gate=PromptGate(("grumpy cat",))))
    before, drawn = ModelState.of(tiny_model), noise_of(tiny_model, ["a cat"])
    assert not torch.equal(noise_of(tiny_model, ["a cat"], edit), drawn)
    assert before.changes(tiny_model) == ""
    with pytest.raises(ValueError, match="mine"), applied(tiny_model, edit):
        raise ValueError("mine")
    assert before.changes(tiny_model) == ""
    assert torch.equal(noise_of(tiny_model, ["a cat"]), drawn)


def test_an_edit_with_attachments_survives_the_disk(tiny_model, tmp_path):
    edit = edit_with(
        tiny_model, after(tiny_model), beside(tiny_model, gate=PromptGate(("grumpy cat", "cat")))
    )
    edit.save(tmp_path)
    loaded = Edit.load(tmp_path)

    assert same(loaded.attachments, edit.attachments)
    assert not same(loaded.attachments, edit.attachments[:1])
    assert torch.equal(noise_of(tiny_model, ["a cat"], loaded), noise_of(tiny_model, ["a cat"], edit))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("attachments", 0, "kind"), "os.system", "unknown attachment 'os.system'"),
        (("attachments", 0, "settings", "scale"), "much", "'adapters': scale"),
        (("attachments", 0, "settings", "surprise"), 1, "does not know its settings: surprise"),
        (("attachments", 0, "settings"), {"place": "after"}, "lacks its settings: "),
        (("attachments", 0, "tensors"), ["nothing"], "lacks its tensor nothing"),
        (("attached", "sha256"), "0" * 64, "SHA-256"),
    ],
)
def test_a_damaged_attachment_is_refused_in_one_line(tiny_model, tmp_path, path, value, message):
    edit_with(tiny_model, after(tiny_model)).save(tmp_path)
    content = json.loads((tmp_path / "edit.json").read_text())
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (tmp_path / "edit.json").write_text(json.dumps(content))
    with pytest.raises(BenchError, match=message) as refused:
        Edit.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_an_attachment_of_no_known_kind_cannot_be_saved(tiny_model, tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Homemade:
        tensors: dict

    with pytest.raises(BenchError, match=r"Homemade cannot be saved.*adapters"):
        edit_with(tiny_model, Homemade({})).save(tmp_path)


def test_what_weights_can_hold_is_exported(tiny_model, tiny_model_dir, tmp_path):
    edit = edit_with(tiny_model, beside(tiny_model))
    written = export_edit(edit, tiny_model_dir, "diffusers", tmp_path / "out")

    exported = DiffusionModel.from_directory(written)
    torch.testing.assert_close(noise_of(exported, ["a cat"]), noise_of(tiny_model, ["a cat"], edit))


def test_what_no_weights_can_hold_is_refused_with_the_reason(tiny_model, tiny_model_dir, tmp_path):
    gated = beside(tiny_model, gate=PromptGate(("grumpy cat",)))
    for adapters, reason in (
        (gated, "how near each prompt is"),
        (after(tiny_model), "networks of their own"),
    ):
        with pytest.raises(BenchError, match=f"edit of cat by none cannot be exported.*{reason}"):
            export_edit(edit_with(tiny_model, adapters), tiny_model_dir, "delta", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_gate_is_the_larger_of_cosine_and_share_of_tokens(tiny_model):
    gate = opened(PromptGate(("grumpy cat",)), tiny_model)
    prompts = ("a grumpy dog", "a boat")
    embeddings = tiny_model.encode_prompts(["", "", *prompts])
    concept = tiny_model.encode_prompts(["grumpy cat"]).flatten().double()
    cosines = [
        float(torch.dot(one, concept) / (one.norm() * concept.norm()))
        for one in embeddings[2:].flatten(1).double()
    ]
    ids = [set(tiny_model.tokenizer(text).input_ids[1:-1]) for text in (*prompts, "grumpy cat")]
    shares = [len(own & ids[-1]) / len(ids[-1]) for own in ids[:-1]]

    layout = Layout(("unconditional", "conditional"), ("", "", *prompts))
    with laid_out(layout), called_with(embeddings):
        wanted = torch.tensor([max(*pair) for pair in zip(cosines, shares, strict=True)])
        torch.testing.assert_close(gate(), wanted.clamp(min=0).repeat(2).float())
    with called_with(embeddings[2:]):
        torch.testing.assert_close(gate(), torch.tensor(cosines).clamp(min=0).float())


def test_a_gate_knows_its_own_picture_alone(tiny_model):
    """One picture's γ does not depend on what else is drawn, and its gradient reaches the embeddings."""
    edit = edit_with(tiny_model, beside(tiny_model, gate=PromptGate(("grumpy cat",)), scale=3.0))

    def draw(prompts):
        with applied(tiny_model, edit) as guidance:
            return sample_latents(
                tiny_model, prompts, range(len(prompts)), scheduler="ddim", steps=3, guidance_scale=5.0,
                guidance=guidance,
            )  # fmt: skip

    together, alone = draw(["a grumpy cat", "a boat"]), draw(["a grumpy cat"])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)

    embeddings = tiny_model.encode_prompts(["a grumpy cat"]).detach().requires_grad_()
    noise_of(tiny_model, embeddings, edit).square().sum().backward()
    assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0


def test_the_sampler_says_what_it_asks(tiny_model):
    seen = []

    def look(module, inputs, named):
        seen.append(asked())

    handle = tiny_model.unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        with_texts = dataclasses.make_dataclass(
            "Negative", [], bases=(ClassifierFree,), frozen=True, namespace={"texts": ("a dog",)}
        )("a tree")
        sample_latents(
            tiny_model, ["a cat", "a boat"], [1, 2], scheduler="ddim", steps=3, guidance_scale=5.0,
            guidance=with_texts,
        )  # fmt: skip
        tiny_model.predict_noise_pair(torch.zeros(2, 4, 8, 8), 5, "a cat")
        tiny_model.predict_noise(torch.zeros(1, 4, 8, 8), 5, tiny_model.encode_prompts(["a cat"]))
    finally:
        handle.remove()
    *sampled, pair, lone = seen
    assert [call.layout.index for call in sampled] == [0, 1, 2] and sampled[0].layout.steps == 3
    texts = ("a tree", "a tree", "a cat", "a boat", "a dog", "a dog")
    assert sampled[0].layout.texts == texts
    assert sampled[0].layout.roles == ("unconditional", "conditional", "extra")
    assert torch.equal(sampled[0].embeddings, tiny_model.encode_prompts(texts))
    assert sampled[0].block("conditional") == slice(2, 4)
    assert pair.layout.texts == ("", "", "a cat", "a cat")
    assert lone.layout == Layout() and lone.pictures == 1
    with pytest.raises(LookupError):
        asked()
