"""A merged LoRA draws what the adapter draws when it runs beside the layers, in every published spelling."""

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from erasure_bench.errors import BenchError
from erasure_bench.models.checkpoints.checkpoint import read_checkpoint
from erasure_bench.models.weights import swapped

LINEAR = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
OUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"
POINTWISE = "unet.up_blocks.1.attentions.1.proj_in"
CONVOLUTION = "unet.up_blocks.0.resnets.0.conv1"
STRIDED = "unet.down_blocks.0.downsamplers.0.conv"
TEXT = "text_encoder.encoder.layers.1.self_attn.q_proj"
LAYERS = (LINEAR, OUT, POINTWISE, CONVOLUTION, STRIDED, TEXT)
RANK = 3


def factors(model, layers=LAYERS, rank=RANK):
    """layer -> (down, up), as an adapter module's own layers have them."""
    own = model.named_tensors()
    generator = torch.Generator().manual_seed(5)
    pairs = {}
    for layer in layers:
        weight = own[f"{layer}.weight"]
        kernel = (1, 1) if weight.dim() == 4 else ()
        down = torch.randn(rank, *weight.shape[1:], generator=generator)
        up = torch.randn(weight.shape[0], rank, *kernel, generator=generator)
        pairs[layer] = (0.2 * down, 0.2 * up)
    return pairs


def module_of(model, layer):
    part, _, rest = layer.partition(".")
    modules = dict(model.parts[part].named_modules())
    return modules.get(rest) or modules[f"text_model.{rest}"]


def drawn(model):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        return model.predict_noise(latents, 400, ["a cat", "a dog"])


def drawn_beside(model, pairs, strength):
    """The prediction with y = Wx + strength · up(down(x)) in every layer, computed while it runs."""
    handles = []
    for layer, (down, up) in pairs.items():
        module = module_of(model, layer)

        def add(module, inputs, output, down=down, up=up):
            if down.dim() == 2:
                return output + strength * functional.linear(functional.linear(inputs[0], down), up)
            hidden = functional.conv2d(inputs[0], down, stride=module.stride, padding=module.padding)
            return output + strength * functional.conv2d(hidden, up)

        handles.append(module.register_forward_hook(add))
    try:
        return drawn(model)
    finally:
        for handle in handles:
            handle.remove()


def kohya(layer):
    part, _, rest = layer.partition(".")
    start = "lora_unet_" if part == "unet" else "lora_te_text_model_"
    return start + rest.replace(".", "_")


def in_file(layer):
    """As diffusers' files have the layer's name, CLIP's level included."""
    return layer.replace("text_encoder.", "text_encoder.text_model.")


def assert_draws_the_same(model, checkpoint, pairs, strength):
    assert checkpoint.tensors.keys() == {f"{layer}.weight" for layer in pairs}
    beside, before = drawn_beside(model, pairs, strength), drawn(model)
    assert (beside - before).abs().max() > 0.01
    with swapped(model, checkpoint.tensors):
        torch.testing.assert_close(drawn(model), beside, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 0.5, -1.0])
@pytest.mark.parametrize("alpha", [1.0, 6.0])
def test_kohya(tiny_model, tmp_path, alpha, scale):
    pairs = factors(tiny_model)
    state = {}
    for layer, (down, up) in pairs.items():
        state[f"{kohya(layer)}.lora_down.weight"] = down
        state[f"{kohya(layer)}.lora_up.weight"] = up
        state[f"{kohya(layer)}.alpha"] = torch.tensor(alpha)
    save_file(state, path := tmp_path / "lora.safetensors")

    checkpoint = read_checkpoint(path, tiny_model.named_tensors(), scale=scale)

    assert checkpoint.format == f"kohya LoRA of {len(LAYERS)} layers, rank {RANK}, scale {scale:g}"
    assert checkpoint.notes == ()
    assert_draws_the_same(tiny_model, checkpoint, pairs, scale * alpha / RANK)


def test_kohya_of_compvis_names_in_a_pickle_with_bare_alphas(tiny_model, tmp_path):
    pairs = factors(tiny_model, (LINEAR, STRIDED))
    names = {
        LINEAR: "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k",
        STRIDED: "lora_unet_input_blocks_2_0_op",
    }
    state = {}
    for layer, (down, up) in pairs.items():
        state |= {f"{names[layer]}.lora_down.weight": down, f"{names[layer]}.lora_up.weight": up}
        state[f"{names[layer]}.alpha"] = 1.5
    torch.save(state, path := tmp_path / "lora.pt")

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert_draws_the_same(tiny_model, checkpoint, pairs, 1.5 / RANK)


def test_spm_of_rank_one(tiny_model, tmp_path):
    pairs = factors(tiny_model, rank=1)
    state = {}
    for layer, (down, up) in pairs.items():
        state |= {f"{kohya(layer)}.lora_down.weight": down, f"{kohya(layer)}.lora_up.weight": up}
        state[f"{kohya(layer)}.alpha"] = torch.tensor(1.0)
    save_file(state, path := tmp_path / "spm.safetensors")

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert_draws_the_same(tiny_model, checkpoint, pairs, 1.0)
    assert any("SPM" in note for note in checkpoint.notes)


@pytest.mark.parametrize(
    ("down_name", "up_name"),
    [
        ("lora_A.weight", "lora_B.weight"),
        ("lora_A.default.weight", "lora_B.default.weight"),
        ("lora.down.weight", "lora.up.weight"),
        ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ],
)
def test_diffusers_spellings_without_alpha(tiny_model, tmp_path, down_name, up_name):
    pairs = factors(tiny_model)
    state = {}
    for layer, (down, up) in pairs.items():
        state |= {f"{in_file(layer)}.{down_name}": down, f"{in_file(layer)}.{up_name}": up}
    save_file(state, path := tmp_path / "pytorch_lora_weights.safetensors")

    checkpoint = read_checkpoint(path, tiny_model.named_tensors(), scale=0.8)

    assert checkpoint.format.startswith("PEFT or diffusers LoRA")
    assert_draws_the_same(tiny_model, checkpoint, pairs, 0.8)
    assert any("no alpha" in note for note in checkpoint.notes)


def compvis(layer):
    part, _, rest = layer.partition(".")
    names = {name.removeprefix("unet."): name for name in (f"{LINEAR}.weight", f"{CONVOLUTION}.weight")}
    assert part == "unet" and f"{rest}.weight" in names
    return {
        LINEAR: "input_blocks.1.1.transformer_blocks.0.attn2.to_k",
        CONVOLUTION: "output_blocks.0.0.in_layers.2",
    }[layer]


@pytest.mark.parametrize(
    ("unet", "text", "down_name", "up_name", "alpha"),
    [
        ("unet.", "text_encoder.text_model.", "lora_down.weight", "lora_up.weight", 6.0),
        (
            "diffusion_model.",
            "text_encoders.clip_l.transformer.text_model.",
            "lora_A.weight",
            "lora_B.weight",
            None,
        ),
        ("model.diffusion_model.", "clip_l.text_model.", "lora_A.weight", "lora_B.weight", 1.0),
    ],
)
def test_compvis_layers_of_onetrainer_and_comfyui(
    tiny_model, tmp_path, unet, text, down_name, up_name, alpha
):
    pairs = factors(tiny_model, (LINEAR, CONVOLUTION, TEXT))
    state = {}
    for layer, (down, up) in pairs.items():
        name = text + layer.removeprefix("text_encoder.") if layer == TEXT else unet + compvis(layer)
        state |= {f"{name}.{down_name}": down, f"{name}.{up_name}": up}
        if alpha is not None:
            state[f"{name}.alpha"] = torch.tensor(alpha)
    save_file(state, path := tmp_path / "lora.safetensors")

    checkpoint = read_checkpoint(path, tiny_model.named_tensors())

    assert checkpoint.format.startswith("OneTrainer or ComfyUI (compvis names) LoRA of 3 layers")
    assert_draws_the_same(tiny_model, checkpoint, pairs, 1.0 if alpha is None else alpha / RANK)


def test_attention_processors_of_the_first_diffusers(tiny_model, tmp_path):
    pairs = factors(tiny_model, (LINEAR, OUT))
    stem = {layer: layer.rpartition(".to_")[0] for layer in pairs}
    state = {}
    for layer, leaf in ((LINEAR, "to_k"), (OUT, "to_out")):
        down, up = pairs[layer]
        state[f"{stem[layer]}.processor.{leaf}_lora.down.weight"] = down
        state[f"{stem[layer]}.processor.{leaf}_lora.up.weight"] = up
    torch.save(state, path := tmp_path / "pytorch_lora_weights.bin")

    assert_draws_the_same(tiny_model, read_checkpoint(path, tiny_model.named_tensors()), pairs, 1.0)


def peft_folder(folder, pairs, **config):
    folder.mkdir()
    state = {}
    for layer, (down, up) in pairs.items():
        name = f"base_model.model.{in_file(layer).removeprefix('unet.').removeprefix('text_encoder.')}"
        state |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    save_file(state, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, **config}))
    return folder


@pytest.mark.parametrize(
    ("config", "strength"),
    [({"lora_alpha": 6}, 6 / RANK), ({"lora_alpha": 6, "use_rslora": True}, 6 / math.sqrt(RANK))],
)
def test_peft_folder_with_its_alpha(tiny_model, tmp_path, config, strength):
    pairs = factors(tiny_model)

    checkpoint = read_checkpoint(
        peft_folder(tmp_path / "adapter", pairs, **config), tiny_model.named_tensors()
    )

    assert_draws_the_same(tiny_model, checkpoint, pairs, strength)


def test_peft_alpha_pattern(tiny_model, tmp_path):
    pairs = factors(tiny_model, (LINEAR, CONVOLUTION))
    folder = peft_folder(tmp_path / "adapter", pairs, lora_alpha=3, alpha_pattern={"attn2.to_k": 9})

    checkpoint = read_checkpoint(folder, tiny_model.named_tensors())

    own = tiny_model.named_tensors()
    for layer, strength in ((LINEAR, 9 / RANK), (CONVOLUTION, 1.0)):
        down, up = pairs[layer]
        weight = own[f"{layer}.weight"]
        change = torch.einsum("or,r...->o...", up.reshape(up.shape[:2]), down) * strength
        torch.testing.assert_close(checkpoint.tensors[f"{layer}.weight"], weight + change)


def test_alpha_from_what_diffusers_notes_in_the_file(tiny_model, tmp_path):
    pairs = factors(tiny_model, (LINEAR, CONVOLUTION))
    state = {}
    for layer, (down, up) in pairs.items():
        state |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}
    settings = {"unet.r": RANK, "unet.lora_alpha": 12, "text_encoder.lora_alpha": 1}
    noted = {"format": "pt", "lora_adapter_metadata": json.dumps(settings)}
    save_file(state, path := tmp_path / "pytorch_lora_weights.safetensors", noted)

    assert_draws_the_same(tiny_model, read_checkpoint(path, tiny_model.named_tensors()), pairs, 12 / RANK)


def one_layer(model, layer=LINEAR):
    ((down, up),) = factors(model, (layer,)).values()
    return {f"{kohya(layer)}.lora_down.weight": down, f"{kohya(layer)}.lora_up.weight": up}


def refused(model, state, path, message, **options):
    save_file(state, path)
    with pytest.raises(BenchError, match=message) as error:
        read_checkpoint(path, model.named_tensors(), **options)
    assert "\n" not in str(error.value)


def test_unknown_layers_are_named(tiny_model, tmp_path):
    state = {"lora_unet_no_such_layer.lora_down.weight": torch.zeros(1, 2)}
    state["lora_unet_no_such_layer.lora_up.weight"] = torch.zeros(2, 1)
    message = "taken for a LoRA.*lora_unet_no_such_layer.*another base model"
    refused(tiny_model, state, tmp_path / "lora.safetensors", message)


def test_a_lora_for_wider_layers(tiny_model, tmp_path):
    state = one_layer(tiny_model)
    name = f"{kohya(LINEAR)}.lora_down.weight"
    state[name] = torch.zeros(RANK, 768)
    message = rf"{LINEAR}.*\({RANK}, 768\).*another base model"
    refused(tiny_model, state, tmp_path / "lora.safetensors", message)


def test_half_a_lora(tiny_model, tmp_path):
    state = one_layer(tiny_model)
    del state[f"{kohya(LINEAR)}.lora_up.weight"]
    refused(tiny_model, state, tmp_path / "lora.safetensors", "incomplete: it has down only")


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ("dora_scale", "DoRA"),
        ("lora_magnitude_vector.weight", "DoRA"),
        ("lora_mid.weight", "LoCon adapter with lora_mid"),
        ("hada_w1_a", "LoHa"),
        ("lokr_w1", "LoKr"),
        ("oft_blocks", "OFT"),
        ("a1.weight", "GLoRA"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_other_adapters_are_refused_by_their_name(tiny_model, tmp_path, extra, kind, alone):
    state = {} if alone else one_layer(tiny_model)
    state |= {f"{kohya(LINEAR)}.{extra}": torch.zeros(1), f"{kohya(LINEAR)}.alpha": torch.tensor(4.0)}
    message = f"an? {kind}.*it holds .*{extra}; supported: LoRA of Linear and Conv2d"
    refused(tiny_model, state, tmp_path / "adapter.safetensors", message)


def test_dora_in_a_peft_folder_is_refused(tiny_model, tmp_path):
    folder = peft_folder(tmp_path / "adapter", factors(tiny_model), lora_alpha=1, use_dora=True)
    with pytest.raises(BenchError, match="DoRA"):
        read_checkpoint(folder, tiny_model.named_tensors())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"lora_alpha": "much"}, "lora_alpha: .*valid number"),
        ({"lora_alpha": float("nan")}, "lora_alpha: .*finite"),
        ({"alpha_pattern": {"to_(k": 2}}, "alpha_pattern.*regular expression"),
        ({"alpha_pattern": [1]}, "alpha_pattern: .*dictionary"),
    ],
)
def test_settings_that_make_no_sense_are_named(tiny_model, tmp_path, config, message):
    folder = peft_folder(tmp_path / "adapter", factors(tiny_model), **config)
    with pytest.raises(BenchError, match=message) as error:
        read_checkpoint(folder, tiny_model.named_tensors())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("noted", ["[1]", "{", '{"unet.lora_alpha": []}'])
def test_notes_of_diffusers_that_make_no_sense_are_named(tiny_model, tmp_path, noted):
    path = tmp_path / "lora.safetensors"
    save_file(one_layer(tiny_model), path, {"lora_adapter_metadata": noted})
    with pytest.raises(BenchError, match="settings that cannot be read"):
        read_checkpoint(path, tiny_model.named_tensors())


def test_an_alpha_is_one_number(tiny_model, tmp_path):
    state = {**one_layer(tiny_model), f"{kohya(LINEAR)}.alpha": torch.ones(2)}
    refused(tiny_model, state, tmp_path / "lora.safetensors", "alpha of .* is 2 numbers")


def test_a_rank_of_zero(tiny_model, tmp_path):
    ((down, up),) = factors(tiny_model, (LINEAR,)).values()
    state = {f"{kohya(LINEAR)}.lora_down.weight": down[:0], f"{kohya(LINEAR)}.lora_up.weight": up[:, :0]}
    refused(tiny_model, state, tmp_path / "lora.safetensors", "rank 0")


def test_sdxl_lora_is_refused(tiny_model, tmp_path):
    state = {"lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": torch.zeros(1, 32)}
    refused(tiny_model, state, tmp_path / "lora.safetensors", "Stable Diffusion XL")


def test_a_model_in_half_precision_is_merged_in_single(tiny_model_dir, tmp_path):
    from erasure_bench.models.diffusion_model import DiffusionModel

    model = DiffusionModel.from_directory(tiny_model_dir, dtype=torch.bfloat16)
    save_file(one_layer(model), path := tmp_path / "lora.safetensors")

    (merged,) = read_checkpoint(path, model.named_tensors()).tensors.values()

    assert merged.dtype == torch.float32 and merged.device.type == "cpu"
